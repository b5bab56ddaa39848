"""Inference engines (PyTorch, onnxruntime, OpenVINO) with a common interface, and export to ONNX and OpenVINO files.

    torch           float32; on a CPU with the optimised forward pass of gpen.engines.cpu
    torch-bf16      as torch, with features and convolutions in bfloat16
    torch-compiled  torch.compile, on a GPU in bfloat16 with CUDA graphs; the first call takes up to a minute
    onnx            onnxruntime, float32
    openvino        OpenVINO, float32 (set explicitly: the default is bfloat16 on processors that support it)
    openvino-bf16   OpenVINO, bfloat16

The exported graph, its value range and its metadata are described in gpen.engines.onnx_graph.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from gpen.engines.cpu import Prepared, supports
from gpen.errors import GPENError
from gpen.images import move_durably, write_atomically
from gpen.models.network import GPEN, UnitRange
from gpen.optional import import_optional

if TYPE_CHECKING:
    import onnx

Engine = Callable[[Tensor], Tensor]
EXPORTS = {"onnx": ".onnx", "openvino": ".xml"}  # engine -> file suffix


def load_engine(net: GPEN | UnitRange | str | os.PathLike, engine: str = "torch") -> Engine:
    """Load a function x [n, 3, in_size, in_size] -> [n, 3, size, size], float32 in [-1, 1], equivalent to `net(x)`.

    net: a network, or a file written by `export` (engines onnx and openvino only). engine: one of ENGINES. The engine must be
    loaded again after the weights of the network change. Raises GPENError for an unknown engine, a missing package, a file that
    was not exported from GPEN, or a processor without bfloat16.
    """
    if engine not in ENGINES:
        raise GPENError(f"The engine must be one of {', '.join(ENGINES)}; got {engine!r}.")
    if isinstance(net, UnitRange):
        inner = load_engine(net.net, engine)
        return lambda x: inner((x + 1) / 2) * 2 - 1
    if not isinstance(net, (str, os.PathLike)):
        return ENGINES[engine](net)
    if engine.startswith("torch"):
        raise GPENError(f"{Path(net).name} needs the engine onnx or openvino; the torch engines take a network from gpen.load.")
    if not Path(net).is_file():
        raise GPENError(f"There is no file {net}: check the path.")
    return ENGINES[engine](Path(net))


def export(net: GPEN | UnitRange, path: str | os.PathLike, engine: str = "onnx", opset: int | None = None, seed: int = 0) -> Path:
    """Export `net` to a file for another engine and return its path: .onnx, or .xml with a .bin for OpenVINO.

    The batch size is dynamic; the settings are stored as metadata. opset: of ONNX. seed: of the noise above in_size
    (super-resolution), which is exported as a constant. Raises GPENError if a package is missing or the network cannot be
    exported.
    """
    if engine not in EXPORTS:
        raise GPENError(f"The engine of an export must be {' or '.join(EXPORTS)}; got {engine!r}.")
    path = Path(path)
    if path.suffix != EXPORTS[engine]:
        raise GPENError(f"{path.name} has the wrong suffix: for {engine} use {EXPORTS[engine]}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    model = _onnx(net, opset, seed)
    if engine == "onnx":
        write_atomically(path, _serialized(model))
        return path
    openvino = import_optional("openvino", "openvino", "The engine openvino")
    graph = openvino.Core().read_model(_serialized(model))
    for one in model.metadata_props:
        graph.set_rt_info(one.value, ["gpen", one.key])
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        openvino.save_model(graph, Path(folder) / path.name, compress_to_fp16=False)
        for suffix in (".bin", path.suffix):  # the file that is loaded by name is the last
            move_durably(Path(folder, path.name).with_suffix(suffix), path.with_suffix(suffix))
    return path


# network -> its prepared forms, shared by all engines of the same network
_prepared: weakref.WeakKeyDictionary[nn.Module, dict] = weakref.WeakKeyDictionary()


def _onnx(net: GPEN | UnitRange, opset: int | None = None, seed: int = 0) -> onnx.ModelProto:
    from gpen.engines import onnx_graph  # only needed for export and the engines other than torch

    import_optional("onnx", "onnx", "The export of a network")
    return onnx_graph.build(net, opset or onnx_graph.OPSET, seed)


def _serialized(model: onnx.ModelProto) -> bytes:
    if model.ByteSize() >= 2**31 - 1:
        raise GPENError("The weights and noise of this network exceed 2 GB, the limit of an ONNX file.")
    return model.SerializeToString()


def _torch(net: nn.Module, dtype: torch.dtype = torch.float32) -> Engine:
    if not supports(net):
        return _eager(net, net, dtype)
    state = [(p.data_ptr(), 0 if p.is_inference() else p._version) for p in net.parameters()]  # changes with the weights
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
        raise GPENError("This processor does not support bfloat16: use the engine torch.")
    return _torch(net, torch.bfloat16)


def _torch_compiled(net: nn.Module) -> Engine:
    on_gpu = next(net.parameters()).device.type == "cuda"
    compiled = torch.compile(net, mode="reduce-overhead" if on_gpu else "default")
    return _eager(net, compiled, torch.bfloat16 if on_gpu else torch.float32)


def _onnxruntime(net: GPEN | Path) -> Engine:
    runtime = import_optional("onnxruntime", "onnx", "The engine onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning threads would slow down everything else
    providers = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in runtime.get_available_providers()]
    try:
        session = runtime.InferenceSession(str(net) if isinstance(net, Path) else _serialized(_onnx(net)), options, providers)
    except Exception as error:  # onnxruntime has one exception class per status code
        raise GPENError(f"onnxruntime cannot read {_name(net)}: {str(error).splitlines()[0]}") from None
    if session.get_modelmeta().custom_metadata_map.get("format") != "gpen":
        raise GPENError(f"{_name(net)} was not exported from GPEN: write one with python -m gpen export.")
    input_name, output_name = session.get_inputs()[0].name, session.get_outputs()[0].name
    return lambda x: torch.from_numpy(session.run([output_name], {input_name: x.float().cpu().numpy()})[0])


def _openvino(net: GPEN | Path, precision: str = "f32") -> Engine:
    openvino = import_optional("openvino", "openvino", "The engine openvino")
    core = openvino.Core()
    try:
        model = core.read_model(net if isinstance(net, Path) else _serialized(_onnx(net)))
    except RuntimeError as error:
        raise GPENError(f"OpenVINO cannot read {_name(net)}: {str(error).splitlines()[-1]}") from None
    if not model.has_rt_info(["gpen", "format"]) and not model.has_rt_info(["framework", "format"]):
        raise GPENError(f"{_name(net)} was not exported from GPEN: write one with python -m gpen export.")
    model.reshape([1, *list(model.input().partial_shape)[1:]])  # static shapes are faster, and memory is bounded by one image
    settings: dict[str, str | int] = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    settings["INFERENCE_NUM_THREADS"] = torch.get_num_threads()
    request, lock = core.compile_model(model, "CPU", settings).create_infer_request(), threading.Lock()

    def run(x: Tensor) -> Tensor:
        with lock:  # an inference request holds the buffers of one image
            images = [request.infer([image.float().cpu().numpy()])[0].copy() for image in x.split(1)]
        return torch.from_numpy(np.concatenate(images))

    return run


def _openvino_bf16(net: GPEN | Path) -> Engine:
    openvino = import_optional("openvino", "openvino", "The engine openvino-bf16")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise GPENError("This processor does not support bfloat16: use the engine openvino.")
    return _openvino(net, "bf16")


def _name(net: GPEN | Path) -> str:
    return net.name if isinstance(net, Path) else "the network"


ENGINES: dict[str, Callable[..., Engine]] = {  # each takes a network; onnx and openvino also a file
    "torch": _torch,
    "torch-bf16": _torch_bf16,
    "torch-compiled": _torch_compiled,
    "onnx": _onnxruntime,
    "openvino": _openvino,
    "openvino-bf16": _openvino_bf16,
}
