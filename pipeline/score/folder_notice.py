"""What the scores of a folder as a whole say: whether they can be what they are taken for."""

from collections import Counter
from collections.abc import Iterable

from pipeline.decide.pool import LEAST_POOL, LEAST_SHARE, share_normal
from pipeline.score.outcome import Outcome


def folder_notice(outcomes: Iterable[Outcome]) -> str:
    """A warning where hardly any scan of a folder looks like the normals that a detector's scores are ranked among.

    Then the scanner, the body part or the population is another, or the folder holds nothing but disease: a scan of it
    that is called abnormal is no finding. Every scan keeps its own score and decision.

    Args:
        outcomes: Of the folder's scans. One's anomaly score is its rank among held-out normals, so that 1 minus it is
            its p-value, but for less than one rank.

    Returns:
        The warning; empty where nothing speaks against the scores, or fewer than 35 scans were scored.
    """
    p_values = [1 - outcome.anomaly_score for outcome in outcomes if outcome.anomaly_score is not None]
    if len(p_values) < LEAST_POOL:
        return ""
    value, low, high = share_normal(p_values)
    if high >= LEAST_SHARE:
        return ""
    return (
        f"only {value:.0%} of the {len(p_values)} scans (95 % interval {low:.0%} to {high:.0%}) could be normal by "
        "what the bundle's normals look like: another scanner, body part or population, or nothing but disease; "
        "'anomaly' is no finding here. Adapt again with the site as target_sites and normal scans of it"
    )


def copies_notice(outcomes: Iterable[Outcome]) -> str:
    """A warning where scans look like copies of scans from the bundle's training, on which any score flatters.

    Args:
        outcomes: Of the folder's scans.

    Returns:
        The warning; empty where no scan does.
    """
    scored = [outcome for outcome in outcomes if outcome.status == "scored"]
    copies = sum(outcome.copy for outcome in scored)
    if not copies:
        return ""
    return (
        f"{copies} of {len(scored)} scans look like copies of scans from the bundle's training; their scores say "
        "nothing of how well it does on new ones"
    )


def referrals_notice(outcomes: Iterable[Outcome]) -> str:
    """A warning where more than half of the scans are left to a person, with how many for each code.

    Args:
        outcomes: Of the folder's scans.

    Returns:
        The warning; empty where fewer are.
    """
    scored = [outcome for outcome in outcomes if outcome.status == "scored"]
    codes = Counter(outcome.reason.partition(":")[0] for outcome in scored if outcome.decision == "refer")
    if 2 * codes.total() <= len(scored):
        return ""
    told = ", ".join(f"{count} {code}" for code, count in codes.most_common())
    return (
        f"{codes.total()} of {len(scored)} scans are referred ({told}): these are not the scans that the bundle was "
        "adapted to; see scanshift shift, or adapt again with the site as target_sites"
    )
