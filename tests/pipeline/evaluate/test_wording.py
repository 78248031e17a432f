import pytest

from pipeline.evaluate.wording import gaps, pretraining_sentence, say, validation_verdict


def number(value, low, high, **more):
    return {"value": value, "low": low, "high": high} | more


def metrics(auroc, support=50):
    others = dict.fromkeys(("auprc", "sensitivity", "specificity", "ppv", "npv", "f1"), number(0.5, 0.4, 0.6))
    scores = {"auroc": auroc} | others
    worst = {"column": None, "group": None, "value": None, "reason": "no grouping column"}
    classes = {"viral": scores | {"support": support}}
    return {"n": 90, "n_patients": 60, "macro": scores, "classes": classes, "worst_group": worst, "groups": {}}


@pytest.mark.parametrize(
    ("auroc", "kind", "start"),
    [
        (number(0.9, 0.8, 0.95), "shown", "Better than chance"),
        (number(0.6, 0.5, 0.7), "unclear", "Not shown"),
        (number(0.3, 0.2, 0.4), "against", "Worse than chance"),
        (number(0.9, None, None, reason="no interval: one patient"), "unclear", "Macro AUROC 0.900"),
        (number(None, None, None, reason="no positive rows"), "unclear", "No overall AUROC"),
    ],
)
def test_verdict_says_no_more_than_the_interval_does(auroc, kind, start):
    verdict = validation_verdict(metrics(auroc))
    assert verdict.kind == kind
    assert verdict.headline.startswith(start)
    assert "90 scans of 60 patients" in verdict.headline


def test_classes_that_reach_chance_and_rare_classes_are_named():
    details = " ".join(validation_verdict(metrics(number(0.6, 0.4, 0.7), support=19)).details)
    assert "reaches chance (0.5) for: viral" in details
    assert "Fewer than 20 scans, so read with care: viral (19)" in details


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (number(0.1, 0.05, 0.2), "better than random"),
        (number(-0.1, -0.2, -0.05), "worse than random"),
        (number(0.1, -0.1, 0.2), "No difference"),
        (number(None, None, None, reason="weights: none"), "Not compared: weights: none."),
    ],
)
def test_pretraining_is_judged_by_its_interval(difference, words):
    assert words in pretraining_sentence({"difference": difference})


def test_missing_numbers_are_listed_by_class_and_reason():
    lines = gaps(metrics(number(None, None, None, reason="no positive rows")))
    assert lines == ["viral: auroc: no positive rows", "mean: auroc: no positive rows"]


def test_say_gives_the_interval_in_words():
    assert say(number(0.9123, 0.88, 0.94)) == "0.912 (95 % interval 0.880 to 0.940)"
