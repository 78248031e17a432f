"""The scans that an adaptation looks at, prepared."""

from dataclasses import replace

from pipeline.errors import CohortError
from pipeline.learn.near_copies import because_of_copies, find_copies, leave_copies_out
from pipeline.learn.plan import Plan, check_usable
from pipeline.prepare.cache import SampleStore
from pipeline.prepare.cohort import Case
from pipeline.watch import Watch


def used_cases(plan: Plan) -> list[Case]:
    """All that may be looked at: labelled ones, a target's, and for `one_class` any without a label; never `test`."""
    sites, any_will_do = plan.config.target_sites, plan.config.task == "one_class"
    cases = [case for case in plan.cohort.cases if case.split != "test"]
    return [case for case in cases if case.labels or case.site in sites or any_will_do]


def prepared(plan: Plan, store: SampleStore, watch: Watch) -> Plan:
    """Prepare these scans; those whose pixels cannot be used, and held-out copies of others, leave the plan.

    Raises:
        CohortError: If the others are not enough.
    """
    used = used_cases(plan)
    refused = store.fill([case.ref for case in used], watch.bar("preparing scans", len(used)))
    if refused:
        plan = replace(plan, cohort=plan.cohort.without(refused))
        check_usable(plan.cohort, plan.config)
    config = plan.config
    pairs = find_copies(used_cases(plan), store, watch)
    cohort = leave_copies_out(
        plan.cohort, pairs, target_sites=config.target_sites, keep=config.near_duplicates == "list"
    )
    try:
        check_usable(cohort, config)
    except CohortError as error:
        raise because_of_copies(error, cohort) from error
    return replace(plan, cohort=cohort)
