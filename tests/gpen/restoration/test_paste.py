"""Pasting of faces: masks, colours, detail, positions, background models, parsers."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gpen
from gpen.compat import patch_torchvision
from gpen.errors import GPENError
from gpen.faces.alignment import ALIGNMENTS, FFHQ_POINTS_512, Face, align, alignment_matrix, template
from gpen.restoration.paste import (
    RestoredFace,
    compose,
    enlarge,
    face_mask,
    load_background,
    load_parser,
    match_colour,
    retained_detail,
)

SIZE = 64


def smooth(h: int, w: int, seed: int = 0, levels=(60, 200)) -> np.ndarray:
    """Smooth random colour image, uint8 RGB [h, w, 3]."""
    small = np.random.default_rng(seed).uniform(*levels, (5, 5, 3)).astype(np.float32)
    return cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def restored(photo: np.ndarray, side: float, x: float, y: float, change=lambda crop: 255 - crop, angle=0.0) -> RestoredFace:
    """Restored face whose aligned square has the corner (x, y) and the size `side` px in the photo."""
    turn = side / 512 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (FFHQ_POINTS_512 @ turn.T + (x, y)).astype(np.float32)
    crop, _ = align(photo, points, SIZE)
    return RestoredFace((x, y, x + side, y + side), points, 1.0, crop, change(crop), face_mask(SIZE))


def mask_in(photo: np.ndarray, face: RestoredFace) -> np.ndarray:
    """Mask of a face in the photo, bool [h, w], by nearest-neighbour interpolation."""
    back = cv2.invertAffineTransform(alignment_matrix(face.landmarks, SIZE))
    return cv2.warpAffine(np.float32(face.mask > 0), back, photo.shape[1::-1], flags=cv2.INTER_NEAREST) > 0


places = st.tuples(st.floats(20, 150), st.floats(-60, 110), st.floats(-60, 80), st.floats(-3, 3))


@settings(max_examples=30, deadline=None)
@given(st.lists(places, max_size=4), st.sampled_from([1, 1.5, 3]))
def test_strength_zero_returns_the_photo_unchanged(faces, upscale):
    photo = smooth(90, 120)
    base = enlarge(photo, upscale)
    assert np.array_equal(compose(base, [restored(photo, s, x, y, angle=a) for s, x, y, a in faces], 0.0, upscale), base)


@settings(max_examples=30, deadline=None)
@given(places, st.floats(0, 1))
def test_pixels_outside_the_mask_are_unchanged(place, strength):
    photo = smooth(90, 120)
    side, x, y, angle = place
    face = restored(photo, side, x, y, angle=angle)
    inside = cv2.dilate(np.uint8(mask_in(photo, face)), np.ones((5, 5))) > 0
    result = compose(photo, [face], strength)
    assert np.array_equal(result[~inside], photo[~inside])


@settings(max_examples=20, deadline=None)
@given(places, st.floats(0, 1))
def test_pasting_an_unchanged_crop_is_the_identity(place, strength):
    photo = smooth(90, 120)
    side, x, y, angle = place
    result = compose(photo, [restored(photo, side, x, y, lambda crop: crop, angle)], strength)
    assert np.abs(result.astype(int) - photo).max() <= 1


def test_strength_interpolates():
    photo = smooth(90, 120)
    face = restored(photo, 70, 20, 10)
    full, half = (compose(photo, [face], s).astype(int) for s in (1.0, 0.5))
    assert np.abs(full - photo).max() > 40
    assert np.abs(half - (full + photo) / 2).max() < 12  # detail beyond the resolution of the network is kept at half strength


@pytest.mark.parametrize("size", [32, 64, 256])
def test_mask_is_one_on_the_face_zero_at_the_border_and_smooth(size):
    mask = face_mask(size)
    x, y = np.rint((FFHQ_POINTS_512 + 0.5) * size / 512 - 0.5).astype(int).T
    assert (mask[y, x] > 0.99).all() and mask.dtype == np.float32
    assert max(mask[0].max(), mask[-1].max(), mask[:, 0].max(), mask[:, -1].max()) < 0.01
    assert max(np.abs(np.diff(mask, axis=axis)).max() for axis in (0, 1)) < 10 / size


def test_mask_covers_the_same_part_of_a_face_in_both_alignments():
    photo, points = np.zeros((200, 200, 3), np.uint8), FFHQ_POINTS_512 * 0.3 + 20
    masks = []
    for alignment in ALIGNMENTS:
        back = cv2.invertAffineTransform(alignment_matrix(points, 256, alignment))
        masks.append(cv2.warpAffine(face_mask(256, alignment), back, photo.shape[1::-1]))
    assert np.abs(masks[0] - masks[1]).max() < 0.05 and face_mask(256, "gpen").sum() < 0.85 * face_mask(256).sum()


@settings(max_examples=20, deadline=None)
@given(st.floats(90, 160), st.floats(-3, 3), st.sampled_from([*ALIGNMENTS]))
def test_a_mark_in_the_crop_is_pasted_where_the_face_has_it(side, angle, alignment):
    """Align, paint the nose of the crop, paste: the centre of what changes is the nose in the photo."""
    photo = np.full((240, 240, 3), 90, np.uint8)
    turn = side / 512 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (ALIGNMENTS[alignment] - 256) @ turn.T + 120
    crop, _ = align(photo, points, SIZE, alignment)
    marked, nose = crop.copy(), template(SIZE, alignment)[2]
    y, x = np.indices((SIZE, SIZE))
    marked[np.hypot(x - nose[0], y - nose[1]) < 5] = 250
    face = RestoredFace((0, 0, 1, 1), points, 1.0, crop, marked, face_mask(SIZE, alignment), alignment)
    change = compose(photo, [face], 1.0).astype(float)[..., 0] - photo[..., 0]
    y, x = np.indices(change.shape)
    assert np.average(x, weights=change) == pytest.approx(points[2, 0], abs=0.03 * side)
    assert np.average(y, weights=change) == pytest.approx(points[2, 1], abs=0.03 * side)
    unchanged = RestoredFace((0, 0, 1, 1), points, 1.0, crop, crop, face_mask(SIZE, alignment), alignment)
    assert np.array_equal(compose(photo, [unchanged], 1.0), photo)


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.floats(-40, 40)] * 3), st.floats(0.8, 1.2))
def test_match_colour_removes_a_colour_cast(tint, contrast):
    crop = smooth(SIZE, SIZE, levels=(90, 165))
    wrong = np.clip((crop.astype(float) - 128) * contrast + 128 + tint, 0, 255).astype(np.uint8)
    result = match_colour(wrong, crop, face_mask(SIZE)).astype(float)
    weights = np.repeat(face_mask(SIZE)[..., None], 3, axis=2)
    assert np.abs(np.average(result - crop, axis=(0, 1), weights=weights)).max() < 1.5


def test_match_colour_preserves_detail():
    crop = smooth(SIZE, SIZE, levels=(90, 165))
    lines = np.where(np.arange(SIZE) % 4 < 2, 20, -20)[None, :, None]
    result = match_colour(np.clip(crop + lines, 0, 255).astype(np.uint8), crop, face_mask(SIZE)).astype(int) - crop
    assert np.abs(result[20:44, 20:44] - lines[:, 20:44]).mean() < 3


def test_match_colour_limits_local_hue_shifts():
    side = 256
    crop = np.full((side, side, 3), (190, 150, 130), np.uint8)
    eye = np.hypot(*(np.indices((side, side)) - 120)) < 6
    crop[eye] = (60, 40, 30)

    def chroma(image):
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
        return cv2.GaussianBlur(image - grey, (0, 0), 4)[120, 120]

    for colour, kept in (((40, 80, 170), False), ((70, 35, 25), True)):
        restored = crop.copy()
        restored[eye] = colour
        result = match_colour(restored, crop, face_mask(side))
        shift = np.linalg.norm(chroma(result) - chroma(crop))
        assert np.linalg.norm(chroma(restored) - chroma(crop)) > 40 or kept
        assert shift < 24 and (not kept or np.abs(result.astype(int) - restored)[eye].max() <= 2)
    assert cv2.cvtColor(result, cv2.COLOR_RGB2GRAY)[eye].mean() == pytest.approx(
        cv2.cvtColor(restored, cv2.COLOR_RGB2GRAY)[eye].mean(), abs=2
    )


def test_greyscale_photo_stays_greyscale():
    crop = np.repeat(smooth(SIZE, SIZE)[..., :1], 3, axis=2)
    result = match_colour(smooth(SIZE, SIZE, seed=3), crop, face_mask(SIZE))
    assert np.ptp(result.astype(int), axis=2).max() <= 1


def test_detail_is_kept_at_low_strength_and_noise_removed_at_full_strength():
    rng = np.random.default_rng(0)
    soft = smooth(300, 300)
    fine = rng.normal(0, 12, (300, 300, 1))  # beyond the resolution of the network: 250 px in the photo, SIZE px in the network
    photo = np.clip(soft + fine, 0, 255).astype(np.uint8)
    face = restored(photo, 250, 25, 25, lambda crop: cv2.GaussianBlur(crop, (0, 0), 2))

    def grain(image):
        grey = image[100:200, 100:200].astype(np.float32).mean(axis=2)
        return (grey - cv2.GaussianBlur(grey, (0, 0), 1)).std()

    assert grain(compose(photo, [face], 0.2)) > 0.9 * grain(photo)
    assert grain(compose(photo, [face], 1.0)) < 0.25 * grain(photo)


def test_retained_detail():
    rng = np.random.default_rng(0)
    crop = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    other = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    mask = face_mask(SIZE)
    assert retained_detail(crop, crop, mask) > 0.99 and retained_detail(crop, other, mask) < 0.1
    assert 0.4 < retained_detail(crop, (crop // 2 + 64), mask) < 0.6


def test_larger_face_covers_a_smaller_one():
    photo = smooth(120, 160)
    near = restored(photo, 90, 10, 10, lambda crop: np.full_like(crop, 250))
    far = restored(photo, 60, 60, 30, lambda crop: np.full_like(crop, 5))
    result = compose(photo, [near, far], 1.0)
    assert np.array_equal(result, compose(photo, [far, near], 1.0))
    assert result[58, 66].min() > 240  # inside both masks
    assert result[60, 100].max() < 60  # only in the smaller mask


def test_positions_of_faces_with_upscale():
    photo = np.full((100, 140, 3), 100, np.uint8)
    face = restored(photo, 64, 41, 22, lambda crop: np.full_like(crop, 200))
    for upscale in (1, 2, 3.5):
        changed = compose(enlarge(photo, upscale), [face], 1.0, upscale)[..., 0] > 150
        y, x = np.argwhere(changed).mean(axis=0)
        expected = compose(photo, [face], 1.0)[..., 0] > 150
        y1, x1 = (np.argwhere(expected).mean(axis=0) + 0.5) * upscale - 0.5
        assert abs(x - x1) < 0.5 * upscale and abs(y - y1) < 0.5 * upscale
        assert changed.sum() == pytest.approx(expected.sum() * upscale**2, rel=0.05)


def test_pasting_a_downscaled_face_is_antialiased():
    photo = np.full((40, 40, 3), 128, np.uint8)
    checks = np.repeat((np.indices((SIZE, SIZE)).sum(axis=0) % 2 * 255)[..., None], 3, axis=2).astype(np.uint8)
    result = compose(photo, [restored(photo, 20, 10, 10, lambda crop: checks)], 1.0)
    assert np.abs(result.astype(int) - 128).max() < 25


@pytest.mark.parametrize(("upscale", "size"), [(1, (50, 70)), (2, (100, 140)), (1.5, (75, 105)), (4, (200, 280))])
def test_enlarge(upscale, size):
    photo = smooth(50, 70)
    assert enlarge(photo, upscale).shape[:2] == size
    seen = []

    def twice(image):
        seen.append(image)
        return np.repeat(np.repeat(image, 2, axis=0), 2, axis=1)

    result = enlarge(photo, upscale, twice)
    assert result.shape[:2] == size and np.array_equal(seen[0], photo)
    if upscale == 2:
        assert np.array_equal(result, twice(photo))


@pytest.mark.parametrize("upscale", [0, 0.5, 17, float("nan")])
def test_invalid_upscale_raises_an_error(upscale):
    with pytest.raises(GPENError, match="1 to 16"):
        enlarge(smooth(20, 20), upscale)


def test_tiled_background_model_matches_the_whole_image(tmp_path):
    patch_torchvision()
    compact = pytest.importorskip("spandrel.architectures.Compact", reason="spandrel is an optional package")
    torch.manual_seed(0)
    net = compact.Compact(num_feat=8, num_conv=2, upscale=2)
    torch.save(net.state_dict(), tmp_path / "compact.pth")
    photo = smooth(270, 300)
    result = load_background(tmp_path / "compact.pth")(photo)
    with torch.inference_mode():
        whole = net(torch.from_numpy(photo.transpose(2, 0, 1)[None].astype(np.float32) / 255))[0].clamp(0, 1) * 255
    assert result.shape == (540, 600, 3)
    assert np.abs(result - whole.permute(1, 2, 0).numpy()).max() <= 1
    assert enlarge(photo[:20, :20], 3, tmp_path / "compact.pth").shape == (60, 60, 3)


TINY = {"ESRGAN": {"num_filters": 8, "num_blocks": 1, "scale": 4}, "Compact": {"num_feat": 8, "num_conv": 1, "upscale": 4}}


@pytest.mark.parametrize("kind", TINY)
def test_photo_with_a_background_model(tmp_path, kind):
    patch_torchvision()
    architectures = pytest.importorskip(f"spandrel.architectures.{kind}", reason="spandrel is an optional package")
    torch.manual_seed(0)
    torch.save(getattr(architectures, kind)(**TINY[kind]).state_dict(), tmp_path / "model.pth")
    photo = smooth(60, 80)
    points = (FFHQ_POINTS_512 * 40 / 512 + (20, 10)).astype(np.float32)
    face = Face((20, 10, 60, 50), points, 1.0)
    net = gpen.GPEN(gpen.GPENConfig(size=32, narrow=0.0625, channel_multiplier=1, style_dim=16, mapping_layers=2)).eval()
    background = load_background(tmp_path / "model.pth")
    for upscale in (4, 2, 1):
        result = gpen.Restorer(net).photo(photo, faces=[face], upscale=upscale, background=background).image
        around = enlarge(photo, upscale, background)
        changed = (result != around).any(axis=2)
        assert result.shape == (60 * upscale, 80 * upscale, 3) and changed[30 * upscale, 40 * upscale]
        assert not changed[:, : 19 * upscale].any() and not changed[:, 61 * upscale :].any()
        if upscale == 4:
            assert np.array_equal(around, background(photo)) and not np.array_equal(around, enlarge(photo, 4))


def test_invalid_background_model_raises_an_error(tmp_path):
    patch_torchvision()
    pytest.importorskip("spandrel", reason="spandrel is an optional package")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "wrong.pth")
    for name, words in (("none.pth", "no file"), ("wrong.pth", "not a super-resolution model")):
        with pytest.raises(GPENError, match=words):
            load_background(tmp_path / name)


@pytest.mark.parametrize("side", [16, 32, None])
def test_parser_exported_from_torch(tmp_path, side):
    """Use a random convolutional network exported from torch; side: of its input, None: dynamic."""
    pytest.importorskip("onnx", reason="onnx is an optional package")
    torch.manual_seed(0)
    conv = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 19, 1)).eval()
    axes = None if side else {"input": {2: "h", 3: "w"}, "output": {2: "h", 3: "w"}}
    x = torch.zeros(1, 3, side or 32, side or 32)
    torch.onnx.export(
        conv, x, str(tmp_path / "parsing.onnx"), input_names=["input"], output_names=["output"], dynamic_axes=axes, dynamo=False
    )
    parser = load_parser(tmp_path / "parsing.onnx")
    photo = smooth(90, 120)
    crop = restored(photo, 70, 20, 10).crop
    mask = parser(crop)
    assert mask.shape == (SIZE, SIZE) and mask.dtype == np.float32 and 0 <= mask.min() and mask.max() <= 1
    points = (FFHQ_POINTS_512 * 70 / 512 + (20, 10)).astype(np.float32)
    net = gpen.GPEN(gpen.GPENConfig(size=SIZE, narrow=0.0625, channel_multiplier=1, style_dim=16, mapping_layers=2)).eval()
    found = [Face((20, 10, 90, 80), points, 1.0)]
    (face,) = gpen.Restorer(net, parser=parser).photo(photo, faces=found).faces
    assert np.array_equal(face.mask, mask)
    nothing = gpen.Restorer(net, parser=lambda crop: np.zeros(crop.shape[:2], np.float32))
    assert np.array_equal(nothing.photo(photo, faces=found).image, photo)


def test_parser_with_other_classes_raises_an_error(tmp_path):
    pytest.importorskip("onnx", reason="onnx is an optional package")
    torch.onnx.export(torch.nn.Conv2d(3, 11, 1), torch.zeros(1, 3, 8, 8), str(tmp_path / "other.onnx"), dynamo=False)
    with pytest.raises(GPENError, match="19 classes"):
        load_parser(tmp_path / "other.onnx")(smooth(SIZE, SIZE))


def test_parser_mask(tmp_path):
    onnx = pytest.importorskip("onnx", reason="onnx is an optional package")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    # the logit of class 1 (skin) is the red channel, that of class 0 (background) its negative, others are 0
    weight = np.zeros((19, 3, 1, 1), np.float32)
    weight[0, 0], weight[1, 0] = -1, 1
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "weight"], ["scores"])], "parsing",
        [helper.make_tensor_value_info("x", kind, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("scores", kind, [1, 19, 32, 32])],
        [helper.make_tensor("weight", kind, weight.shape, weight.ravel())],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "parsing.onnx")
    crop = np.zeros((SIZE, SIZE, 3), np.uint8)
    crop[:, :32, 0] = 255  # the left half is red
    mask = load_parser(tmp_path / "parsing.onnx")(crop)
    assert mask.shape == (SIZE, SIZE) and mask.dtype == np.float32 and 0 <= mask.min() <= mask.max() <= 1
    assert mask[20:44, 16:26].min() > 0.9 and mask[:, 36:].max() < 0.1 and mask[0].max() < 0.05
    with pytest.raises(GPENError, match="no file"):
        load_parser(tmp_path / "none.onnx")
    (tmp_path / "wrong.onnx").write_bytes(b"wrong")
    with pytest.raises(GPENError, match="not an ONNX model"):
        load_parser(tmp_path / "wrong.onnx")
