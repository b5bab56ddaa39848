"""eval.methods.onnx_file: layouts, ranges, sizes and further inputs of ONNX files; invalid files and options."""

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from skimage.data import astronaut

import gpen
from eval.data.lq_sets import Sample
from eval.methods.registry import load_method
from eval.options import _split
from gpen.engines.registry import export
from gpen.images import to_image, to_tensor

SIZE = 32


@pytest.fixture(scope="module")
def face():
    return cv2.resize(astronaut()[:220, 110:330], (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def write(path, shape=(1, 3, SIZE, SIZE), dtype=TensorProto.FLOAT, nodes=None, further=(), outputs=None):
    """An ONNX file; without `nodes` it returns its input."""
    graph = helper.make_graph(
        nodes or [helper.make_node("Identity", ["x"], ["y"])],
        "restorer",
        [helper.make_tensor_value_info("x", dtype, shape), *further],
        outputs or [helper.make_tensor_value_info("y", dtype, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, path)
    return path


def restore(method, face):
    (image,) = load_method(method).restore([Sample("face", face, face, None)], SIZE)
    return image


@pytest.mark.parametrize(
    ("shape", "dtype", "options"),
    [
        ((1, 3, SIZE, SIZE), TensorProto.FLOAT, ""),
        ((1, 3, SIZE, SIZE), TensorProto.FLOAT16, ""),
        ((1, 3, SIZE, SIZE), TensorProto.UINT8, ""),
        ((1, 3, SIZE, SIZE), TensorProto.FLOAT, "?range=0,1&order=bgr"),
        ((1, 3, SIZE, SIZE), TensorProto.FLOAT, "?range=0,255"),
        ((1, SIZE, SIZE, 3), TensorProto.FLOAT, ""),
        (("n", 3, "h", "w"), TensorProto.FLOAT, f"?size={SIZE}"),
        (("n", "c", "h", "w"), TensorProto.FLOAT, f"?size={SIZE}&layout=nhwc"),
    ],
)
def test_identity_returns_its_input(shape, dtype, options, face, tmp_path):
    path = write(tmp_path / "a.onnx", shape, dtype)
    restored = restore(f"onnx:{path}{options}", face)
    assert restored.dtype == np.uint8 and cv2.absdiff(restored, face).max() <= 1
    method = load_method(f"onnx:{path}{options}")
    assert method.weights == path and method.settings == options.removeprefix("?")


def test_input_is_in_the_range_and_order(face, tmp_path):
    """The file returns the first channel of its input in all channels: red, or blue with order=bgr."""
    nodes = [
        helper.make_node("Split", ["x"], ["a", "b", "c"], axis=1, num_outputs=3),
        helper.make_node("Concat", ["a", "a", "a"], ["y"], axis=1),
    ]
    graph = write(tmp_path / "a.onnx", nodes=nodes)
    model = onnx.load(graph)
    model.opset_import[0].version = 18  # Split with num_outputs
    onnx.save(model, graph)
    for options, channel in (("", 0), ("?order=bgr", 2)):
        assert cv2.absdiff(restore(f"onnx:{graph}{options}", face), face[..., [channel] * 3]).max() <= 1


def test_exported_gpen_equals_the_network(face, tmp_path):
    torch.manual_seed(0)
    net = gpen.GPEN(gpen.GPENConfig(size=SIZE, narrow=0.0625, channel_multiplier=1, style_dim=16, mapping_layers=2)).eval()
    path = export(net, tmp_path / "gpen.onnx")
    with torch.no_grad():
        expected = to_image(net(to_tensor(face)[None])[0])
    assert cv2.absdiff(restore(f"onnx:{path}", face), expected).max() <= 1


def test_further_input(face, tmp_path):
    """CodeFormer has its fidelity as a second input."""
    further = [helper.make_tensor_value_info("weight", TensorProto.FLOAT, [])]
    path = write(tmp_path / "a.onnx", nodes=[helper.make_node("Mul", ["x", "weight"], ["y"])], further=further)
    expected = 127.5 + 0.5 * (face - 127.5)
    assert abs(restore(f"onnx:{path}?weight=0.5", face) - expected).max() <= 1
    with pytest.raises(gpen.GPENError, match="further input 'weight'.*weight=0.5"):
        load_method(f"onnx:{path}")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("?range=1,-1", "not two increasing numbers"),
        ("?range=1", "not two increasing numbers"),
        ("?size=0", "size=0 is not a number of pixels"),
        ("?size=64", "has inputs of 32 x 32 px, not 64"),
        ("?layout=chw", "layout=chw is not nchw or nhwc"),
        ("?order=gbr", "order=gbr is not rgb or bgr"),
        ("?rnage=0,1", "no option 'rnage'; choose from range, size, layout, order"),
    ],
)
def test_invalid_options(options, words, tmp_path):
    path = write(tmp_path / "a.onnx")
    with pytest.raises(gpen.GPENError, match=words) as error:
        load_method(f"onnx:{path}{options}")
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


def test_invalid_files(face, tmp_path):
    with pytest.raises(gpen.GPENError, match="is not a file; check the path"):
        load_method(f"onnx:{tmp_path / 'none.onnx'}")
    (tmp_path / "page.onnx").write_text("<html>")
    with pytest.raises(gpen.GPENError, match="onnxruntime cannot read"):
        load_method(f"onnx:{tmp_path / 'page.onnx'}")
    with pytest.raises(gpen.GPENError, match="accepts any size; write .*size=512"):
        load_method(f"onnx:{write(tmp_path / 'a.onnx', ('n', 3, 'h', 'w'))}")
    with pytest.raises(gpen.GPENError, match="layout=nchw, or layout=nhwc"):
        load_method(f"onnx:{write(tmp_path / 'b.onnx', ('n', 'c', 'h', 'w'))}")
    with pytest.raises(gpen.GPENError, match="has no image input"):
        load_method(f"onnx:{write(tmp_path / 'c.onnx', ('n', 512))}")
    reduced = [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1])]
    with pytest.raises(gpen.GPENError, match="returns no RGB image"):
        restore(f"onnx:{write(tmp_path / 'd.onnx', nodes=reduced)}", face)


def test_wrong_default_range_is_noticed(face, tmp_path):
    """A network for [0, 1] that receives [-1, 1]."""
    path = write(tmp_path / "a.onnx", nodes=[helper.make_node("Sigmoid", ["x"], ["y"])])
    with pytest.raises(gpen.GPENError, match=r"not from -1 to 1; write onnx:.*range=0,1"):
        restore(f"onnx:{path}", face)
    assert restore(f"onnx:{path}?range=0,1", face).shape == face.shape
    assert restore(f"onnx:{path}?range=-1,1", face).min() > 127


def test_lists_of_methods_with_ranges():
    assert _split(["gpen, onnx:a.onnx?range=-1,1&size=512,tv"]) == ("gpen", "onnx:a.onnx?range=-1,1&size=512", "tv")
    assert _split(["onnx:a.onnx?size=512&range=0,255,bilinear,"]) == ("onnx:a.onnx?size=512&range=0,255", "bilinear")
