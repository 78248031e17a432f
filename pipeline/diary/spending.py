"""How small a p must be to raise an alarm when one looks every night, for as long as one likes."""

from math import pi

ALPHA = 0.05
LOOKS = 365


def alpha_of(look: int, alpha: float = ALPHA) -> float:
    """What look number k = 1, 2, ... may spend: alpha_k = alpha 6 / (pi^2 y^2) / 365, y = ceil(k / 365).

    All looks together spend alpha, since the sum of 1 / y^2 is pi^2 / 6. So the chance that a model that never drifts
    ever raises an alarm is at most alpha, however long one looks and however the nights depend on each other: they
    share one reference, which forbids tests that multiply evidence over nights. Within a year each night may spend the
    same, so that a shift is found in December as well as in January.

    Args:
        look: Number of the test, from 1, of one bundle.
        alpha: Chance of a false alarm over all looks.

    Raises:
        ValueError: If there is no such look.

    Source:
        Bonferroni's inequality with unequal shares, as Lan & DeMets 1983, Discrete Sequential Boundaries for Clinical
        Trials, spend alpha over looks; for a stream without end Foster & Stine 2008, Alpha-Investing, section 2.
    """
    if look < 1:
        raise ValueError(f"look {look}: looks are counted from 1")
    year = -(-look // LOOKS)
    return alpha * 6 / (pi**2 * year**2) / LOOKS


def together(p_values: dict[str, float]) -> float:
    """One p for the tests of a night: the smallest times their number, at most 1 (Bonferroni)."""
    return min(1.0, min(p_values.values()) * len(p_values))
