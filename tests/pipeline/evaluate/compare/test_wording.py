import pytest

from pipeline.evaluate.compare.wording import comparison_verdict, p_words, signed


def auroc(value, low, high, p, adjusted):
    return {"difference": {"value": value, "low": low, "high": high}, "p_value": p, "adjusted": adjusted}


def measured(**classes):
    return {
        "n": 624,
        "n_patients": 427,
        "tested": [name for name, found in classes.items() if found["p_value"] is not None],
        "classes": {name: {"auroc": found, "support": 100, "n": 624} for name, found in classes.items()},
        "accuracy": {"difference": {"value": 0.01, "low": -0.02, "high": 0.03}},
    }


def test_one_class_that_differs_among_three():
    nothing = auroc(0.01, -0.01, 0.03, 0.4, 0.8)
    verdict = comparison_verdict(
        measured(pneumonia=auroc(0.021, 0.004, 0.038, 0.004, 0.012), nodule=nothing, effusion=nothing)
    )
    assert verdict.kind == "shown"
    assert verdict.headline == (
        "B has the higher AUROC for pneumonia: +0.021 (95 % interval 0.004 to 0.038), p = 0.012 after Holm over 3 "
        "classes; 624 scans of 427 patients."
    )


def test_both_may_win_somewhere():
    verdict = comparison_verdict(
        measured(nodule=auroc(-0.03, -0.05, -0.01, 0.0001, 0.0002), effusion=auroc(0.02, 0.01, 0.03, 0.01, 0.01))
    )
    assert verdict.headline == (
        "B has the higher AUROC for effusion (+0.020, p = 0.010); A has the higher AUROC for nodule (+0.030, "
        "p < 0.001) after Holm over 2 classes; 624 scans of 427 patients."
    )


def test_the_adjusted_p_decides():
    verdict = comparison_verdict(
        measured(nodule=auroc(0.03, 0.01, 0.05, 0.03, 0.06), effusion=auroc(0.0, -0.01, 0.01, 0.9, 0.9))
    )
    assert verdict.kind == "unclear"
    assert verdict.headline.startswith("No difference in AUROC is shown: for nodule B - A is +0.030 (95 % interval ")


def test_few_scans_on_a_side_are_told():
    found = measured(nodule=auroc(0.03, 0.01, 0.05, 0.03, 0.03))
    found["classes"]["nodule"]["support"] = 19
    assert comparison_verdict(found).details[0] == "Fewer than 20 scans on a side, so the test is rough: nodule."


@pytest.mark.parametrize(("p", "words"), [(None, "–"), (0.0004, "< 0.001"), (0.05, "0.050"), (1.0, "1.000")])
def test_p_in_words(p, words):
    assert p_words(p) == words


def test_a_difference_without_limits_has_its_reason():
    assert (
        signed({"value": 0.0, "low": None, "high": None, "reason": "no interval: alike"})
        == "+0.000 (no interval: alike)"
    )
    assert signed({"value": None, "low": None, "high": None, "reason": "no rows"}) == "not computed: no rows"
