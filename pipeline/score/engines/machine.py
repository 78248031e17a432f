"""What makes one machine's export and timing another's: processor, device, versions of what runs the network."""

import contextlib
import hashlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGES = ("scanshift", "torch", "torchvision", "timm", "openvino")  # what makes or runs the network
CPU_FACTS = ("model name", "flags", "Features", "CPU part")


def machine_id(device: torch.device) -> str:
    """A fingerprint, 16 hex digits, the same until processor, cores, GPU or one of `PACKAGES` change."""
    facts = [platform.machine(), platform.system(), str(os.cpu_count()), device.type]
    facts += [_processor(), *(_version(package) for package in PACKAGES)]
    if device.type == "cuda":
        facts.append(torch.cuda.get_device_name(device))
    return hashlib.sha256("|".join(facts).encode()).hexdigest()[:16]


def _processor() -> str:
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0].splitlines()
        return "|".join(line for line in lines if line.partition(":")[0].strip() in CPU_FACTS)
    return platform.processor()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
