"""What each command does: check its arguments, run its flow, tell the result."""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from flows import check, compare_command, doctor_command, models_command, nightly_command, pacs, shift_command, tools
from flows.bundle_option import bundle_folder, bundle_name
from flows.deidentify import deidentify
from flows.elsewhere_options import check_elsewhere
from flows.exit_codes import DONE, FAILED, INTERRUPTED, WRONG_USE
from flows.progress import make_watch
from flows.request import Request
from flows.run import run_flow
from flows.score_options import asked_share
from flows.tools import count_line
from flows.validate_options import by_class
from models.errors import ModelError
from pipeline.config import EngineName, load_config
from pipeline.errors import ConfigError, PipelineError, RefusedError, SourceError
from pipeline.workspace import Workspace, require_space, require_writable


def run(options: argparse.Namespace) -> int:
    """Run a parsed command; errors that are expected become one line on standard error."""
    try:
        result = COMMANDS[options.command](options)
    except KeyboardInterrupt:
        return _tell("interrupted; what was done is kept, run the same command again to go on", INTERRUPTED)
    except ConfigError as error:
        return _tell(f"scanshift: {error}", WRONG_USE)
    except RefusedError as error:
        return _tell(f"refused: {error}", FAILED)
    except (PipelineError, ModelError) as error:
        return _tell(f"scanshift: {error}", FAILED)
    except OSError as error:
        return _tell(f"scanshift: {error.filename or options.command}: {error.strerror or error}", FAILED)
    if options.json:
        record = {key: value for key, value in result.items() if key not in ("lines", "exit")}
        sys.stdout.write(json.dumps(record, ensure_ascii=False) + "\n")
    else:
        for line in result.get("lines", []):
            sys.stdout.write(f"{line}\n")
    return int(result.get("exit", DONE))


def _tell(text: str, code: int) -> int:
    sys.stderr.write(" ".join(text.splitlines()) + "\n")
    return code


