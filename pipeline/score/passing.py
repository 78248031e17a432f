"""Which faults may pass, so that a series failed and is tried again by the next run, and which refuse it for good."""

from pipeline.errors import Reason, ScanError
from pipeline.score.outcome import Outcome

NO_MEMORY = Outcome("failed", f"{Reason.OVER_BUDGET}: not enough memory to score it now")
CHANGED = Outcome("failed", f"{Reason.CHANGED_FILE}: the file changed after it was listed; the next run reads it again")
PASSING = (Reason.CHANGED_FILE, Reason.UNREADABLE)


def told(error: ScanError) -> Outcome:
    """Refused for what the scan is; failed for what the outside caused, such as a share that was away for a moment."""
    cause = error.__cause__
    if isinstance(cause, MemoryError):
        return NO_MEMORY
    if isinstance(cause, OSError) and cause.errno and error.code not in PASSING:
        return Outcome("failed", f"{Reason.UNREADABLE}: {cause.strerror or type(cause).__name__}")
    return Outcome("failed" if error.code in PASSING else "refused", str(error))
