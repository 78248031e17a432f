"""Which scans a bundle's reference statistics are of: never of scans that the model shows otherwise than new ones."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline.learn import reference_scans
from pipeline.prepare.cohort import Case


def cases(count, *, site="nih", labels=(), split="train", first=0):
    rows = range(first, first + count)
    refs = [SimpleNamespace(key=f"{site} {n}") for n in rows]
    return [
        Case(ref, labels, f"{site} patient {n}", True, split, (("site", site),))
        for n, ref in zip(rows, refs, strict=True)
    ]


@pytest.fixture
def asked(monkeypatch):
    """What `reference_statistics` is given for labelled cases, others of their site, and whether it was tuned on."""

    def ask(labelled, unlabelled, *, tuned):
        source = cases(50, site="source", labels=("normal",))
        testing = cases(9, labels=("normal",), split="test", first=500)
        cohort = SimpleNamespace(cases=[*source, *labelled, *unlabelled, *testing])
        config = SimpleNamespace(target_sites=("nih",), seed=0)
        made = SimpleNamespace(
            cases=tuple(labelled),
            logits=torch.arange(2.0 * len(labelled)).reshape(-1, 2),
            plan=SimpleNamespace(cohort=cohort, config=config, classifier=None, device=None),
            tuned_on_cases=tuned,
        )
        calls = []

        def record(_classifier, _store, held, basis, **options):
            calls.append((held, basis, options["logits"]))
            return {"text": ""}, {}

        monkeypatch.setattr(reference_scans, "reference_statistics", record)
        texts, _ = reference_scans.bundle_reference(made, SimpleNamespace(fill=list), None, None)
        return calls, texts

    return ask


def test_cases_stand_with_the_logits_of_models_that_had_not_seen_them(asked):
    labelled, others = cases(30, labels=("normal",)), cases(40, first=100)
    (((held, basis, logits),), _) = asked(labelled, others, tuned=False)
    assert held == labelled
    assert basis == others
    np.testing.assert_array_equal(logits[:, 0], np.arange(0, 60, 2))


def test_scans_that_the_backbone_was_trained_on_make_way_for_unlabelled_ones(asked):
    labelled, others = cases(30, labels=("normal",)), cases(40, first=100)
    (((held, basis, logits),), _) = asked(labelled, others, tuned=True)
    assert held == others
    assert basis == labelled
    assert logits is None


def test_without_enough_of_those_nothing_is_kept(asked):
    assert asked(cases(30, labels=("normal",)), cases(5, first=100), tuned=True) == ([], {})


def test_with_few_others_the_cases_are_divided_by_patient(asked):
    labelled = cases(30, labels=("normal",))
    (((held, basis, logits),), _) = asked(labelled, cases(5, first=100), tuned=False)
    assert len(held) == len(basis) == 15
    assert not {case.patient for case in held} & {case.patient for case in basis}
    assert logits[:, 0].tolist() == [2.0 * labelled.index(case) for case in held]
