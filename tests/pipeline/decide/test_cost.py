import numpy as np
import pytest
from scipy.special import expit, logit

from pipeline.decide.choose import choose
from pipeline.decide.cost import closed_form, lowest_cost
from pipeline.decide.decision_scores import decision_scores
from pipeline.decide.policy import parse_policy
from pipeline.errors import PolicyError


def drawn(normals, abnormals, seed=0):
    rng = np.random.default_rng(seed)
    return expit(rng.normal(-1, 1, normals)), expit(rng.normal(1, 1, abnormals))


def chosen(normal, abnormal, text="cost=10@0.05", *, raw=False):
    side = [0] * len(normal) + [1] * len(abnormal)
    scores = decision_scores(np.concatenate([normal, abnormal]), side, [str(n) for n in range(len(side))], seed=0)
    return choose(parse_policy(text), scores, measured_on="validation rows", raw=raw)


def expected_cost(t, normal, abnormal, ratio, prevalence):
    return ratio * prevalence * np.mean(abnormal < t) + (1 - prevalence) * np.mean(normal >= t)


@pytest.mark.parametrize(("ratio", "prevalence"), [(1, 0.5), (10, 0.05), (0.2, 0.5), (100, 0.3)])
def test_no_threshold_costs_less(ratio, prevalence):
    normal, abnormal = drawn(80, 50)
    value, above = lowest_cost(normal, abnormal, ratio, prevalence)
    found = expected_cost(np.nextafter(value, 2) if above else value, normal, abnormal, ratio, prevalence)
    costs = [expected_cost(t, normal, abnormal, ratio, prevalence) for t in [0.0, *normal, *abnormal, 1.1]]
    assert found == pytest.approx(min(costs))


def test_where_no_call_is_worth_it_nothing_seen_is_called():
    assert lowest_cost(np.array([0.1, 0.9]), np.array([0.2, 0.8]), 0.01, 0.01) == (0.9, True)


def test_of_equal_costs_the_highest_threshold_is_taken():
    assert lowest_cost(np.array([0.1, 0.2]), np.array([0.6, 0.7]), 1, 0.5) == (0.6, False)


def test_enough_patients_are_counted():
    normal, abnormal = drawn(60, 30)
    choice = chosen(normal, abnormal)
    cost = {figure.name: figure.value for figure in choice.record.achieved}["cost"]
    assert cost == pytest.approx(expected_cost(choice.threshold, normal, abnormal, 10, 0.05))
    assert "reweighted from 0.3333 to 0.05" in choice.record.notes[0]


def test_the_closed_form_is_the_point_where_missing_and_calling_cost_the_same():
    """Calibrated at 0.5 by construction: scores N(-1, 1) and N(1, 1) have logit p = 2 x at equal shares."""
    rng = np.random.default_rng(0)
    normal, abnormal = expit(2 * rng.normal(-1, 1, 20_000)), expit(2 * rng.normal(1, 1, 20_000))
    value = closed_form(normal, abnormal, 10, 0.05)
    assert logit(value) == pytest.approx(-np.log(10) - logit(0.05), abs=0.03)
    here, there = (
        expected_cost(t, normal, abnormal, 10, 0.05) for t in (value, lowest_cost(normal, abnormal, 10, 0.05)[0])
    )
    assert here == pytest.approx(there, abs=0.005)


def test_the_closed_form_does_not_trust_the_share_at_which_the_network_was_trained():
    """Probabilities shifted by any constant, as class weights do, give the same scans."""
    normal, abnormal = drawn(300, 40)
    value = closed_form(normal, abnormal, 10, 0.05)
    moved = closed_form(expit(logit(normal) + 2), expit(logit(abnormal) + 2), 10, 0.05)
    assert logit(moved) == pytest.approx(logit(value) + 2)


def test_few_labels_take_the_closed_form_and_say_so():
    normal, abnormal = drawn(12, 5)
    choice = chosen(normal, abnormal)
    assert choice.threshold == closed_form(normal, abnormal, 10, 0.05)
    assert "not counted but computed" in choice.record.notes[0]


@pytest.mark.parametrize(("counts", "raw"), [((12, 5), True), ((30, 0), False), ((30, 19), True)])
def test_where_neither_can_be_done_the_numbers_are_told(counts, raw):
    with pytest.raises(
        PolicyError, match=rf"{counts[0]} normal scans .* {counts[1]} abnormal scans .* patients of each"
    ):
        chosen(*drawn(*counts), raw=raw)
