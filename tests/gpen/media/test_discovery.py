"""Discovery of photos and videos: folders, patterns, names in any form, and the reasons for skipping files."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import gpen
from eval.data.faces import Faces
from gpen.file_names import by_same_name, same_name
from gpen.media.discovery import find_files
from gpen.training.data.dataset import list_images
from tests.gpen.media.photo_files import make_image, saved


@pytest.fixture
def photos(tmp_path):
    """A folder with photos of several formats, one in a subfolder."""
    folder = tmp_path / "in"
    (folder / "deeper").mkdir(parents=True)
    for name in ("a.jpg", "b.png", "c.tif", "grey.png", "deeper/d.WebP"):
        make_image().save(folder / name)
    (folder / "broken.png").write_bytes((folder / "b.png").read_bytes()[:200])
    (folder / "notes.txt").write_text("not a photo")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def test_find_files(photos, tmp_path):
    out = tmp_path / "out"

    def found(*paths, recursive=False):
        return {str(s.relative_to(photos)): str(t.relative_to(out)) for s, t in find_files(paths, out, recursive).files.items()}

    plain = ["a.jpg", "b.png", "broken.png", "c.tif", "grey.png"]
    assert found(photos) == {name: name for name in plain}
    assert found(photos, recursive=True) == {name: name for name in [*plain, "deeper/d.WebP"]}
    assert found(str(photos / "*.png")) == {name: name for name in plain if name.endswith(".png")}
    assert found(str(photos / "**" / "*.WebP")) == {"deeper/d.WebP": "deeper/d.WebP"}
    assert found(photos / "deeper" / "d.WebP", photos / "a.jpg") == {"deeper/d.WebP": "d.WebP", "a.jpg": "a.jpg"}
    assert found(photos / "notes.txt") == {"notes.txt": "notes.txt"}, "given explicitly: an error is reported when it is read"


def test_every_other_file_of_a_folder_is_skipped_with_a_reason(photos, tmp_path):
    make_image().save(photos / "moving.gif")
    make_image().save(photos / "scan.jp2")
    make_image().save(photos / "photo.jfif", "JPEG")
    make_image().save(photos / "web.avif")
    for name in ("clip.ogv", "tape.dv", "raw.cr2", "photo.jxl", "program.ts"):
        (photos / name).write_bytes(b"x")
    videos = {"a.MTS", "b.m2ts", "c.3gp", "d.wmv", "e.flv", "f.mpg", "g.ts", "h.vob", "i.webm"}
    for name in videos:
        (photos / name).write_bytes(b"\x47")
    found = find_files([photos], tmp_path / "out", recursive=True)
    reasons = {path.name: reason for path, reason in found.skipped.items()}
    assert {"photo.jfif", "web.avif", *videos} <= {path.name for path in found.files}
    others = {"moving.gif", "scan.jp2", "clip.ogv", "tape.dv", "raw.cr2", "photo.jxl", "notes.txt", "program.ts"}
    assert reasons.keys() == others | {".hidden.png"} and reasons[".hidden.png"] == "a hidden file"
    assert reasons["clip.ogv"] == "a .ogv video cannot be written: convert it to .mp4 or .mkv" and ".mkv" in reasons["tape.dv"]
    assert reasons["program.ts"] == "not a photo or video"
    assert reasons["notes.txt"] == "not a photo or video" and "save it as PNG" in reasons["moving.gif"]
    assert "raw data of a camera" in reasons["raw.cr2"] and "not supported" in reasons["photo.jxl"]
    visible = {path.name for path in photos.rglob("*") if path.is_file()}
    assert {path.name for path in (*found.files, *found.skipped)} == visible


def test_folders_with_brackets_are_found_by_quoted_patterns(tmp_path):
    for folder in ("trip [2019]", "trip 2", "what?"):
        (tmp_path / folder).mkdir()
        make_image().save(tmp_path / folder / "a.jpg")
    out = tmp_path / "out"
    for pattern, names in {
        "trip [2019]/*.jpg": ["trip [2019]"],
        "what?/*.jpg": ["what?"],
        "trip*/*.jpg": ["trip 2", "trip [2019]"],
    }.items():
        assert sorted(path.parent.name for path in find_files([str(tmp_path / pattern)], out).files) == names


NAMES = (
    "Screenshot 2024 at 10.15.01\u202fAM.png",
    "photo\u00a01.png",
    "family \U0001f468\u200d\U0001f469\u200d\U0001f467.png",
    "Jose\u0301.png",
)


@pytest.mark.parametrize("name", NAMES)
def test_names_in_any_script_are_accepted_everywhere(name, tmp_path):
    saved(tmp_path / name, make_image(h=40, w=40))
    assert list(find_files([tmp_path], tmp_path / "out").files) == [tmp_path / name]
    assert Faces.open(tmp_path, 32).load(name.removesuffix(".png")).shape == (32, 32, 3)
    assert list_images(tmp_path) == [tmp_path / name]


def test_control_characters_in_names_are_an_error(tmp_path):
    saved(tmp_path / "a\nb.png", make_image())
    with pytest.raises(gpen.GPENError, match="control characters"):
        Faces.open(tmp_path, 32)


@given(st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1))
def test_the_unicode_form_of_a_name_does_not_matter(name):
    forms = {same_name(unicodedata.normalize(form, name)) for form in ("NFC", "NFD")}
    assert forms == {same_name(name)} and same_name(same_name(name)) == same_name(name)


def test_two_forms_of_one_name_are_an_error(tmp_path):
    files = [tmp_path / unicodedata.normalize(form, "José.png") for form in ("NFC", "NFD")]
    assert by_same_name(files[:1]) == {"José.png": files[0]}
    with pytest.raises(gpen.GPENError, match="same name"):
        by_same_name(files)


def test_all_commands_read_the_same_formats(tmp_path):
    for suffix in (".jfif", ".jpe", ".avif", ".jp2", ".tif", ".ppm", ".GIF"):
        image = Image.fromarray(np.full((40, 40, 3), 90, np.uint8))
        image.save(tmp_path / f"a{suffix[1:]}{suffix}")
    assert len(Faces.open(tmp_path, 32).files) == len(list_images(tmp_path)) == 7


@pytest.mark.parametrize("suffix", [".mpo", ".hif", ".HEICS"])
def test_further_suffixes_of_cameras_are_photos(suffix, photos, tmp_path):
    if suffix != ".mpo":
        pytest.importorskip("pillow_heif")
    (photos / f"a{suffix}").write_bytes(b"x")
    assert photos / f"a{suffix}" in find_files([photos], tmp_path / "out").files


def test_links_without_a_file_pipes_and_unreadable_folders_are_skipped_with_a_reason(photos, tmp_path, monkeypatch):
    (photos / "link.jpg").symlink_to("missing.jpg")
    os.mkfifo(photos / "pipe.png")
    (photos / "closed").mkdir()
    scan = os.scandir

    def refuse(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    for path in (photos, photos / "**" / "*"):
        reasons = {entry.name: text for entry, text in find_files([path], tmp_path / "out", recursive=True).skipped.items()}
        assert reasons["link.jpg"] == "a link to a file that does not exist" and reasons["pipe.png"] == "not a regular file"
        assert ("cannot be read" in reasons.get("closed", "")) == (path == photos)
