"""The mend for a torchvision whose compiled operators do not load: CPU torch beside a CUDA torchvision.

There `import torchvision` ends in "operator torchvision::nms does not exist", and with it every library that
imports it (lpips, pytorch_fid, facenet_pytorch). Defining the two operators that the import asks for is
enough; call `mend_torchvision()` before the import.
"""

import importlib
import sys
import threading
from typing import Any

import torch

_lock = threading.Lock()
_library: torch.library.Library | None = None  # the operators live as long as this object does
_mended: bool | None = None  # None until the first call has looked


def mend_torchvision() -> bool:
    """Make `import torchvision` work; True if it needed the mend, False if it works or is not installed.

    Safe to call from any thread and as often as you like: after the first call it costs nothing.
    Raises the import's own error where that has another cause.
    """
    global _mended
    if _mended is None:
        with _lock:
            if _mended is None:
                _mended = _import_torchvision()
    return _mended


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
        del sys.modules[name]  # the half-made modules of the failed import
    _define_operators()
    boxes: Any = importlib.import_module("torchvision.ops.boxes")
    boxes._assert_has_ops = lambda: None  # it would refuse to call the operators that are now there
    return True


def nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Non-maximum suppression as in torchvision.ops.nms: down the scores, each box drops those it overlaps.

    boxes [n, 4] as (x1, y1, x2, y2), scores [n]; a box goes where its intersection over union with a kept
    one exceeds the threshold. Returns the kept indices, int64 [k], highest score first.
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
        overlap = inter / (area[best] + area[order] - inter)  # [m], NaN between empty boxes, which stay
        order = order[~(overlap > iou_threshold)]
    return torch.stack(kept) if kept else order


def _define_operators() -> None:
    global _library
    _library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _library.impl(name, nms, "CPU")
