"""Rungs that need no target label: the source's labels, with the target's scans brought nearer."""

import copy
import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.errors import TrainingError
from pipeline.learn.align import align_statistics
from pipeline.learn.ladder.problem import Problem, Side
from pipeline.learn.ladder.trial import Seen, Trial, source_trial
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.harmonise import fit_harmonise
from pipeline.shift.scanner import fit_scanner
from pipeline.workspace import whole_file

MOST_SOURCE = 1000
MOST_LOOKED_AT = 100
Samples = npt.NDArray[np.uint16]


def sides(problem: Problem, most: int | None = None) -> tuple[Side, Side]:
    """The source's two sides, at most about `most` scans together in the same proportion, by seed.

    Raises:
        TrainingError: If there is no source.
    """
    if problem.source is None or problem.held is None:
        raise TrainingError("a rung from source labels was asked for and there is no source")
    total = len(problem.source) + len(problem.held)
    share = 1.0 if most is None else min(1.0, most / total)
    return _some(problem.source, share, problem.config.seed), _some(problem.held, share, problem.config.seed)


def _some(side: Side, share: float, seed: int) -> Side:
    if share >= 1:
        return side
    rows = np.random.default_rng(seed).permutation(len(side))[: max(2, round(len(side) * share))]
    return side.take(sorted(rows.tolist()))


def nothing(problem: Problem) -> Trial:
    """The source's model as it is."""
    truth = sides(problem)
    return source_trial("nothing", _as_they_are(problem, truth), problem, truth)


def feature_statistics(problem: Problem) -> Trial:
    """The head's features standardised by the target: AdaBN for the one norm that every network has."""
    truth = sides(problem)
    seen = _as_they_are(problem, truth)
    own = Seen(seen.fit, seen.held, seen.target, own_norm=True)
    return source_trial("feature statistics", own, problem, truth)


def _as_they_are(problem: Problem, truth: tuple[Side, Side]) -> Seen:
    fit, held = truth
    return Seen(
        problem.features(fit.contents, "source features"),
        problem.features(held.contents, "source features, held out"),
        problem.features(problem.unlabelled, "target features"),
    )


def _once(name: str, problem: Problem, show: Callable[[Problem, tuple[Side, Side]], Seen]) -> Trial:
    """The trial of a rung; what it makes of the scans is made once."""
    truth = sides(problem, MOST_SOURCE)
    if name not in problem.shown:
        problem.shown[name] = show(problem, truth)
    return source_trial(name, problem.shown[name], problem, truth)


def harmonise(problem: Problem) -> Trial:
    """Grey values of both sites brought to the source's standard (Nyul et al. 2000)."""
    return _once("harmonise", problem, _harmonise)


def _harmonise(problem: Problem, truth: tuple[Side, Side]) -> Seen:
    plain = problem.store
    standard = fit_harmonise("nyul", _spread(plain, truth[0].contents))
    store = SampleStore(plain.folder, plain.preparation.model_copy(update={"harmonise": standard}))
    for contents in (truth[0].contents, truth[1].contents, problem.unlabelled):
        derive(plain, contents, store, contents, lambda sample, _: standard.apply(sample))
    fit, held, target = (
        problem.features(contents, "harmonised features", store=store)
        for contents in (truth[0].contents, truth[1].contents, problem.unlabelled)
    )
    return Seen(fit, held, target, preparation=store.preparation)


def adabn(problem: Problem) -> Trial:
    """Batch norm's statistics of each site's own scans (Li et al. 2017), the source's for the fit."""
    return _once("AdaBN", problem, _adabn)


def _adabn(problem: Problem, truth: tuple[Side, Side]) -> Seen:
    theirs, ours = copy.deepcopy(problem.classifier), copy.deepcopy(problem.classifier)
    for classifier, contents in ((ours, truth[0].contents), (theirs, problem.unlabelled)):
        align_statistics(
            "adabn",
            classifier,
            problem.store,
            contents,
            device=problem.device,
            seed=problem.config.seed,
            precision=problem.config.precision,
        )
    fit, held, target = (
        problem.features(contents, "features, batch norm of their own site", classifier=classifier)
        for classifier, contents in (
            (ours, truth[0].contents),
            (ours, truth[1].contents),
            (theirs, problem.unlabelled),
        )
    )
    state = {f"backbone.{name}": tensor.cpu() for name, tensor in theirs.backbone.state_dict().items()}
    return Seen(fit, held, target, state=state)


def scanner(problem: Problem) -> Trial:
    """Source scans as the target's scanner would show them; the head is fitted on these."""
    return _once("scanner matched", problem, _scanner)


def _scanner(problem: Problem, truth: tuple[Side, Side]) -> Seen:
    plain = problem.store
    found = fit_scanner(_spread(plain, truth[0].contents), _spread(plain, problem.unlabelled))
    key = hashlib.sha256(found.gain.tobytes() + found.curve.tobytes() + found.field.tobytes()).hexdigest()[:16]
    names = [tuple(f"{content}|scanner {key} {found.noise:.6f}" for content in side.contents) for side in truth]
    contents = truth[0].contents + truth[1].contents
    derive(plain, contents, plain, names[0] + names[1], lambda one, n: found.apply(one, (problem.config.seed, n)))
    fit, held = (problem.features(renamed, "source through the target's scanner") for renamed in names)
    target = problem.features(problem.unlabelled, "target features")
    return Seen(fit, held, target)


def _spread(plain: SampleStore, contents: Sequence[str]) -> Iterator[Samples]:
    """Samples of up to 100 scans spread over a list."""
    places = np.unique(np.linspace(0, len(contents) - 1, min(len(contents), MOST_LOOKED_AT)).round().astype(int))
    return (plain.load(contents[place], mapped=True) for place in places)


def derive(
    plain: SampleStore,
    contents: Sequence[str],
    store: SampleStore,
    names: Sequence[str],
    change: Callable[[Samples, int], Samples],
) -> None:
    """Put changed copies of samples into a store under other names, unless they are there already."""
    for n, (content, name) in enumerate(zip(contents, names, strict=True)):
        path = store.path(name)
        if not path.exists():
            with whole_file(path, mode="wb", synced=False) as file:
                np.save(file, change(plain.load(content), n), allow_pickle=False)
