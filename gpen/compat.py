"""Workaround for a torchvision whose compiled operators do not load, such as a CUDA build installed with CPU torch.

With that combination `import torchvision` fails with "operator torchvision::nms does not exist", and so does every library
that imports it (lpips, pytorch_fid, facenet_pytorch). It is enough to define the two operators that the import requires:
call `patch_torchvision()` before the import.
"""

import importlib
import sys
import threading
from typing import Any

import torch

_lock = threading.Lock()
_library: torch.library.Library | None = None  # the operators are unregistered when this object is deleted
_patched: bool | None = None  # None until the first call


def patch_torchvision() -> bool:
    """Make `import torchvision` work. Thread-safe; only the first call does any work.

    Returns True if the operators had to be defined, False if torchvision works or is not installed. Raises the error of the
    import if it has another cause.
    """
    global _patched
    if _patched is None:
        with _lock:
            if _patched is None:
                _patched = _import_torchvision()
    return _patched


def _import_torchvision() -> bool:
    try:
        importlib.import_module("torchvision")
        return False
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise
        return False
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]  # partially initialised modules of the failed import
    _define_operators()
    boxes: Any = importlib.import_module("torchvision.ops.boxes")
    boxes._assert_has_ops = lambda: None  # it checks for the compiled library, not for the operators
    return True


def nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Non-maximum suppression with the behaviour of torchvision.ops.nms.

    boxes [n, 4] as (x1, y1, x2, y2), scores [n]. A box is removed if its intersection over union with a kept box of higher
    score exceeds `iou_threshold`. Returns the kept indices, int64 [k], highest score first.
    """
    order = scores.argsort(descending=True, stable=True)  # [n]
    boxes = boxes.to(torch.promote_types(boxes.dtype, torch.float32))  # [n, 4]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])  # [n]
    kept = []
    while order.numel():
        best, order = order[0], order[1:]
        kept.append(best)
        corner_low = torch.maximum(boxes[best, :2], boxes[order, :2])  # [m, 2]
        corner_high = torch.minimum(boxes[best, 2:], boxes[order, 2:])  # [m, 2]
        inter = (corner_high - corner_low).clamp(min=0).prod(dim=1)  # [m]
        overlap = inter / (area[best] + area[order] - inter)  # [m], NaN for two empty boxes, which are kept
        order = order[~(overlap > iou_threshold)]
    return torch.stack(kept) if kept else order


def _define_operators() -> None:
    global _library
    _library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _library.impl(name, nms, "CPU")
