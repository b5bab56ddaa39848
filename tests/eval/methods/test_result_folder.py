"""The method folder: results of another program, found by name in any format, size and Unicode form."""

import cv2
import numpy as np
import pytest

import gpen
from eval.__main__ import main
from eval.data.lq_sets import Sample
from eval.methods.registry import load_method
from gpen.images import write_image

SIZE = 64


def sample(face, name):
    return Sample(name, face[::4, ::4], face, None)


def restore_one(method, one):
    (image,) = load_method(method).restore([one], SIZE)
    return image


def test_results_of_another_size_are_resized_to_the_ground_truth(tmp_path, face):
    write_image(tmp_path / "a.png", face)
    method = load_method(f"folder:{tmp_path}")
    (small,), (large,) = (method.restore([sample(face, "a")], size) for size in (32, 128))
    np.testing.assert_array_equal(small, cv2.resize(face, (32, 32), interpolation=cv2.INTER_AREA))
    np.testing.assert_array_equal(large, cv2.resize(face, (128, 128), interpolation=cv2.INTER_CUBIC))


@pytest.mark.parametrize(("written", "name"), [
    ("A.PNG", "A"), ("photo 10.15.png", "photo 10.15"), ("Jose\u0301.png", "Jos\u00e9"), ("a\u202fb.jpg.png", "a b.jpg"),
    ("NA.png", "NA"), ("c.png", "c.jpg"),
])  # fmt: skip
def test_results_are_found_by_any_form_of_their_name(written, name, tmp_path, face):
    write_image(tmp_path / written.replace("PNG", "png"), face)
    (tmp_path / written.replace("PNG", "png")).rename(tmp_path / written)
    np.testing.assert_array_equal(restore_one(f"folder:{tmp_path}", sample(face, name)), face)


def test_results_with_alpha_or_16_bits(tmp_path, face):
    alpha = np.dstack([face[..., ::-1], np.full(face.shape[:2], 9, np.uint8)])
    cv2.imwrite(str(tmp_path / "a.png"), alpha)
    cv2.imwrite(str(tmp_path / "b.png"), face[..., ::-1].astype(np.uint16) * 257)
    for name in ("a", "b"):
        np.testing.assert_array_equal(restore_one(f"folder:{tmp_path}", sample(face, name)), face)


def test_several_results_of_one_image(tmp_path, face):
    for name in ("a.jpg", "a.png", "b.png"):
        write_image(tmp_path / name, face)
    for name, words in (("a", r"several results for a \(a.jpg, a.png\)"), ("c", "no result for c")):
        with pytest.raises(gpen.GPENError, match=words):
            restore_one(f"folder:{tmp_path}", sample(face, name))
    np.testing.assert_array_equal(restore_one(f"folder:{tmp_path}", sample(face, "a.png")), face)
    write_image(tmp_path / "wide.png", face[:40])
    with pytest.raises(gpen.GPENError, match=r"wide.png has 64 x 40 px; results are square, so crop"):
        restore_one(f"folder:{tmp_path}", sample(face, "wide"))


def test_all_missing_results_are_reported_before_any_image_is_restored(tmp_path, capsys):
    faces, results = tmp_path / "faces", tmp_path / "results"
    for i in range(6):
        write_image(faces / f"{i}.png", np.full((SIZE, SIZE, 3), 40 * i, np.uint8))
        if i % 4 == 0:
            write_image(results / f"{i}.png", np.full((SIZE, SIZE, 3), 40 * i, np.uint8))
    command = ["run", "fsr", "--data", str(faces), "--size", str(SIZE), "--metrics", "psnr", "--out", str(tmp_path / "run")]
    assert main([*command, "--methods", f"folder:{results}"]) == 2
    assert f"{results} has no result for 4 of 6 images (1, 2, 3, ...); add 1.png" in capsys.readouterr().err
    for i in range(6):
        write_image(results / f"{i}.png", np.full((SIZE, SIZE - i // 4, 3), 40 * i, np.uint8))
    assert main([*command, "--methods", f"folder:{results}"]) == 2
    assert f"{results}/4.png has 63 x 64 px, {results}/5.png has 63 x 64 px; results are square" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
