"""Batch restoration: names, formats, resumption, damaged files, threads, reports."""

import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import gpen
from gpen.faces.alignment import FFHQ_POINTS_512, Face
from gpen.media.batch import Settings, restore_files, write_report
from gpen.media.discovery import find_files
from gpen.media.photo_file import read_photo
from gpen.media.provenance import SOURCE_TYPE, Provenance
from tests.gpen.media.video_files import encode, moving_frames


@pytest.fixture(scope="module")
def restorer():
    torch.manual_seed(0)
    config = gpen.GPENConfig(size=32, narrow=0.0625, channel_multiplier=1, style_dim=16, mapping_layers=2)
    return gpen.Restorer(gpen.GPEN(config).requires_grad_(False).eval())


def make_detector():
    """Detector with one face in the centre of a colour image and none in a grey image."""

    def detect(image):
        if np.ptp(image.astype(int), axis=2).max() == 0:
            return []
        h, w = image.shape[:2]
        points = (FFHQ_POINTS_512 / 512 - 0.5) * min(h, w) * 0.6 + (w / 2, h / 2)
        return [Face((w * 0.3, h * 0.3, w * 0.7, h * 0.7), points.astype(np.float32), 0.75)]

    return detect


def make_image(seed=0, h=60, w=80, c=3, dtype=np.uint8):
    small = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, (4, 5, c), dtype=dtype)
    return cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def photos(tmp_path):
    """Folder with photos of several formats, one without a face, one damaged, one in a subfolder."""
    folder = tmp_path / "in"
    (folder / "deeper").mkdir(parents=True)
    Image.fromarray(make_image(0)).save(folder / "a.jpg", quality=97, icc_profile=bytes(16) + b"RGB " + bytes(108))
    Image.fromarray(make_image(1, c=4)).save(folder / "b.png")
    cv2.imwrite(str(folder / "c.tif"), make_image(2, dtype=np.uint16))
    Image.fromarray(make_image(3)).save(folder / "deeper" / "d.WebP", lossless=True)
    Image.fromarray(make_image(4)[..., 0]).save(folder / "grey.png")
    (folder / "broken.png").write_bytes((folder / "b.png").read_bytes()[:200])
    (folder / "notes.txt").write_text("not a photo")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def run(photos, out, restorer, recursive=True, detector=make_detector, **settings):
    files = find_files([photos], out, recursive).files
    return list(restore_files(files, restorer, detector, Settings(**settings), progress=False))


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_names_formats_and_background_are_preserved(photos, tmp_path, restorer):
    rows = {row["input"]: row for row in run(photos, tmp_path / "out", restorer)}
    status = {"a.jpg": "restored", "b.png": "restored", "c.tif": "restored", "deeper/d.WebP": "restored",
              "grey.png": "no face", "broken.png": "failed"}  # fmt: skip
    assert {name: rows[str(photos / name)]["status"] for name in status} == status and len(rows) == len(status)
    assert list(contents(tmp_path / "out")) == ["a.jpg", "b.png", "c.tif", "deeper/d.WebP", "grey.png"]
    assert contents(tmp_path / "out")["grey.png"] == contents(photos)["grey.png"]
    assert "broken.png" in rows[str(photos / "broken.png")]["error"]
    for name in ("b.png", "c.tif", "deeper/d.WebP"):
        before, after = read_photo(photos / name), read_photo(tmp_path / "out" / name)
        assert (after.format, after.pixels.dtype, after.pixels.shape) == (before.format, before.pixels.dtype, before.pixels.shape)
        assert np.array_equal(after.pixels[0], before.pixels[0]) and not np.array_equal(after.image, before.image)
        expected = restorer.photo(before.image, faces=make_detector()(before.image)).image
        assert np.abs(after.image.astype(int) - expected).max() <= (1 if name == "c.tif" else 0)
    assert Image.open(tmp_path / "out" / "a.jpg").info["icc_profile"][16:20] == b"RGB "


def test_report_entry_of_a_photo(photos, tmp_path, restorer):
    row = next(row for row in run(photos, tmp_path / "out", restorer) if row["input"].endswith("a.jpg"))
    expected = make_detector()(read_photo(photos / "a.jpg").image)[0]
    assert row["faces"][0]["box"] == pytest.approx(expected.box, abs=0.01) and row["faces"][0]["score"] == 0.75
    assert np.allclose(row["faces"][0]["landmarks"], expected.landmarks, atol=0.01)
    assert set(row["seconds"]) == {"read", "detect", "restore", "write"} and row["output"] == str(tmp_path / "out" / "a.jpg")


