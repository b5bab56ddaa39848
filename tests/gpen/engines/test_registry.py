"""Inference engines and export: equivalence to the network, metadata, errors."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import gpen
from gpen.cli import main
from gpen.engines import cpu, registry
from gpen.faces.samples import SAMPLES
from gpen.images import to_image, to_tensor
from gpen.models.network import UnitRange
from tests.gpen.models import golden

TINY = {"narrow": 0.0625, "channel_multiplier": 1, "style_dim": 16, "mapping_layers": 2}
KINDS = {
    "restore": gpen.GPENConfig(size=64, **TINY),  # the last levels have more activations than weights, the others fewer
    "sr": gpen.GPENConfig(size=32, in_size=16, **TINY),
    "add": gpen.GPENConfig(size=16, noise_mode="add", **TINY),
    "none": gpen.GPENConfig(size=16, noise_mode="none", **TINY),
}
NEEDED = {"onnx": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}
HERE = [name for name in registry.ENGINES if name != "torch-compiled"]  # compilation takes a minute


def network(config: gpen.GPENConfig) -> gpen.GPEN:
    """Random network with nonzero biases and noise scales."""
    torch.manual_seed(0)
    net = gpen.GPEN(config).requires_grad_(False).eval()
    for name, parameter in net.named_parameters():
        if name.endswith("noise_scale"):
            parameter.fill_(0.7)
        elif name.endswith("bias"):
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return net


def need(engine: str) -> None:
    for package in NEEDED.get(engine.split("-")[0], ()):
        pytest.importorskip(package)
    if engine == "torch-bf16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("bfloat16 is not supported by this processor")
    if engine == "openvino-bf16":
        import openvino

        if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            pytest.skip("bfloat16 is not supported by this processor")


def images(net, n: int = 2) -> torch.Tensor:
    return torch.rand(n, 3, net.in_size, net.in_size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def off(a: torch.Tensor, b: torch.Tensor) -> float:
    """Maximum absolute difference relative to the maximum absolute value."""
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.mark.parametrize("engine", HERE)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_engines_match_the_network(engine, kind):
    need(engine)
    net = network(KINDS[kind])
    x = images(net)
    run = registry.load_engine(net, engine)
    y, expected = run(x), net(x)
    assert y.shape == expected.shape and y.dtype == torch.float32
    if engine.endswith("bf16"):
        assert 10 * torch.log10(expected.square().max() / (y - expected).square().mean()) > 30
    else:
        assert off(y, expected) < 1e-4
    assert off(run(x[1:]), y[1:]) < 1e-6  # the result does not depend on the batch


@pytest.mark.parametrize("engine", HERE)
@pytest.mark.slow
def test_engines_match_the_default_model_on_faces(engine):
    need(engine)
    net = gpen.load()
    draws = [gpen.Degradation.sample(preset, seed=k, size=256) for k, preset in enumerate(("gpen-release-scaled", "severe"))]
    faces = [draw.resized(sample.load(256)) for draw, sample in zip(draws, SAMPLES.values(), strict=True)]
    x = torch.stack(list(map(to_tensor, faces)))
    y, expected = registry.load_engine(net, engine)(x), net(x)
    if engine.endswith("bf16"):
        assert 10 * torch.log10(4 / (y - expected).square().mean()) > 45
    else:
        assert (y - expected).abs().max() < 1e-4
        pixels = [np.stack([to_image(one).astype(int) for one in images]) for images in (y, expected)]
        assert np.abs(pixels[0] - pixels[1]).max() <= 1


@pytest.mark.parametrize("name", ["tiny-64", "noise-add-64", "bfr-256", "sr-64-to-256"])
@pytest.mark.skipif(not golden.FOLDER.is_dir(), reason=f"no golden vectors at {golden.FOLDER}")
def test_torch_engine_matches_the_golden_outputs(name, tmp_path):
    spec = golden.case(name)
    torch.save(golden.weights(spec), tmp_path / "net.pth")
    y = registry.load_engine(gpen.load(tmp_path / "net.pth"))(golden.images(spec))
    reference = np.load(golden.FOLDER / f"{name}.npz")
    stride = int(reference["stride"])
    assert off(y[..., ::stride, ::stride], torch.from_numpy(reference["output"])) <= 1e-4


@pytest.mark.parametrize("fused", [True, False])
def test_result_does_not_depend_on_the_strip_size(monkeypatch, fused):
    monkeypatch.setattr(cpu, "STRIP", 1)  # eight rows at a time
    monkeypatch.setattr(cpu, "FUSED", fused and cpu.FUSED)
    net = network(KINDS["restore"])
    x = images(net, 1)
    assert off(cpu.Prepared(net)(x), net(x)) < 1e-4


def test_prepared_network_is_thread_safe():
    net = network(KINDS["restore"])
    run, xs = registry.load_engine(net), images(net, 8).split(1)
    expected = [run(x) for x in xs]
    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(a, b) for a, b in zip(pool.map(run, xs), expected, strict=True))


def test_network_is_prepared_again_after_its_weights_change():
    net = network(KINDS["restore"])
    first = registry.load_engine(net)
    assert registry.load_engine(net) is first
    net.encoder.levels[0].weight.mul_(2)
    x = images(net, 1)
    assert off(registry.load_engine(net)(x), net(x)) < 1e-4 < off(first(x), net(x))


def test_prepared_network_checks_the_input_size():
    with pytest.raises(ValueError, match=r"\[n, 3, 64, 64\]"):
        registry.load_engine(network(KINDS["restore"]))(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize("opset", [None, 15, 21])
def test_onnx_file_has_metadata_and_a_dynamic_batch(tmp_path, opset):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    net = network(KINDS["sr"])
    path = registry.export(net, tmp_path / "net.onnx", opset=opset)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    noted = session.get_modelmeta().custom_metadata_map
    assert gpen.GPENConfig(**json.loads(noted["config"])) == net.config and "[-1, 1]" in noted["range"]
    for n in (1, 3):
        x = images(net, n)
        y = session.run(["restored"], {"image": x.numpy()})[0]
        assert y.shape == (n, 3, 32, 32) and off(torch.from_numpy(y), net(x)) < 1e-4


def test_exported_noise_depends_on_the_seed(tmp_path):
    need("onnx")
    net = network(KINDS["sr"])
    x = images(net)
    y = registry.load_engine(registry.export(net, tmp_path / "net.onnx", seed=3), "onnx")(x)
    assert off(y, net(x, seed=3)) < 1e-4 and off(y, net(x)) > 1e-2


def test_openvino_export(tmp_path):
    need("openvino")
    net = network(KINDS["restore"])
    x = images(net)
    path = registry.export(net, tmp_path / "net.xml", "openvino")
    assert json.dumps(net.config.size) in path.read_text() and path.with_suffix(".bin").exists()
    assert off(registry.load_engine(path, "openvino")(x), net(x)) < 1e-4


@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_unit_range_network_is_exported_with_the_range_minus_1_to_1(engine):
    need(engine)
    net = UnitRange(network(KINDS["restore"]))
    x = images(net)
    assert off(registry.load_engine(net, engine)(x), net(x)) < 1e-4
    if engine == "onnx":
        assert off(torch.from_numpy(_run_onnx(net, x)), net(x)) < 1e-4


def _run_onnx(net, x: torch.Tensor) -> np.ndarray:
    runtime = pytest.importorskip("onnxruntime")
    content = registry._onnx(net).SerializeToString()
    return runtime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"image": x.numpy()})[0]


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_restorer_with_other_engines(engine):
    need(engine)
    net = network(KINDS["restore"])
    faces = [np.random.default_rng(k).integers(0, 256, (64, 64, 3), dtype=np.uint8) for k in range(3)]
    expected, result = gpen.Restorer(net).faces(faces), gpen.Restorer(net, engine=engine).faces(faces)
    assert np.abs(np.stack(expected).astype(int) - np.stack(result)).max() <= 1


@pytest.mark.parametrize(("engine", "package"), [("onnx", "onnxruntime"), ("openvino", "openvino"), ("onnx", "onnx")])
def test_missing_package_raises_an_error_with_the_pip_command(monkeypatch, engine, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(gpen.GPENError, match=f'{package}, which is not installed: pip install "gpen.{engine}.".'):
        registry.load_engine(network(KINDS["add"]), engine)


def test_invalid_arguments_raise_an_error(tmp_path):
    need("onnx")
    net = network(KINDS["add"])
    other = gpen.GPEN(gpen.GPENConfig(size=8, block="pggan", **TINY))
    (tmp_path / "broken.onnx").write_bytes(b"nothing of the kind")
    cases = [
        (lambda: registry.load_engine(net, "abacus"), "one of torch"),
        (lambda: registry.load_engine(tmp_path / "net.onnx", "torch"), "gpen.load"),
        (lambda: registry.load_engine(tmp_path / "net.onnx", "onnx"), "no file"),
        (lambda: registry.load_engine(tmp_path / "broken.onnx", "onnx"), "cannot read broken.onnx"),
        (lambda: registry.export(net, tmp_path / "net.xml", "onnx"), "use .onnx"),
        (lambda: registry.export(net, tmp_path / "net.bin", "abacus"), "onnx or openvino"),
        (lambda: registry.export(net, tmp_path / "net.onnx", opset=9), "15 to 21"),
        (lambda: registry.export(other, tmp_path / "net.onnx"), "pggan"),
    ]
    for mistake, words in cases:
        with pytest.raises(gpen.GPENError, match=words):
            mistake()
    assert not (tmp_path / "net.onnx").exists()


def test_onnx_file_of_another_model_raises_an_error(tmp_path):
    onnx = pytest.importorskip("onnx")
    need("onnx")
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [value], [y]), ir_version=8,
                                   opset_imports=[onnx.helper.make_opsetid("", 17)])  # fmt: skip
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(gpen.GPENError, match="was not exported from GPEN"):
        registry.load_engine(tmp_path / "other.onnx", "onnx")


@pytest.mark.parametrize("task", ["restore", "colorize", "inpaint", "seg2face"])
def test_export_command_for_every_task(tmp_path, capsys, task):
    need("onnx")
    net, path = network(KINDS["restore"]), tmp_path / "out" / "net.onnx"
    gpen.save(net, tmp_path / "net.safetensors")
    command = f"export --engine onnx --task {task} --model {tmp_path / 'net.safetensors'} --out {path}"
    main(command.split())
    assert capsys.readouterr().out.strip() == str(path)
    x, expected = images(net), UnitRange(net) if task == "seg2face" else net
    assert off(registry.load_engine(path, "onnx")(x), expected(x)) < 1e-4
