"""A face restorer in any ONNX file: input and output sizes, layout and types are read from the file, the rest is given.

onnx:FILE?range=-1,1&size=512&layout=nchw&order=rgb&NAME=VALUE

range    values of black and white in the input and the output; -1,1 for networks of floats, 0,255 for those of uint8
size     of the input, px, for files with dynamic axes
layout   nchw or nhwc, for files in which neither or both axes have three channels
order    rgb or bgr
NAME     value of a further input, such as weight=0.5 for the fidelity of CodeFormer
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import torch

from gpen.errors import GPENError
from gpen.optional import import_optional

DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(uint8)": np.uint8}
OVERSHOOT = 0.1  # outputs of networks exceed their range a little


@dataclass(frozen=True)
class OnnxRestorer:
    """Callable: uint8 RGB [size, size, 3] each -> uint8 RGB [s, s, 3] each, s being the size of the output."""

    session: Any  # onnxruntime.InferenceSession
    path: Path
    size: int  # px
    channels_first: bool
    bgr: bool
    limits: tuple[float, float]  # of float inputs and outputs
    limits_given: bool
    further: dict[str, np.ndarray]  # inputs other than the image

    @classmethod
    def open(cls, path: Path, options: str = "") -> OnnxRestorer:
        """Open a file. options: as in the first lines of this module. Raises GPENError for other files and invalid options."""
        if not path.is_file():
            raise GPENError(f"onnx:{path} is not a file; check the path.")
        session = _session(path)
        given = dict(parse_qsl(options, keep_blank_values=True))
        image = next((one for one in session.get_inputs() if len(one.shape) == 4), None)
        if image is None or image.type not in DTYPES:
            raise GPENError(f"{path} has no image input [n, 3, h, w]; give the ONNX file of a face restorer.")
        channels_first = _layout(path, image.shape, given.pop("layout", None))
        size = _size(path, image.shape[2:] if channels_first else image.shape[1:3], given.pop("size", None))
        order = given.pop("order", "rgb")
        if order not in ("rgb", "bgr"):
            raise GPENError(f"onnx:{path}: order={order} is not rgb or bgr; correct it.")
        own = session.get_modelmeta().custom_metadata_map.get("format") == "gpen"  # of python -m gpen export
        limits = given.pop("range", "-1,1" if own else None)
        further = _further(path, [one for one in session.get_inputs() if one.name != image.name], given)
        return cls(session, path, size, channels_first, order == "bgr", _limits(path, limits), limits is not None, further)

    def __call__(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Restore one image at a time: many files have a fixed batch size of 1. Raises GPENError for unexpected results."""
        return [self._restore(image) for image in images]

    def _restore(self, image: np.ndarray) -> np.ndarray:
        entry = next(one for one in self.session.get_inputs() if len(one.shape) == 4)
        x = image[..., ::-1] if self.bgr else image  # [size, size, 3]
        if entry.type != "tensor(uint8)":
            low, high = self.limits
            x = (x / 255 * (high - low) + low).astype(DTYPES[entry.type])
        x = np.ascontiguousarray(x.transpose(2, 0, 1) if self.channels_first else x)[None]
        try:
            outputs = self.session.run(None, {entry.name: x, **self.further})
        except Exception as error:  # onnxruntime has one exception class per status code
            raise GPENError(f"onnxruntime cannot run {self.path}: {str(error).splitlines()[0]}") from None
        found = [y for y in outputs if y.ndim == 4 and 3 in (y.shape[1], y.shape[3])]
        if not found:
            raise GPENError(f"{self.path} returns no RGB image; give the ONNX file of a face restorer.")
        y = found[0][0]
        y = y.transpose(1, 2, 0) if y.shape[0] == 3 else y  # [s, s, 3]
        return self._to_uint8(y[..., ::-1] if self.bgr else y)

    def _to_uint8(self, y: np.ndarray) -> np.ndarray:
        if y.dtype == np.uint8:
            return np.ascontiguousarray(y)
        low, high = self.limits
        if not self.limits_given and (suggestion := _other_limits(float(y.min()), float(y.max()))):
            raise GPENError(
                f"{self.path} returns values from {y.min():.2f} to {y.max():.2f}, not from {low:g} to {high:g}; "
                f"write onnx:{self.path}?range={suggestion}, or range={low:g},{high:g} if the values are right."
            )
        unit = (y.astype(np.float64) - low) / (high - low)
        return np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)


def _session(path: Path) -> Any:
    runtime = import_optional("onnxruntime", "onnx", f"onnx:{path}")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    providers = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in runtime.get_available_providers()]
    try:
        return runtime.InferenceSession(str(path), options, providers)
    except Exception as error:  # onnxruntime has one exception class per status code
        raise GPENError(f"onnxruntime cannot read {path}: {str(error).splitlines()[0]}") from None


def _layout(path: Path, shape: Sequence[Any], given: str | None) -> bool:
    """Whether the channels come before the height and the width."""
    if given is None:
        found = [layout for layout, axis in (("nchw", 1), ("nhwc", 3)) if shape[axis] == 3]
        if len(found) != 1:
            raise GPENError(f"{path} has an input of shape {list(shape)}; write onnx:{path}?layout=nchw, or layout=nhwc.")
        given = found[0]
    if given not in ("nchw", "nhwc"):
        raise GPENError(f"onnx:{path}: layout={given} is not nchw or nhwc; correct it.")
    return given == "nchw"


def _size(path: Path, sides: Sequence[Any], given: str | None) -> int:
    fixed = {side for side in sides if isinstance(side, int)}
    if given is not None and (not given.isdecimal() or not 0 < int(given) <= 4096):
        raise GPENError(f"onnx:{path}: size={given} is not a number of pixels from 1 to 4096; correct it.")
    if not fixed and given is None:
        raise GPENError(f"{path} accepts any size; write onnx:{path}?size=512, or the size that it was trained with.")
    sizes = fixed | ({int(given)} if given else set())
    if len(sizes) > 1:
        raise GPENError(f"{path} has inputs of {' x '.join(map(str, sides))} px, not {given or 'square'}; remove the size.")
    return sizes.pop()


def _limits(path: Path, given: str | None) -> tuple[float, float]:
    if given is None:
        return -1.0, 1.0
    try:
        low, high = (float(value) for value in given.split(","))
    except ValueError:
        low = high = 0.0
    if not low < high:
        raise GPENError(f"onnx:{path}: range={given} is not two increasing numbers, such as -1,1; correct it.")
    return low, high


def _further(path: Path, inputs: Sequence[Any], given: dict[str, str]) -> dict[str, np.ndarray]:
    values = {}
    for one in inputs:
        try:
            value = float(given.pop(one.name))
        except (KeyError, ValueError):
            raise GPENError(f"{path} has the further input {one.name!r}; write its value, onnx:{path}?{one.name}=0.5.") from None
        shape = [side if isinstance(side, int) else 1 for side in one.shape]
        values[one.name] = np.full(shape, value, DTYPES.get(one.type, np.float32))
    if given:
        names = ["range", "size", "layout", "order", *values]
        raise GPENError(f"onnx:{path} has no option {min(given)!r}; choose from {', '.join(names)}.")
    return values


def _other_limits(low: float, high: float) -> str:
    """The range that values from `low` to `high` seem to have, "" for -1,1: a restored face has dark and bright pixels."""
    if high > 1 + 10 * OVERSHOOT:
        return "0,255"
    return "0,1" if low > -OVERSHOOT and high <= 1 + OVERSHOOT else ""
