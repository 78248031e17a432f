"""Puts NIfTI files together with struct, after nifti1.h and nifti2.h."""

import gzip
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.pipeline.ingest.truth.case import NIBABEL, Truth
from tests.pipeline.ingest.truth.dicom import numbers

CODES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "u4": 768, "i8": 1024, "u8": 1280}

AFFINE = np.array([[0, -2.0, 0, 10], [1.5, 0, 0, -20], [0, 0.0, 3, 30], [0, 0, 0, 1]])

VOXELS = numbers((4, 5, 6), 900, -900)

PROOF = (NIBABEL,)


@dataclass
class Nifti:
    """A NIfTI file's header fields; by default int16, an sform, millimetres."""

    voxels: np.ndarray = field(default_factory=lambda: VOXELS)
    dtype: str = "i2"
    order: str = "<"
    version: int = 1
    sform: np.ndarray | None = field(default_factory=lambda: AFFINE)
    sform_code: int = 1
    quaternion: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0)
    offsets: tuple[float, ...] = (0.0, 0.0, 0.0)
    pixdim: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0, 1.0, 1.0, 1.0, 1.0)  # the first is qfac
    qform_code: int = 0
    units: int = 2
    slope: float = 1.0
    inter: float = 0.0
    code: int = 0
    dims: tuple[int, ...] = ()
    intent: int = 0
    gap: int = 0
    magic: bytes = b""
    extension: bytes = b""
    raw: bytes = b""

    @property
    def content(self) -> bytes:
        stored = self.raw or self.voxels.astype(self.order + self.dtype).tobytes(order="F")
        start = self._header()
        return start + bytes(self._offset() - len(start)) + stored

    def _offset(self) -> int:
        return (352 if self.version == 1 else 544) + len(self.extension) + self.gap

    def _header(self) -> bytes:
        dims = self.dims or (self.voxels.ndim, *self.voxels.shape)
        dims = (*dims, *[1] * (8 - len(dims)))
        code, bits = self.code or CODES[self.dtype], 8 * np.dtype(self.dtype).itemsize
        rows = (np.eye(4) if self.sform is None else self.sform)[:3].ravel().tolist()
        quaternion = [*self.quaternion[1:], *self.offsets]
        forms = (self.qform_code, self.sform_code)
        flag = (b"\1\0\0\0" if self.extension else bytes(4)) + self.extension
        if self.version == 2:
            made = struct.pack(self.order + "i8s2h8q", 540, self.magic or b"n+2\0\r\n\x1a\n", code, bits, *dims)
            made += struct.pack(
                self.order + "3d8dq2d2d2d2q",
                0,
                0,
                0,
                *self.pixdim,
                self._offset(),
                self.slope,
                self.inter,
                0,
                0,
                0,
                0,
                0,
                0,
            )
            made += bytes(104) + struct.pack(self.order + "2i6d12d", *forms, *quaternion, *rows)
            made += struct.pack(self.order + "2i", 0, self.units) + struct.pack(self.order + "i", self.intent)
            return made + bytes(16) + b"\0" + bytes(15) + flag
        made = struct.pack(self.order + "i", 348) + bytes(36) + struct.pack(self.order + "8h", *dims)
        made += struct.pack(self.order + "3f4h", 0, 0, 0, self.intent, code, bits, 0)
        made += struct.pack(self.order + "8f3f", *self.pixdim, self._offset(), self.slope, self.inter)
        made += struct.pack(self.order + "hBB4f2i", 0, 0, self.units, 0, 0, 0, 0, 0, 0) + bytes(104)
        made += struct.pack(self.order + "2h6f12f", *forms, *quaternion, *rows) + bytes(16)
        return made + (self.magic or b"n+1\0") + flag

    def truth(self, values: Any = None, **changes: Any) -> Truth:
        return Truth(self.voxels if values is None else values, **{"affine": AFFINE, "modality": "OT", **changes})

    def write(self, folder: Path, name: str = "a.nii") -> None:
        (folder / name).write_bytes(gzip.compress(self.content) if name.endswith(".gz") else self.content)