def test_report_says_what_became_of_each_property(photos, tmp_path, restorer):
    exif = Image.Exif()
    exif[0x0112] = 6
    notes = {"exif": exif, "icc_profile": bytes(16) + b"GRAY" + bytes(108), "comment": b"a comment"}
    Image.fromarray(make_image(5)).save(photos / "a.jpg", "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))], **notes)
    rows = {row["input"].rpartition("/")[2]: row for row in run(photos, tmp_path / "out", restorer, upscale=2)}
    properties = rows["a.jpg"]["properties"]
    assert properties["size"] == "changed: 60 x 80 to 120 x 160" and properties["orientation"] == "applied to the pixels: 6"
    assert properties["ICC profile"].startswith("dropped") and properties["further images"] == "dropped: 1"
    assert properties["EXIF"].startswith("kept") and properties["provenance"] == "none"
    assert rows["c.tif"]["properties"]["bits per channel"] == "kept: 16"
    assert rows["b.png"]["properties"]["channels"] == "kept: RGB, alpha"


def test_restored_photos_are_marked_and_copies_are_not(photos, tmp_path, restorer):
    provenance = Provenance("model", "12" * 32)
    rows = {row["input"].rpartition("/")[2]: row for row in run(photos, tmp_path / "out", restorer, provenance=provenance)}
    marked = (tmp_path / "out" / "b.png").read_bytes()
    assert SOURCE_TYPE.encode() in marked and b"12" * 32 in marked
    x0, _, x1, _ = rows["b.png"]["faces"][0]["box"]
    assert f"<gpen:width>{x1 - x0:.0f}</gpen:width>".encode() in marked
    assert rows["b.png"]["properties"]["provenance"] == "added to XMP"
    assert (tmp_path / "out" / "grey.png").read_bytes() == (photos / "grey.png").read_bytes() and "properties" not in rows[
        "grey.png"
    ]


@pytest.mark.slow
def test_videos_in_a_mixed_folder(photos, tmp_path, restorer):
    frames = [make_image(6, 64, 80)] * 4
    whole = encode(photos / "whole.mkv", [*frames, *moving_frames(30, 64, 80)], options={"g": "6"}).read_bytes()
    (photos / "cut.mkv").write_bytes(whole[: len(whole) * 7 // 10])
    encode(photos / "grey.mp4", [np.full((64, 80, 3), 90, np.uint8)] * 4)
    (photos / "old.ogv").write_bytes(b"x")
    found = find_files([photos, photos / "old.ogv"], tmp_path / "out", True)
    settings = Settings(provenance=Provenance("model", "12" * 32))
    rows = {row["input"].rpartition("/")[2]: row for row in restore_files(found.files, restorer, video_detector, settings, False)}
    assert rows["whole.mkv"]["status"] == "restored" and rows["whole.mkv"]["properties"]["provenance"].startswith(
        "added to the tags"
    )
    assert rows["whole.mkv"]["properties"]["video codec"] == "kept: h264" and rows["whole.mkv"]["video"]["frames"] == 34
    assert rows["grey.mp4"]["status"] == "no face"
    assert (tmp_path / "out" / "grey.mp4").read_bytes() == (photos / "grey.mp4").read_bytes()
    assert rows["cut.mkv"]["status"] == "failed" and "ends after" in rows["cut.mkv"]["error"]
    assert rows["old.ogv"]["status"] == "failed" and "convert it to .mp4 or .mkv" in rows["old.ogv"]["error"]
    assert not (tmp_path / "out" / "cut.mkv").exists() and (tmp_path / "out" / "cut.partial.mkv").exists()


def video_detector():
    """That of `make_detector`, called as for a video; the colours of a grey video are not exactly grey."""
    detect = make_detector()
    return lambda image, rotated=True: detect(image) if np.ptp(image.astype(int), axis=2).max() > 9 else []


def test_results_do_not_depend_on_the_number_of_threads(photos, tmp_path, restorer):
    reports = [run(photos, tmp_path / f"out{jobs}", restorer, jobs=jobs) for jobs in (1, 4)]
    assert contents(tmp_path / "out1") == contents(tmp_path / "out4")
    assert [row["input"] for row in reports[0]] == [row["input"] for row in reports[1]]


def test_second_run_skips_existing_files_unless_overwrite(photos, tmp_path, restorer):
    out = tmp_path / "out"
    run(photos, out, restorer)
    (out / "a.jpg").unlink()
    (out / "b.png").write_bytes(b"mine")
    rows = list(run(photos, out, restorer))
    again = {row["input"]: row["status"] for row in rows}
    reasons = {row["input"]: row["reason"] for row in rows if row["status"] == "skipped"}
    assert set(reasons.values()) == {"the result exists already"}
    assert again[str(photos / "a.jpg")] == "restored" and again[str(photos / "broken.png")] == "failed"
    assert again[str(photos / "b.png")] == "skipped" and (out / "b.png").read_bytes() == b"mine"
    run(photos, out, restorer, overwrite=True)
    assert (out / "b.png").read_bytes() != b"mine"


def test_interrupted_run_can_be_continued(photos, tmp_path, restorer):
    rows = restore_files(find_files([photos], tmp_path / "out", True).files, restorer, make_detector, Settings(), progress=False)
    next(rows)
    rows.close()
    assert not list((tmp_path / "out").rglob("*.partial"))
    run(photos, tmp_path / "out", restorer)
    run(photos, tmp_path / "whole", restorer)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_temporary_files_of_a_killed_run_are_ignored(photos, tmp_path, restorer):
    run(photos, tmp_path / "whole", restorer)
    (tmp_path / "out").mkdir()
    partial = tmp_path / "out" / ".0123abcd.partial"
    partial.write_bytes(contents(tmp_path / "whole")["b.png"][:100])
    run(photos, tmp_path / "out", restorer, jobs=2)
    partial.unlink()
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_symlink_cycles_and_unicode_names(tmp_path, restorer):
    folder = tmp_path / "in"
    (folder / "фото").mkdir(parents=True)
    names = ["Ünïcode 写真 😀.png", "фото/новый год.png", "a b'c\"d.png"]
    for k, name in enumerate(names):
        Image.fromarray(make_image(k)).save(folder / name)
    (folder / "circle").symlink_to(folder)
    (folder / "фото" / "up").symlink_to("..")
    (folder / "itself.png").symlink_to("itself.png")
    (folder / "nothing.png").symlink_to("absent.png")
    rows = run(folder, tmp_path / "out", restorer, jobs=2)
    assert sorted(contents(tmp_path / "out")) == sorted(names) and {row["status"] for row in rows} == {"restored"}


def test_cmyk_and_exif_orientation(tmp_path, restorer):
    folder = tmp_path / "in"
    folder.mkdir()
    photo, exif = Image.fromarray(make_image(5)), Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    photo.convert("CMYK").save(folder / "print.jpg", quality=97, icc_profile=bytes(16) + b"CMYK" + bytes(108))
    photo.transpose(Image.Transpose.ROTATE_90).save(folder / "lying.jpg", quality=97, exif=exif)
    run(folder, tmp_path / "out", restorer)
    made = Image.open(tmp_path / "out" / "print.jpg")
    assert made.mode == "RGB" and "icc_profile" not in made.info, "a CMYK profile does not apply to RGB"
    upright = Image.open(tmp_path / "out" / "lying.jpg")
    assert upright.size == photo.size and upright.getexif().get(0x0112, 1) == 1 and upright.getexif()[0x010F] == "Maker"
    for name in ("print.jpg", "lying.jpg"):
        after = read_photo(tmp_path / "out" / name).image
        assert np.abs(after[:6].astype(int) - make_image(5)[:6]).mean() < 6, name


def test_strength_zero_copies_every_file(photos, tmp_path, restorer):
    run(photos, tmp_path / "out", restorer, strength=0.0)
    given = contents(photos)
    assert all(given[name] == data for name, data in contents(tmp_path / "out").items())


def test_upscale(photos, tmp_path, restorer):
    run(photos, tmp_path / "out", restorer, upscale=2)
    for name in ("a.jpg", "b.png", "c.tif", "grey.png"):
        assert read_photo(tmp_path / "out" / name).image.shape == (120, 160, 3)
    deep = read_photo(tmp_path / "out" / "c.tif").pixels
    enlarged = cv2.resize(read_photo(photos / "c.tif").pixels, (160, 120), interpolation=cv2.INTER_CUBIC)
    assert np.array_equal(deep[:4], enlarged[:4])


def test_detector_error_fails_only_one_file(photos, tmp_path, restorer):
    def make():
        def detect(image):
            if image.shape[2] == 3 and np.array_equal(image, read_photo(photos / "b.png").image):
                raise RuntimeError("detector error")
            return make_detector()(image)

        return detect

    rows = {row["input"]: row for row in run(photos, tmp_path / "out", restorer, detector=make)}
    assert rows[str(photos / "b.png")]["status"] == "failed" and "detector error" in rows[str(photos / "b.png")]["error"]
    assert rows[str(photos / "c.tif")]["status"] == "restored"


def test_aligned_faces_are_restored_in_batches(tmp_path, restorer, monkeypatch):
    folder = tmp_path / "faces"
    folder.mkdir()
    for k in range(10):
        Image.fromarray(make_image(k, 40, 40)).save(folder / f"{k}.png")
    Image.fromarray(make_image(11, 40, 50)).save(folder / "wide.png")
    cv2.imwrite(str(folder / "deep.png"), make_image(12, 40, 40, dtype=np.uint16))
    batches, faces = [], gpen.Restorer.faces
    monkeypatch.setattr(gpen.Restorer, "faces", lambda self, x, *rest: batches.append(len(x)) or faces(self, x, *rest))
    rows = {row["input"]: row for row in run(folder, tmp_path / "out", restorer, detector=None, aligned=True)}
    assert max(batches) > 1
    for k in range(10):
        expected = restorer.face(make_image(k, 40, 40)).image
        assert np.abs(read_photo(tmp_path / "out" / f"{k}.png").image.astype(int) - expected).max() <= 1
    assert rows[str(folder / "wide.png")]["status"] == "failed" and "square" in rows[str(folder / "wide.png")]["error"]
    deep = read_photo(tmp_path / "out" / "deep.png")
    assert deep.pixels.dtype == np.uint16
    assert np.abs(deep.image.astype(int) - restorer.face(read_photo(folder / "deep.png").image).image).max() <= 1


def test_other_tasks(tmp_path, restorer):
    folder, mask = tmp_path / "faces", np.zeros((40, 40), np.uint8)
    folder.mkdir()
    Image.fromarray(make_image(0, 40, 40)[..., 0]).save(folder / "a.png")
    mask[10:20, 10:20] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    run(folder, tmp_path / "colour", restorer, detector=None, aligned=True, task="colorize")
    assert read_photo(tmp_path / "colour" / "a.png").pixels.shape == (40, 40, 3)
    run(folder, tmp_path / "filled", restorer, detector=None, aligned=True, task="inpaint", mask=tmp_path / "mask.png")
    before, after = read_photo(folder / "a.png").image, read_photo(tmp_path / "filled" / "a.png").image
    assert np.array_equal(before[mask == 0], after[mask == 0]) and not np.array_equal(before, after)


def test_output_folder_within_the_input_folder_is_skipped(photos, restorer):
    run(photos, photos / "deeper" / "out", restorer)
    first = contents(photos)
    rows = run(photos, photos / "deeper" / "out", restorer)
    assert {row["status"] for row in rows} == {"skipped", "failed"} and contents(photos) == first


def test_invalid_paths_and_settings_raise_an_error(photos, tmp_path, restorer):
    (photos / "deeper" / "a.jpg").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for paths, words in [
        ([tmp_path / "absent"], "no file or folder"),
        ([tmp_path / "empty"], "holds no photo"),
        ([str(photos / "*.bmp")], "holds no photo"),
        ([photos / "a.jpg", photos / "deeper" / "a.jpg"], "would both be written"),
    ]:
        with pytest.raises(gpen.GPENError, match=words):
            find_files(paths, tmp_path / "out")
    with pytest.raises(gpen.GPENError, match="is a file"):
        find_files([photos], photos / "a.jpg")
    with pytest.raises(gpen.GPENError, match="the input itself"):
        run(photos, photos, restorer)
    for settings, words in [
        ({"strength": 1.5}, "strength"),
        ({"jobs": 0}, "jobs"),
        ({"upscale": 0.5}, "upscale"),
        ({"mask": tmp_path}, "mask"),
        ({"task": "colorize"}, "--aligned"),
        ({"task": "inpaint", "aligned": True}, "--mask"),
        ({"aligned": True, "upscale": 2}, "leave out"),
        ({"task": "colorize", "aligned": True, "strength": 0.5}, "strength"),
    ]:
        with pytest.raises(gpen.GPENError, match=words):
            Settings(**settings)


def test_report_keeps_earlier_entries_of_skipped_files(photos, tmp_path, restorer):
    path = tmp_path / "reports" / "report.json"
    write_report(path, {"gpen": "0"}, run(photos, tmp_path / "out", restorer))
    first = json.loads(path.read_text())
    write_report(path, {"gpen": "1"}, run(photos, tmp_path / "out", restorer))
    second = json.loads(path.read_text())
    done = [row for row in first["files"] if row["status"] != "failed"]
    assert [row for row in second["files"] if row["status"] != "failed"] == done and second["gpen"] == "1"
    path.write_text("no report")
    write_report(path, {"gpen": "1"}, [])
    assert json.loads(path.read_text()) == {"gpen": "1", "files": []}
    with pytest.raises(gpen.GPENError, match="cannot be written"):
        write_report(photos / "a.jpg" / "report.json", {"gpen": "1"}, [])
