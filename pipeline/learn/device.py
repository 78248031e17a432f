"""Which device runs the network, and in which precision."""

import contextlib
import re

import torch

from pipeline.config import DEVICE, Precision
from pipeline.errors import ConfigError


def choose_device(name: str) -> torch.device:
    """The device of a configuration; `auto` takes CUDA where there is one.

    Raises:
        ConfigError: If the name is none, or CUDA is asked for and absent.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(DEVICE, name):
        raise ConfigError(f"device {name!r}: expected auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise ConfigError(f"device {name}: no such GPU on this machine; set device=cpu")
    return device


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware, so that mixed precision gains something."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def uses_bfloat16(device: torch.device, precision: Precision) -> bool:
    """Whether a precision means bfloat16 on a device."""
    return precision == "bfloat16" or (precision == "auto" and has_bfloat16(device))


def mixed(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[object]:
    """Autocast to bfloat16 if the precision says so, else nothing."""
    if uses_bfloat16(device, precision):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()
