"""The configuration: one frozen model, one YAML file, both ways."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipeline.card.statements import Statements
from pipeline.decide.policy import parse_policy
from pipeline.errors import ConfigError

Task = Literal["multiclass", "multilabel", "one_class"]
Precision = Literal["auto", "float32", "bfloat16"]
IntensityRule = Literal["auto", "window", "percentile"]
HarmoniseRule = Literal["none", "nyul", "histogram"]
EngineName = Literal["auto", "eager", "amp", "compile", "openvino", "openvino_bfloat16"]
CropRule = Literal["none", "foreground"]
AugmentPolicy = Literal["none", "basic", "scanner", "strong"]
DEVICE = r"^(auto|cpu|cuda(:\d+)?)$"
Name = Annotated[str, Field(min_length=1, pattern=r"^[^|,;\r\n\t]+$")]


class Config(BaseModel):
    """What an adaptation does. Every key has a default that works on a CPU; unknown keys are refused.

    Attributes:
        classes: Class names, the first is the normal class; empty takes those of labels.csv.
        task: `multiclass` (one label a scan), `multilabel` (several) or `one_class` (normals only).
        label_column: Column of labels.csv that holds the label; where its cell is empty, `label` is used.
        backbone: A name from `scanshift backbones`; `name@stage` cuts the network after that stage; `auto` measures
            every backbone that has weights.
        weights: `imagenet`, `none` (random, only when asked for) or a path.
        strategy: A name from `models.strategies.STRATEGIES`, or `auto`: the cheapest adaptation that evidence supports.
        detector: For `one_class`: a name from `models.detectors.DETECTORS`, or `auto`.
        detector_stages: Stages of the network whose maps the detector looks at; empty takes those that the backbone's
            name joins, else the detector's own choice.
        contamination: Share of the normal training scans that a detector leaves out, those that stand out most among
            them: some may be mislabelled. 0 keeps all.
        near_duplicates: `leave_out` takes held-out scans out that look like copies of scans of other patients which are
            learned from, here and in `validate`; `list` only tells.
        source_sites: Only rows of these sites are trained on; empty takes all but those of `target_sites`.
        target_sites: Sites that the model is meant for; their rows may be unlabelled.
        align: A name from `models.alignment.ALIGNMENTS`: how features of source and target are brought together.
        align_weight: Weight of that loss beside the cross-entropy; none takes the method's own.
        harmonise: Whether grey values are brought to a standard histogram learned from the source scans.
        test_time: Further adaptation on the unlabelled target scans after training: `none`, `tent` or `sar`.
        time_budget: Minutes that `strategy: auto` may spend; what does not fit is left out and listed.
        image_size: Side in pixels of the square that the network sees.
        slices: Number of slabs that a volume is averaged into along its slice axis.
        crop: `foreground` leaves dark flat borders out (shutters, air); `none` takes the whole image.
        intensity: How grey values become 0..1: `window` (the header's, or HU for CT), `percentile`, or `auto`.
        window: Fixed lowest and highest value (HU for CT), instead of a rule.
        augment: How training images are varied: `none`, `basic` (small shifts, rotation, zoom, contrast), `scanner`
            (noise, blur, bias field, gamma, resolution) or `strong` (random ones of both). `true` is `basic`.
        epochs: Most epochs over the training scans in the fine-tuning phases.
        learning_rate: Peak rate of the fine-tuning phases; the head's own phase has its own rate.
        batch_size: Scans in a training step.
        patience: Epochs without a better validation AUROC before a phase ends.
        seed: Seed of splits, initial weights and batch order.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: `auto` (training in bfloat16 where the device has it), `float32` or `bfloat16`.
        sensitivity_target: Share of abnormal validation scans that the threshold must find.
        policy: How the decision threshold is chosen, such as `false_alarm=0.05`, `sensitivity=0.9`, `capacity=20/200`
            or `cost=10@0.05`; empty takes `false_alarm=0.05` for `one_class`, else `sensitivity_target`.
        conformal_level: Share of a class's scans that its prediction sets may miss; a scan whose set leaves open
            whether it is normal is referred. None makes no sets.
        engine: How scoring runs the network: `auto` (the fastest that agrees with eager float32 on the machine),
            `eager`, `amp`, `compile`, `openvino` or `openvino_bfloat16`.
        card: What no run can know, for the model card: see `pipeline.card.statements`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    classes: tuple[Name, ...] = ()
    task: Task = "multiclass"
    label_column: str = Field(default="label", min_length=1)
    backbone: str = Field(default="resnet18", min_length=1)
    weights: str = Field(default="imagenet", min_length=1)
    strategy: str = Field(default="lp_ft", min_length=1)
    detector: str = Field(default="auto", min_length=1)
    detector_stages: tuple[str, ...] = ()
    contamination: float = Field(default=0.1, ge=0, lt=0.5)
    near_duplicates: Literal["leave_out", "list"] = "leave_out"
    source_sites: tuple[str, ...] = ()
    target_sites: tuple[str, ...] = ()
    align: str = Field(default="none", min_length=1)
    align_weight: float | None = Field(default=None, gt=0, le=1000)
    harmonise: HarmoniseRule = "none"
    test_time: Literal["none", "tent", "sar"] = "none"
    time_budget: float = Field(default=30.0, gt=0, le=10_000)
    image_size: int = Field(default=224, ge=32, le=1024)
    slices: int = Field(default=24, ge=1, le=256)
    crop: CropRule = "none"
    intensity: IntensityRule = "auto"
    window: tuple[float, float] | None = None
    augment: AugmentPolicy = "basic"
    epochs: int = Field(default=10, ge=1, le=1000)
    learning_rate: float = Field(default=1e-4, gt=0, le=1)
    batch_size: int = Field(default=16, ge=1, le=1024)
    patience: int = Field(default=3, ge=1, le=1000)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    device: str = Field(default="auto", pattern=DEVICE)
    precision: Precision = "auto"
    sensitivity_target: float = Field(default=0.95, gt=0, lt=1)
    policy: str = ""
    conformal_level: float | None = Field(default=0.1, gt=0, lt=0.5)
    engine: EngineName = "auto"
    card: Statements = Statements()

    @field_validator("augment", mode="before")
    @classmethod
    def _augment_word(cls, value: object) -> object:
        return {True: "basic", False: "none"}[value] if isinstance(value, bool) else value

    @field_validator("source_sites", "target_sites", "detector_stages", mode="before")
    @classmethod
    def _one_name(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("policy")
    @classmethod
    def _policy(cls, value: str) -> str:
        return parse_policy(value).text if value else value

    @model_validator(mode="after")
    def _check(self) -> "Config":
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes: a name stands twice")
        if set(self.source_sites) & set(self.target_sites):
            raise ValueError("target_sites: a site cannot be source and target")
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
        keys = Statements.model_fields if first["loc"][:1] == ("card",) else Config.model_fields
        known = f" (known keys: {', '.join(keys)})" if first["type"] == "extra_forbidden" else ""
        raise ConfigError(f"config: {key + ': ' if key else ''}{first['msg']}{known}") from error


def dump_config(config: Config) -> str:
    """The YAML text from which `load_config` makes the same configuration."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
