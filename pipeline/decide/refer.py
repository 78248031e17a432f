"""Why a scored scan is left to a person, in one reason."""

from pipeline.errors import Reason


def referral(unfamiliar: str, uncertain: str) -> str:
    """The reason of a referral: the code of the first that applies, and the words of both; empty where none does.

    Args:
        unfamiliar: What of the header training did not have, in words.
        uncertain: Why the prediction set leaves the decision open, in words.
    """
    if unfamiliar:
        return f"{Reason.HEADER_RANGE}: {unfamiliar}" + (f"; besides, {uncertain}" if uncertain else "")
    return f"{Reason.UNCERTAIN}: {uncertain}" if uncertain else ""
