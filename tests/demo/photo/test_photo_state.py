"""A photo of the tab: cached faces, previews, sizes, the background model."""

import importlib.util

import numpy as np
import pytest
from PIL import Image

from demo.photo import photo_state
from demo.photo.photo_state import PhotoState
from gpen.errors import GPENError
from gpen.faces.alignment import aligned_face
from tests.icc import display_p3

FACE = aligned_face(np.empty((512, 512, 3), np.uint8))


def visit(path) -> PhotoState:
    return PhotoState(str(path), (512, 512), [FACE])


def test_excessive_upscaling_is_rejected_before_decoding(restorer):
    large = PhotoState("not read", (6000, 4000), [])
    with pytest.raises(GPENError, match="384 megapixels"):
        photo_state.restore_faces(restorer, large, [], 1.0, 4)
    assert photo_state.upscale_factors(large) == [1]
    assert photo_state.upscale_factors(PhotoState("", (3000, 3000), [])) == [1, 2]


def test_changing_strength_reuses_cached_faces(restorer, astronaut, monkeypatch):
    visits, calls = [visit(astronaut) for _ in range(4)], []
    monkeypatch.setattr(restorer, "_run", lambda x, run=restorer._run: calls.append(len(x)) or run(x))
    before, half = photo_state.restore_faces(restorer, visits[0], [0], 0.5, 1)
    _, full = photo_state.restore_faces(restorer, visits[0], [0], 1.0, 1)
    assert calls == [1] and not np.array_equal(half, full) and np.array_equal(before, np.array(Image.open(astronaut)))


def test_caches_of_all_photos_are_bounded_in_bytes(restorer, astronaut, monkeypatch):
    visits = [visit(astronaut) for _ in range(4)]
    photo_state.restore_preview(restorer, visits[0], 1, 1)
    face, size = visits[0].restored[0], visits[0].cached_bytes
    assert size == face.crop.nbytes + face.restored.nbytes + visits[0].preview[1].nbytes
    monkeypatch.setattr(photo_state, "_recent", photo_state.Recent(size + 3 * (size - visits[0].preview[1].nbytes) - 1))
    for other in visits:
        other.cache_faces({0: face})
    assert visits[0].restored == {} and visits[0].preview is None and all(other.restored for other in visits[1:])
    visits[1].cache_faces({k: face for k in range(1000)})  # one photo alone may exceed the limit
    assert len(visits[1].restored) == 1000 and not visits[2].restored and not visits[3].restored


@pytest.mark.slow
def test_preview_is_the_result_with_a_limited_size(restorer, astronaut):
    photo = visit(astronaut)
    for upscale in (1, 2):
        preview = photo_state.restore_preview(restorer, photo, 0.7, upscale)
        for shown, full in zip(preview, photo_state.restore_faces(restorer, photo, [0], 0.7, upscale), strict=True):
            assert np.array_equal(shown, full)
    assert photo_state.restore_preview(restorer, photo, 1, 8)[1].shape == (photo_state.MAX_PREVIEW_SIDE,) * 2 + (3,)
    photo.included = set()
    before, after = photo_state.restore_preview(restorer, photo, 1, 1)
    assert np.array_equal(before, after)


def test_compared_face_follows_the_strength(restorer, astronaut):
    photo = visit(astronaut)
    photo_state.run_network(restorer, photo, [0])
    before, none = photo_state.compared_face(photo, 0)
    _, half = photo_state.compared_face(photo, 0.5)
    _, full = photo_state.compared_face(photo, 1)
    assert np.array_equal(before, none) and np.array_equal(full, photo.restored[0].restored)
    assert np.abs(half - (before / 2 + full / 2)).max() <= 1
    with pytest.raises(GPENError, match="strength"):
        photo_state.compared_face(photo, 1.5)


def test_display_p3_photo_keeps_its_colours(restorer, tmp_path):
    """The encoded colour (235, 136, 94) of Display P3 is the sRGB colour (251, 131, 83)."""
    Image.new("RGB", (64, 64), (235, 136, 94)).save(tmp_path / "p3.jpg", icc_profile=display_p3(), quality=98)
    photo = photo_state.find_faces(restorer, str(tmp_path / "p3.jpg"))
    _, after = photo_state.restore_faces(restorer, photo, [], 1, 1)
    assert np.abs(after - np.array([251, 131, 83.0])).max() < 4
    assert np.abs(photo.preview_base() - np.array([251, 131, 83.0])).max() < 4


def test_background_model_runs_once_for_a_photo(restorer, astronaut):
    calls = []

    def double(image):
        calls.append(image.shape)
        return np.repeat(np.repeat(255 - image, 2, axis=0), 2, axis=1)

    photo = visit(astronaut)
    before, _ = photo_state.restore_faces(restorer, photo, [], 1, 2, background=double)
    photo_state.restore_preview(restorer, photo, 1, 2, double)
    photo_state.restore_preview(restorer, photo, 0.5, 4, double)
    assert calls == [(16, 16, 3), (512, 512, 3)]
    assert np.array_equal(before[::2, ::2], 255 - np.array(Image.open(astronaut)))
    same, _ = photo_state.restore_faces(restorer, photo, [], 1, 1, background=double)  # nothing is enlarged
    assert np.array_equal(same, np.array(Image.open(astronaut)))
    large = PhotoState("", (4000, 4000), [])
    with pytest.raises(GPENError, match="enlarges 2 times, which would give 64 megapixels"):
        photo_state.enlarge_photo(large, np.empty((4000, 4000, 3), np.uint8), 1.5, double)


def test_background_model_is_found_by_variable_or_name(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)  # of spandrel
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GPEN_MODELS", str(tmp_path))
    for name in ("SPACES_ZERO_GPU", "GPEN_BACKGROUND"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "GPEN-BFR-512.pth").touch()
    assert photo_state.find_background() is None
    (tmp_path / "RealESRGAN_x2plus.pth").touch()
    assert photo_state.find_background() == tmp_path / "RealESRGAN_x2plus.pth"
    monkeypatch.setenv("GPEN_BACKGROUND", str(tmp_path / "missing.pth"))
    with pytest.raises(GPENError, match="GPEN_BACKGROUND is .*missing.pth"):
        photo_state.find_background()
    monkeypatch.setenv("GPEN_BACKGROUND", str(tmp_path / "GPEN-BFR-512.pth"))
    assert photo_state.find_background() == tmp_path / "GPEN-BFR-512.pth"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert photo_state.find_background() is None
