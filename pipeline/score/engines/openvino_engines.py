"""OpenVINO on the CPU, in float32 and bfloat16.

`import openvino` sends a telemetry event and writes below the user's home where the package `openvino_telemetry` is
installed, which its wheel requires; it is kept from being imported, and OpenVINO then uses a stub of its own.
"""

import importlib
import importlib.util
import logging
import sys
import warnings
from collections.abc import Callable
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.learn.device import has_bfloat16
from pipeline.score.engines.engine import FLOAT32, REDUCED, EngineError, EngineKind, Run, Slot

MODEL = "model.xml"
FILES = (MODEL, "model.bin")
PRECISIONS = {FLOAT32: "f32", REDUCED: "bf16"}


def openvino() -> ModuleType:
    """The package, without its telemetry."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None makes its import fail
    return importlib.import_module("openvino")


def _missing(device: torch.device) -> str:
    if device.type != "cpu":
        return "OpenVINO is used on the CPU alone"
    return "" if importlib.util.find_spec("openvino") else "the package openvino is not installed"


def _missing_reduced(device: torch.device) -> str:
    return _missing(device) or ("" if has_bfloat16(device) else "this processor does not multiply bfloat16")


def _export(network: nn.Module, slot: Slot) -> None:
    """Trace the network for one shape and save it.

    Raises:
        EngineError: If it cannot be converted.
    """
    ov = openvino()
    example = torch.zeros(slot.shape)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # tracing tells of each Python branch; the seal says whether one mattered
        try:
            model = ov.convert_model(network, example_input=example, input=[ov.PartialShape(slot.shape)])
        except Exception as error:  # whatever its frontends raise, another engine will do
            logging.getLogger(__name__).debug("not converted", exc_info=True)
            raise EngineError(f"OpenVINO does not convert it ({type(error).__name__})") from error
    slot.folder.mkdir(parents=True, exist_ok=True)
    ov.save_model(model, str(slot.folder / MODEL), compress_to_fp16=False)


def _loader(tolerance: float) -> Callable[[nn.Module, Slot], Run]:
    def load(_network: nn.Module, slot: Slot) -> Run:
        options: dict[str, str | int] = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[tolerance],
            "PERFORMANCE_HINT": "LATENCY",
        }
        options["INFERENCE_NUM_THREADS"] = torch.get_num_threads()
        core = openvino().Core()
        model = core.read_model(str(slot.folder / MODEL))
        model.reshape(slot.shape)
        compiled = core.compile_model(model, "CPU", options)

        def run(slices: Tensor) -> Tensor:
            rows = compiled([np.ascontiguousarray(slices.numpy())])[0]
            return torch.from_numpy(np.array(rows, np.float32))

        return run

    return load


OPENVINO = EngineKind("openvino", FLOAT32, _missing, _loader(FLOAT32), _export, FILES)
OPENVINO_BFLOAT16 = EngineKind(
    "openvino_bfloat16", REDUCED, _missing_reduced, _loader(REDUCED), _export, FILES, exact=OPENVINO.name
)
