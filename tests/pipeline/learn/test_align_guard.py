"""What alignment is refused for, and what is only recorded."""

from dataclasses import dataclass

import numpy as np
import pytest

from models.alignment import ALIGNMENTS
from models.backbones import build_backbone
from models.classifier import SliceBagClassifier
from models.errors import NoBatchNormError, UnknownNameError
from pipeline.errors import CohortError, ConfigError, RefusedError
from pipeline.learn.align_guard import check_alignment, check_label_shift
from pipeline.shift.label_shift import prevalence_shift


@dataclass
class Found:
    detected: bool


def build(name="mobilenet_v2", classes=3):
    return SliceBagClassifier(build_backbone(name), classes, pooling="mean")


@pytest.mark.parametrize("name", ALIGNMENTS)
def test_nineteen_target_scans_are_too_few_and_twenty_enough(name):
    with pytest.raises(CohortError, match=r"19 target scans, needed are at least 20"):
        check_alignment(name, build(), targets=19, task="multiclass")
    assert check_alignment(name, build(), targets=20, task="multiclass") == ()


def test_adabn_names_the_backbone_that_has_no_batch_norm():
    with pytest.raises(NoBatchNormError, match="squeezenet1_1"):
        check_alignment("adabn", build("squeezenet1_1"), targets=50, task="multiclass")
    for name in set(ALIGNMENTS) - {"adabn"}:
        assert check_alignment(name, build("squeezenet1_1"), targets=50, task="multiclass") == ()


def test_mcc_warns_for_two_classes_and_refuses_several_labels():
    (note,) = check_alignment("mcc", build(classes=2), targets=50, task="multiclass")
    assert "two classes" in note
    with pytest.raises(ConfigError, match="multilabel"):
        check_alignment("mcc", build(), targets=50, task="multilabel")
    assert check_alignment("coral", build(classes=2), targets=50, task="multilabel") == ()


def test_an_unknown_alignment_is_told_with_the_known_ones():
    with pytest.raises(UnknownNameError, match="did you mean coral"):
        check_alignment("corall", build(), targets=50, task="multiclass")


@pytest.mark.parametrize("name", ALIGNMENTS)
def test_no_prevalence_shift_leaves_nothing_to_say(name):
    assert check_label_shift(name, Found(False), covariate=True) == ()
    assert check_label_shift(name, Found(False), covariate=False) == ()


@pytest.mark.parametrize("name", ["coral", "dan", "dann"])
def test_prevalence_shift_alone_refuses_what_matches_marginals(name):
    with pytest.raises(RefusedError, match=f"align={name}: .*recalibrate"):
        check_label_shift(name, Found(True), covariate=False)


@pytest.mark.parametrize("name", ALIGNMENTS)
def test_prevalence_shift_with_shifted_images_is_recorded(name):
    (note,) = check_label_shift(name, Found(True), covariate=True)
    assert note.startswith(f"alignment {name}: the target's class mix differs")


@pytest.mark.parametrize("name", ["mcc", "adabn", "feature_statistics"])
def test_prevalence_shift_alone_is_recorded_for_the_others(name):
    (note,) = check_label_shift(name, Found(True), covariate=False)
    assert note.startswith(f"alignment {name}: the target's class mix differs")


def test_what_could_not_be_tested_is_said():
    (note,) = check_label_shift("dann", None, covariate=False)
    assert "could not be tested" in note


def test_the_estimate_of_label_shift_is_what_the_guard_reads():
    rng = np.random.default_rng(0)

    def logits(labels):
        return np.eye(2)[labels] * 3 + rng.normal(size=(len(labels), 2))

    half, rare = np.arange(300) % 2, (np.arange(300) % 10 == 0).astype(int)
    for labels, refused in ((half, False), (rare, True)):
        found = prevalence_shift(logits(half), np.eye(2)[half], logits(labels), seed=0, resamples=30)
        if refused:
            with pytest.raises(RefusedError):
                check_label_shift("coral", found, covariate=False)
        else:
            assert check_label_shift("coral", found, covariate=False) == ()