def ingest(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift ingest`."""
    space = Workspace(options.workspace).open()
    request = Request(
        verb="ingest",
        workspace=str(space.root.absolute()),
        run=str(space.run_folder("ingest").absolute()),
        sources=tuple(str(source.absolute()) for source in options.sources),
        options={"archives": options.archives, "catalog": options.catalog},
    )
    result = run_flow("flows.ingest", "ingest_flow", request)
    result["lines"] = [
        *(f"{code}: {count}" for code, count in result["reasons"].items()),
        f"catalogue: {result['catalog']}",
        f"quarantine: {result['quarantine']}",
        count_line(result["counts"]),
    ]
    return result


def adapt(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift adapt`."""
    config = load_config(options.config, options.set)
    space = Workspace(options.workspace).open()
    if options.dry_run:
        from pipeline.learn.plan import describe, make_plan

        plan = make_plan(options.labels, space, config, make_watch(options.json))
        told = describe(plan)
        return {**told, "lines": [f"{key}: {value}" for key, value in told.items()]}
    require_writable(options.bundle.absolute().parent)
    request = Request(
        verb="adapt",
        workspace=str(space.root.absolute()),
        run=str(space.run_folder("adapt").absolute()),
        sources=(str(options.labels.absolute()),),
        bundle=str(options.bundle.absolute()),
        options=config.model_dump(mode="json"),
    )
    result = run_flow("flows.adapt", "adapt_flow", request)
    result["lines"] = [
        f"verdict: {result['verdict']}"
        if config.strategy == "auto" or config.task == "one_class"
        else f"validation AUROC: {result['val_auroc']:.4f} (flatters; validate on test rows)",
        f"report: {result['report']}",
        f"bundle: {result['bundle']} ({result['digest'][:12]}), {result['left_out']} rows left out",
    ]
    return result


def validate(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift validate`."""
    require_writable(options.out)
    space = Workspace(options.workspace).open()
    request = Request(
        verb="validate",
        workspace=str(space.root.absolute()),
        run=str(space.run_folder("validate").absolute()),
        sources=(str(options.labels.absolute()),),
        bundle=str(options.bundle.absolute()),
        out=str(options.out.absolute()),
        options={
            "shortcuts": options.shortcuts,
            "prevalence": by_class(options.prevalence),
            "gallery": not options.no_gallery,
        },
    )
    result = run_flow("flows.validate", "validate_flow", request)
    result["lines"] = [
        f"macro AUROC: {_figure(result['auroc'])}",
        f"accuracy: {_figure(result['accuracy'])}",
        *(f"policy: {sentence}" for sentence in result["policy"]),
        *(
            f"{name} at a prevalence of {p['prevalence']:g}: {_values(p)}"
            for name, p in result["at_prevalence"].items()
        ),
        *(f"shortcut: {sentence}" for sentence in result["shortcuts"]),
        f"report: {result['report']}",
        f"{result['n']} scans of {result['n_patients']} patients measured, {result['left_out']} rows left out",
    ]
    return result


def _values(found: Mapping[str, Any]) -> str:
    return f"PPV {_figure(found['ppv'])}, NPV {_figure(found['npv'])}"


def _figure(metric: Mapping[str, Any]) -> str:
    if metric["value"] is None:
        return f"not computed ({metric.get('reason', '')})"
    if metric["low"] is None:
        return f"{metric['value']:.4f}"
    return f"{metric['value']:.4f} (95 % interval {metric['low']:.4f} to {metric['high']:.4f})"


def score_request(options: argparse.Namespace) -> Request:
    """The request of a scoring run; its state lies in the workspace, or hidden in the output."""
    from pipeline.score.place import RESULTS, state_folder

    if options.engine not in ("", *get_args(EngineName)):
        raise ConfigError(f"--engine {options.engine}: expected one of {', '.join(get_args(EngineName))}")
    if not options.folder.is_dir() and not options.folder.is_file():
        raise SourceError(f"{options.folder}: no such file or folder")
    check_elsewhere(options)
    bundle = bundle_name(options)
    share = asked_share(options)
    require_writable(options.out)
    if options.dicom_results:
        require_writable(options.out / RESULTS)
    space = state_folder(options.out, options.workspace, share)
    for folder in (options.out, space.root):  # before Prefect needs it for its database
        require_space(folder, 0)
    space.open()
    return Request(
        verb="score",
        workspace=str(space.root.absolute()),
        run=str(space.run_folder("score").absolute()),
        sources=(str(options.folder.absolute()),),
        bundle=bundle,
        out=str(options.out.absolute()),
        options={
            "device": options.device,
            "engine": options.engine,
            "heatmaps": getattr(options, "heatmaps", False) or getattr(options, "dicom_maps", "none") != "none",
            "dicom_maps": getattr(options, "dicom_maps", "none"),
            "dicom_results": options.dicom_results,
            "archives": options.archives,
            "dask": options.dask,
            "work_pool": options.work_pool,
            "parts": options.parts,
            "settle": options.settle,
            "retry": getattr(options, "retry", False),
            "shard": getattr(options, "shard", ""),
        },
    )


def score(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift score`."""
    if options.dry_run:
        return _dry_score(options)
    request = score_request(options)
    try:
        result = run_flow("flows.score", "score_flow", request)
    except KeyboardInterrupt:
        _keep(request)
        raise
    result["lines"] = [f"scores: {result['scores']}", count_line(result["counts"])]
    told = {"all shards": result["joined"], "heat-maps": result["heatmaps"], "DICOM results": result["dicom_results"]}
    result["lines"][1:1] = [f"{name}: {folder}" for name, folder in told.items() if folder]
    return result


def _dry_score(options: argparse.Namespace) -> dict[str, Any]:
    import tempfile

    from pipeline.score.folder import plan_scores
    from pipeline.score.place import state_folder

    share = asked_share(options)
    space = state_folder(options.out, options.workspace, share)
    with tempfile.TemporaryDirectory() as scratch:
        there = space if space.root.exists() else Workspace(Path(scratch)).open()
        plan = plan_scores(
            options.folder,
            bundle_folder(options),
            there,
            device=options.device,
            watch=make_watch(options.json),
            archives=options.archives,
            settle=options.settle,
            retry=options.retry,
            share=share,
        )
    return {"counts": plan.counts(), "lines": [count_line(plan.counts())]}


def _keep(request: Request) -> None:
    """Write scores.csv with what was done before an interruption, unless another run has begun meanwhile."""
    from pipeline.errors import BusyError
    from pipeline.registry.approved import chosen_bundle
    from pipeline.score.folder import PLAN, finish, sole_run
    from pipeline.score.place import parse_share
    from pipeline.watch import Watch

    run_folder, out = Path(request.run), Path(request.out)
    share = parse_share(request.options["shard"]) if request.options["shard"] else None
    if not (run_folder / PLAN).exists():
        return
    with contextlib.suppress(BusyError), sole_run(request.space, out, share):
        finish(
            run_folder,
            request.space,
            chosen_bundle(request.bundle, run_folder),
            out,
            device=request.options["device"],
            heatmaps=False,
            watch=Watch(),
            share=share,
        )


def demo(options: argparse.Namespace) -> dict[str, Any]:
    """`scanshift demo`."""
    from flows.demo import run_demo

    return run_demo(options.samples, options.out)


COMMANDS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "ingest": ingest,
    "convert": tools.convert,
    "check": check.check,
    "deidentify": deidentify,
    "labels": tools.labels,
    "adapt": adapt,
    "validate": validate,
    "compare": compare_command.compare,
    "shift": shift_command.shift,
    "score": score,
    "nightly": nightly_command.nightly,
    "serve": nightly_command.serve,
    "listen": pacs.listen,
    "pull": pacs.pull,
    "backbones": tools.backbones,
    "weights": tools.weights,
    "models": models_command.models,
    "doctor": doctor_command.doctor,
    "demo": demo,
    "workspace": tools.workspace,
}
