"""Engines that PyTorch brings: eager float32, mixed precision, and compiled."""

import shutil
import sys

import torch
from torch import Tensor, nn

from pipeline.learn.device import has_bfloat16
from pipeline.score.engines.engine import FLOAT32, REDUCED, REFERENCE, EngineKind, Run, Slot


def _nothing(_device: torch.device) -> str:
    return ""


def _eager(network: nn.Module, _slot: Slot) -> Run:
    return network


def _no_reduced(device: torch.device) -> str:
    if device.type == "cuda" or has_bfloat16(device):
        return ""
    return "this processor does not multiply bfloat16"


def reduced_type(device: torch.device) -> torch.dtype:
    """The half-size float that a device multiplies: bfloat16, or float16 on a GPU without it."""
    return torch.bfloat16 if has_bfloat16(device) or device.type == "cpu" else torch.float16


def _mixed(network: nn.Module, slot: Slot) -> Run:
    kind, dtype = slot.device.type, reduced_type(slot.device)

    def run(slices: Tensor) -> Tensor:
        with torch.autocast(kind, dtype=dtype):
            rows: Tensor = network(slices)
        return rows.float()

    return run


def _no_compiler(device: torch.device) -> str:
    if sys.platform != "linux":
        return "torch.compile is used on Linux alone"
    if device.type == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
        return "torch.compile needs a C++ compiler, and there is none"
    return ""


def _compiled(network: nn.Module, slot: Slot) -> Run:
    compiled: Run = torch.compile(network)
    with torch.inference_mode():
        compiled(torch.zeros(slot.shape, device=slot.device))
    return compiled


EAGER = EngineKind(REFERENCE, 0.0, _nothing, _eager)
AMP = EngineKind("amp", REDUCED, _no_reduced, _mixed)
COMPILE = EngineKind("compile", FLOAT32, _no_compiler, _compiled)
