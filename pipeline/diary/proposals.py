"""What a night's figures suggest, in words; nothing here changes a model or approves one."""

from pipeline.diary.record import Row

KINDS = {
    "prevalence": (
        "The mix of classes has changed. Recalibrate: bring labels of new scans and run `scanshift adapt LABELS.csv "
        "-w WS --bundle NEW --set weights=BUNDLE`, or choose another policy with "
        "`scanshift models set-policy BUNDLE NEW --policy TEXT`."
    ),
    "covariate": (
        "Scans look different. Adapt anew: `scanshift adapt LABELS.csv -w WS --bundle NEW --set strategy=auto "
        "--set 'target_sites=[...]'`, the new scans as unlabelled rows of their site."
    ),
    "both": "Scans look different and their mix has changed. Bring labelled new scans before adapting anew.",
}
THEN = (
    "Measure it with `scanshift validate NEW LABELS.csv -w WS -o OUT`, and let a person approve it: "
    "`scanshift models promote NEW -w WS --by NAME`."
)
LOOK_CLOSER = "Look closer: `scanshift shift BUNDLE INCOMING -o OUT`, and the page of the night."
NAMED = 5


def proposals(row: Row) -> tuple[str, ...]:
    """Proposals of a night, the most pressing first; empty where nothing speaks for any."""
    lines = []
    fields = list(row.shift.get("fields", {}))[:NAMED]
    if row.alarm:
        if fields:
            lines.append(f"Header fields have shifted: {', '.join(fields)}. Ask what changed at the scanner.")
        kind = row.shift.get("kind")
        lines.append(KINDS.get(str(kind), LOOK_CLOSER))
        if kind in KINDS:
            lines.append(THEN)
    elif row.shift.get("reason"):
        lines.append(f"No drift check: {row.shift['reason']}.")
    if told := _unexpected(row):
        lines.append(told)
    if row.counts.get("failed"):
        lines.append(f"{row.counts['failed']} series could not be read just now; the next night tries them again.")
    if row.pull.get("reason"):
        lines.append(f"The pull from the PACS failed ({row.pull['reason']}); what lay there was scored.")
    elif left := sum(row.pull.get(name, 0) for name in ("failed", "incomplete")):
        lines.append(f"{left} series came from the PACS in part or not at all; the next night asks for them again.")
    return tuple(lines)


def _unexpected(row: Row) -> str:
    """Whether more, or fewer, scans than expected are called abnormal; not corrected for looking every night."""
    share = row.shares.get("abnormal", {})
    expected = share.get("expected")
    if expected is None or share["value"] is None or share["low"] <= expected <= share["high"]:
        return ""
    way = "more" if share["value"] > expected else "fewer"
    return (
        f"{share['value']:.0%} are called abnormal ({share['low']:.0%} to {share['high']:.0%}), {way} than the "
        f"{expected:.0%} among the bundle's reference scans; one night alone says little."
    )
