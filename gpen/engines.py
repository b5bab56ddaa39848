"""What runs a network: PyTorch, onnxruntime or OpenVINO behind one call, and the export of files that other programs can run.

    torch           float32; on a CPU the network as gpen.prepared rearranges it
    torch-bf16      the same with features and convolutions in bfloat16
    torch-compiled  PyTorch's compiler, on a GPU in bfloat16 and with CUDA graphs; the first call takes up to a minute
    onnx            onnxruntime, float32
    openvino        OpenVINO in float32, said aloud: left to itself it takes bfloat16 wherever the processor has it
    openvino-bf16   OpenVINO in bfloat16

The exported graph, its input's range and its metadata are described in gpen.graph.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from .errors import GPENError
from .network import GPEN, UnitRange
from .prepared import Prepared, supports

if TYPE_CHECKING:
    import onnx

Engine = Callable[[Tensor], Tensor]
EXPORTS = {"onnx": ".onnx", "openvino": ".xml"}  # what can be written, and the ending of its file


def load_engine(net: GPEN | UnitRange | str | os.PathLike, engine: str = "torch") -> Engine:
    """A function x [n, 3, in_size, in_size] -> [n, 3, size, size], float32 in [-1, 1], what `net(x)` gives.

    net: a network, or a file that `export` wrote (not for "torch" and "torch-bf16"). engine: one of ENGINES.
    Load it anew when the network's weights have changed. Raises GPENError for an unknown engine, an absent package, a
    file that is not one of GPEN's or a processor without bfloat16.
    """
    if engine not in ENGINES:
        raise GPENError(f"The engine is one of {', '.join(ENGINES)}; got {engine!r}.")
    if isinstance(net, UnitRange):
        inner = load_engine(net.net, engine)
        return lambda x: inner((x + 1) / 2) * 2 - 1
    if not isinstance(net, (str, os.PathLike)):
        return ENGINES[engine](net)
    if engine.startswith("torch"):
        raise GPENError(f"{Path(net).name} is run by the engines onnx and openvino; torch takes a network from gpen.load.")
    if not Path(net).is_file():
        raise GPENError(f"There is no file {net}: check the path.")
    return ENGINES[engine](Path(net))


def export(net: GPEN | UnitRange, path: str | os.PathLike, engine: str = "onnx", opset: int | None = None, seed: int = 0) -> Path:
    """Write `net` as a file for another engine and return its path: .onnx, or .xml with its .bin beside it for OpenVINO.

    Any batch size; the settings stand in the file. opset: of ONNX. seed: of the free noise above in_size (super-resolution),
    which becomes a constant. Raises GPENError where a package is absent, or the network cannot be exported.
    """
    if engine not in EXPORTS:
        raise GPENError(f"A file can be written for {' or '.join(EXPORTS)}; got {engine!r}.")
    path = Path(path)
    if path.suffix != EXPORTS[engine]:
        raise GPENError(f"{path.name} needs another ending: for {engine} name it {EXPORTS[engine]}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    model = _onnx(net, opset, seed)
    if engine == "onnx":
        path.write_bytes(_serialized(model))
        return path
    openvino = _package("openvino")
    graph = openvino.Core().read_model(_serialized(model))
    for one in model.metadata_props:
        graph.set_rt_info(one.value, ["gpen", one.key])
    openvino.save_model(graph, path, compress_to_fp16=False)
    return path


# network -> what was made of it, for the next Restorer of the same network
_prepared: weakref.WeakKeyDictionary[nn.Module, dict] = weakref.WeakKeyDictionary()


def _package(name: str):
    try:
        return __import__(name)
    except ImportError:
        raise GPENError(f"The package {name} is not installed: pip install {name}.") from None


def _onnx(net: GPEN | UnitRange, opset: int | None = None, seed: int = 0) -> onnx.ModelProto:
    from . import graph  # late: few need it

    _package("onnx")
    return graph.build(net, opset or graph.OPSET, seed)


def _serialized(model: onnx.ModelProto) -> bytes:
    if model.ByteSize() >= 2**31 - 1:
        raise GPENError("This network has more than 2 GB of weights and noise, which no ONNX file holds.")
    return model.SerializeToString()


def _torch(net: nn.Module, dtype: torch.dtype = torch.float32) -> Engine:
    if not supports(net):
        return _eager(net, net, dtype)
    state = [(p.data_ptr(), 0 if p.is_inference() else p._version) for p in net.parameters()]  # tells that a weight changed
    kept = _prepared.setdefault(net, {})
    if kept.get("state") != state:
        kept.clear()
        kept["state"] = state
    if dtype not in kept:
        kept[dtype] = Prepared(net, dtype)
    return kept[dtype]


def _eager(net: nn.Module, forward: Engine, dtype: torch.dtype) -> Engine:
    first = next(net.parameters())

    @torch.inference_mode()
    def run(x: Tensor) -> Tensor:
        with torch.autocast(first.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            return forward(x.to(first.device, first.dtype)).float()

    return run


def _torch_bf16(net: nn.Module) -> Engine:
    on_cpu = next(net.parameters()).device.type == "cpu"
    if on_cpu and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        raise GPENError("This processor has no bfloat16 arithmetic: take the engine torch.")
    return _torch(net, torch.bfloat16)


def _torch_compiled(net: nn.Module) -> Engine:
    on_gpu = next(net.parameters()).device.type == "cuda"
    compiled = torch.compile(net, mode="reduce-overhead" if on_gpu else "default")
    return _eager(net, compiled, torch.bfloat16 if on_gpu else torch.float32)


def _onnxruntime(net: GPEN | Path) -> Engine:
    runtime = _package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # else its idle threads slow everything else
    providers = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in runtime.get_available_providers()]
    try:
        session = runtime.InferenceSession(str(net) if isinstance(net, Path) else _serialized(_onnx(net)), options, providers)
    except Exception as error:  # of onnxruntime's own, one class for each status
        raise GPENError(f"onnxruntime cannot read {_name(net)}: {str(error).splitlines()[0]}") from None
    if session.get_modelmeta().custom_metadata_map.get("format") != "gpen":
        raise GPENError(f"{_name(net)} was not exported from GPEN: write one with python -m gpen export.")
    given, made = session.get_inputs()[0].name, session.get_outputs()[0].name
    return lambda x: torch.from_numpy(session.run([made], {given: x.float().cpu().numpy()})[0])


def _openvino(net: GPEN | Path, precision: str = "f32") -> Engine:
    openvino = _package("openvino")
    core = openvino.Core()
    try:
        model = core.read_model(net if isinstance(net, Path) else _serialized(_onnx(net)))
    except RuntimeError as error:
        raise GPENError(f"OpenVINO cannot read {_name(net)}: {str(error).splitlines()[-1]}") from None
    if not model.has_rt_info(["gpen", "format"]) and not model.has_rt_info(["framework", "format"]):
        raise GPENError(f"{_name(net)} was not exported from GPEN: write one with python -m gpen export.")
    model.reshape([1, *list(model.input().partial_shape)[1:]])  # fixed shapes run faster, and memory stays that of one image
    settings: dict[str, str | int] = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    settings["INFERENCE_NUM_THREADS"] = torch.get_num_threads()
    request, lock = core.compile_model(model, "CPU", settings).create_infer_request(), threading.Lock()

    def run(x: Tensor) -> Tensor:
        with lock:  # a request holds one image's memory
            images = [request.infer([image.float().cpu().numpy()])[0].copy() for image in x.split(1)]
        return torch.from_numpy(np.concatenate(images))

    return run


def _openvino_bf16(net: GPEN | Path) -> Engine:
    if "BF16" not in _package("openvino").Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise GPENError("This processor has no bfloat16 arithmetic: take the engine openvino.")
    return _openvino(net, "bf16")


def _name(net: GPEN | Path) -> str:
    return net.name if isinstance(net, Path) else "the network"


ENGINES: dict[str, Callable[..., Engine]] = {  # each takes a network, those of other programs a file too
    "torch": _torch,
    "torch-bf16": _torch_bf16,
    "torch-compiled": _torch_compiled,
    "onnx": _onnxruntime,
    "openvino": _openvino,
    "openvino-bf16": _openvino_bf16,
}
