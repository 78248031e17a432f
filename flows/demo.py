"""The whole loop on the sample data: ingest, adapt, validate, score."""

from pathlib import Path
from typing import Any

from flows import commands
from flows.cli import build_parser
from flows.progress import make_watch
from models.errors import WeightsNotFoundError
from models.weights import find_weights
from pipeline.errors import SourceError
from pipeline.learn.network import weights_folder

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
    workspace, labels, bundle = out / "workspace", radiographs / "labels.csv", out / "bundle"
    settings = [f"--set={setting}" for setting in (*ASKED, f"backbone={backbone}", f"weights={weights}")]

    def step(verb: str, *arguments: object) -> dict[str, Any]:
        say(f"\n== {verb}")
        options = build_parser().parse_args([verb, *map(str, arguments), "--workspace", str(workspace)])
        result = commands.COMMANDS[verb](options)
        for line in result["lines"]:
            say(line)
        return result

    step("ingest", samples)
    step("adapt", labels, "--bundle", bundle, *settings)
    checked = step("validate", bundle, labels, "--out", out / "validation")
    scored = step("score", samples / "incoming", "--bundle", bundle, "--out", out / "scores", "--heatmaps")
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
