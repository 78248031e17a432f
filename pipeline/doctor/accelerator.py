"""The processor or GPU that networks run on."""

from pathlib import Path

import torch

from pipeline.doctor.finding import Level, Told, check

DRIVER = Path("/proc/driver/nvidia/version")


@check("accelerator")
def check_accelerator(driver: Path = DRIVER) -> Told:
    """Whether a GPU that is there can be used.

    Args:
        driver: File that is there where NVIDIA's driver is loaded.
    """
    if not torch.cuda.is_available():
        if driver.exists():
            return Level.WARNING, f"NVIDIA's driver is loaded, but torch {torch.__version__} cannot use it"
        return Level.OK, f"none; the processor is used, with {torch.get_num_threads()} threads"
    square = torch.eye(64, device="cuda")
    if not torch.equal((square @ square).cpu(), torch.eye(64)):
        return Level.BROKEN, f"{torch.cuda.get_device_name()}: 64x64 identity times itself is not itself"
    return Level.OK, f"{torch.cuda.get_device_name()}"
