"""The whole loop on the sample data: ingest, adapt, validate, score."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from flows import commands
from flows.progress import make_watch
from models.errors import WeightsNotFoundError
from models.weights import find_weights
from pipeline.errors import SourceError
from pipeline.learn.plan import weights_folder

PREFERRED = ("resnet18", "mobilenet_v2", "squeezenet1_0", "densenet121", "densenet169")
ASKED = ["classes=[normal,opacity]", "epochs=3", "image_size=160", "batch_size=16"]


def run_demo(samples: Path, out: Path) -> dict[str, Any]:
    """Run the four verbs on the sample radiographs.

    Pretrained weights are used if some are on this machine; else random ones, which the demo says out loud.

    Raises:
        SourceError: If the sample data is not there.
    """
    radiographs = samples / "radiographs"
    if not (radiographs / "labels.csv").is_file():
        raise SourceError(f"{samples}: the sample data is not there; run this in a checkout, or name it with --samples")
    say = make_watch().note
    backbone, weights = _choose()
    if weights == "none":
        say("No pretrained weights on this machine: the demo asks for RANDOM weights (weights=none), out loud.")
        say("Figures below show that the loop runs, not what transfer learning is worth.")
    space = Namespace(workspace=out / "workspace", json=False)

    def step(title: str, command: Any, **arguments: Any) -> dict[str, Any]:
        say(f"\n== {title}")
        result: dict[str, Any] = command(Namespace(**vars(space), **arguments))
        for line in result["lines"]:
            say(line)
        return result

    step("ingest", commands.ingest, sources=[samples])
    settings = [*ASKED, f"backbone={backbone}", f"weights={weights}"]
    step(
        "adapt",
        commands.adapt,
        labels=radiographs / "labels.csv",
        bundle=out / "bundle",
        config=None,
        set=settings,
        dry_run=False,
    )
    checked = step(
        "validate",
        commands.validate,
        labels=radiographs / "labels.csv",
        bundle=out / "bundle",
        out=out / "validation",
    )
    scored = step(
        "score",
        commands.score,
        folder=samples / "incoming",
        bundle=out / "bundle",
        out=out / "scores",
        device="auto",
        heatmaps=True,
        dry_run=False,
    )
    return {
        "report": checked["report"],
        "scores": scored["scores"],
        "weights": weights,
        "lines": ["", f"report: {checked['report']}", f"scores: {scored['scores']}"],
    }


def _choose() -> tuple[str, str]:
    for name in PREFERRED:
        try:
            find = find_weights(name, "imagenet", folder=weights_folder(), download=False)
        except WeightsNotFoundError:
            continue
        if "_to_" not in find.path.name:
            return name, "imagenet"
    return "squeezenet1_0", "none"
