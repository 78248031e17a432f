"""The configuration: one frozen model, one YAML file, both ways."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import ConfigError

Task = Literal["multiclass", "multilabel", "one_class"]
Precision = Literal["auto", "float32", "bfloat16"]
IntensityRule = Literal["auto", "window", "percentile"]
DEVICE = r"^(auto|cpu|cuda(:\d+)?)$"
Name = Annotated[str, Field(min_length=1, pattern=r"^[^|,;\r\n\t]+$")]


class Config(BaseModel):
    """What an adaptation does. Every key has a default that works on a CPU; unknown keys are refused.

    Attributes:
        classes: Class names, the first is the normal class; empty takes those of labels.csv.
        task: `multiclass` (one label a scan), `multilabel` (several) or `one_class` (normals only).
        label_column: Column of labels.csv that holds the label; where its cell is empty, `label` is used.
        backbone: A name from `scanshift backbones`; `name@stage` cuts the network after that stage.
        weights: `imagenet`, `none` (random, only when asked for) or a path.
        strategy: A name from `models.strategies.STRATEGIES`.
        source_sites: Only rows of these sites are trained on; empty takes all.
        image_size: Side in pixels of the square that the network sees.
        slices: Number of slabs that a volume is averaged into along its slice axis.
        intensity: How grey values become 0..1: `window` (the header's, or HU for CT), `percentile`, or `auto`.
        window: Fixed lowest and highest value (HU for CT), instead of a rule.
        augment: Whether training images are varied (small shifts, rotation, zoom, contrast).
        epochs: Most epochs over the training scans in the fine-tuning phases.
        learning_rate: Peak rate of the fine-tuning phases; the head's own phase has its own rate.
        batch_size: Scans in a training step.
        patience: Epochs without a better validation AUROC before a phase ends.
        seed: Seed of splits, initial weights and batch order.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: `auto` (training in bfloat16 where the device has it), `float32` or `bfloat16`.
        sensitivity_target: Share of abnormal validation scans that the threshold must find.
        engine: How scoring runs the network.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    classes: tuple[Name, ...] = ()
    task: Task = "multiclass"
    label_column: str = Field(default="label", min_length=1)
    backbone: str = Field(default="resnet18", min_length=1)
    weights: str = Field(default="imagenet", min_length=1)
    strategy: str = Field(default="lp_ft", min_length=1)
    source_sites: tuple[str, ...] = ()
    image_size: int = Field(default=224, ge=32, le=1024)
    slices: int = Field(default=24, ge=1, le=256)
    intensity: IntensityRule = "auto"
    window: tuple[float, float] | None = None
    augment: bool = True
    epochs: int = Field(default=10, ge=1, le=1000)
    learning_rate: float = Field(default=1e-4, gt=0, le=1)
    batch_size: int = Field(default=16, ge=1, le=1024)
    patience: int = Field(default=3, ge=1, le=1000)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    device: str = Field(default="auto", pattern=DEVICE)
    precision: Precision = "auto"
    sensitivity_target: float = Field(default=0.95, gt=0, lt=1)
    engine: Literal["eager"] = "eager"

    @model_validator(mode="after")
    def _check(self) -> "Config":
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes: a name stands twice")
        if self.window is not None and not self.window[0] < self.window[1]:
            raise ValueError("window: the lowest value must be below the highest")
        return self


def load_config(file: Path | None, assignments: Sequence[str] = ()) -> Config:
    """Read a YAML file and `key=value` assignments, whose values are YAML too and win over the file.

    Raises:
        ConfigError: If the file cannot be read, or a key is unknown or a value out of range.
    """
    values: dict[str, Any] = {}
    if file is not None:
        try:
            read = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"{file}: cannot be read as YAML ({type(error).__name__})") from error
        if not isinstance(read, Mapping | None):
            raise ConfigError(f"{file}: expected `key: value` lines")
        values.update(read or {})
    for text in assignments:
        key, sign, value = text.partition("=")
        if not sign:
            raise ConfigError(f"--set {text}: expected key=value")
        try:
            values[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {text}: the value is not YAML") from error
    return make_config(values)


def make_config(values: Mapping[str, Any]) -> Config:
    """Check values and return the configuration.

    Raises:
        ConfigError: With one line that names the first key at fault.
    """
    try:
        return Config.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        known = f" (known keys: {', '.join(Config.model_fields)})" if first["type"] == "extra_forbidden" else ""
        raise ConfigError(f"config: {key + ': ' if key else ''}{first['msg']}{known}") from error


def dump_config(config: Config) -> str:
    """The YAML text from which `load_config` makes the same configuration."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
