"""What can be checked before a detector is fitted."""

from models.detectors import DETECTORS
from models.registry import lookup
from pipeline.config import Config
from pipeline.errors import CohortError, ConfigError
from pipeline.prepare.cohort import Case, Cohort
from pipeline.prepare.split import Split

AUTO = "auto"
PRETRAINED = "continued_pretraining"


def check_one_class(config: Config) -> None:
    """Refuse settings that need labels of several classes, before anything is read.

    Raises:
        ConfigError, UnknownNameError: Naming the key.
    """
    if config.detector != AUTO:
        lookup("detector", DETECTORS, config.detector)
    for key, value in (("align", config.align), ("test_time", config.test_time)):
        if value != "none":
            raise ConfigError(f"{key}={value} works on a classifier, and task one_class trains none")
    if config.backbone == AUTO:
        raise ConfigError("backbone=auto compares backbones by labels of several classes; for one_class name one")


def normals_of(cohort: Cohort, split: Split, *, but: tuple[str, ...] = ()) -> list[Case]:
    """Normal scans of a side, but those of some sites."""
    normal = (cohort.classes[0],)
    return [case for case in cohort.side(split) if case.labels == normal and case.site not in but]


def check_normals(cohort: Cohort, target_sites: tuple[str, ...]) -> None:
    """Refuse a cohort without normal scans to learn from and others to calibrate on.

    Raises:
        CohortError: Saying which are missing.
    """
    normal = cohort.classes[0]
    purposes: dict[Split, str] = {"train": "to learn from", "val": "to calibrate on"}
    for split, purpose in purposes.items():
        if not normals_of(cohort, split, but=target_sites):
            where = " outside target_sites" if target_sites else ""
            raise CohortError(f"no row labelled {normal!r} in {split}{where}: normal scans are needed {purpose}")
