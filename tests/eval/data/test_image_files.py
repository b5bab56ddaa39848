"""eval.data.image_files and eval.data.faces: folders and zip files, names, native sizes."""

import shutil
import unicodedata
import zipfile
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.__main__ import main
from eval.data import image_files
from eval.data.faces import Faces
from eval.data.image_files import by_name, find_images
from eval.report.ablation import seed_blocks
from eval.report.comparison import FinishedRun
from eval.report.figures import rows
from eval.report.report import report
from gpen.errors import GPENError
from gpen.file_names import by_same_stem, without_suffix
from gpen.images import image_size, read_image
from gpen.training.data.fingerprints import fingerprint

FACE = np.arange(48 * 48 * 3, dtype=np.uint32).reshape(48, 48, 3).astype(np.uint8)


def encoded(image=FACE, suffix=".png"):
    return cv2.imencode(suffix, image[..., ::-1])[1].tobytes()


def write_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@settings(max_examples=100, deadline=None)
@given(
    st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1), st.sampled_from([".png", ".JPG"])
)
def test_names_without_suffix(stem, suffix):
    assert without_suffix(stem + suffix) == stem or stem.strip(".") == ""  # ".png" is a hidden file, not a suffix
    for form in ("NFC", "NFD"):
        written = unicodedata.normalize(form, stem) + suffix
        assert list(by_same_stem([written])) == list(by_same_stem([stem + suffix])) or stem.strip(".") == ""


def test_endings_that_are_no_suffix_of_an_image_belong_to_the_name():
    assert [without_suffix(name) for name in ("a.b.png", "photo 10.15", "a.PNG", "x.y/a")] == ["a.b", "photo 10.15", "a", "x.y/a"]
    assert by_same_stem(["a.jpg", "a.PNG", "b\u202fc.png"]) == {"a": ["a.jpg", "a.PNG"], "b c": ["b\u202fc.png"]}


def test_names_of_files_that_differ_in_the_suffix():
    files = {name: None for name in ("a.png", "A.PNG", "b.jpg", "b.PNG", "c/d.e.png")}
    assert sorted(by_name(files)) == ["A", "a", "b.PNG", "b.jpg", "c/d.e"]


def test_zip_file_equals_the_folder(tmp_path):
    members = {"set/a.png": encoded(), "set/b.JPG": encoded(FACE[::-1], ".jpg"), "set/notes.txt": b"x"}
    for name, data in members.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    hidden = {"__MACOSX/set/._a.png": b"x", "set/.hidden.png": b"x", "set/": b""}
    path = write_zip(tmp_path / "faces.zip", members | hidden)
    folder, archive = (Faces.open(source, 48) for source in (tmp_path / "set", path))
    assert archive.names == ["set/a", "set/b"] and folder.names == ["a", "b"]
    for name in folder.names:
        np.testing.assert_array_equal(archive.load(f"set/{name}"), folder.load(name))
        assert fingerprint(archive.files[f"set/{name}"]) == fingerprint(folder.files[name])
    assert str(archive.files["set/a"]) == f"{path}/set/a.png" and image_size(archive.files["set/a"]) == (48, 48)


def test_undeclared_utf_8_names_of_macos(tmp_path):
    """macOS writes names in UTF-8 without the flag, which the format reads as code page 437."""
    for name, declared in (("Jose\u0301.png", False), ("Jos\u00e9.png", True), ("a.png", False)):
        path = write_zip(tmp_path / "mac.zip", {name: encoded()})
        data, flag = path.read_bytes(), image_files.UTF_8.to_bytes(2, "little")
        for signature, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):  # the flags in both headers
            start = data.index(signature) + offset
            assert declared or name.isascii() or data[start : start + 2] == flag
            data = data if declared else data[:start] + bytes(2) + data[start + 2 :]
        path.write_bytes(data)
        assert list(find_images(path)) == [name]
    (member,) = find_images(path).values()
    member.info.filename, member.info.flag_bits = "caf\u00e9.png", 0  # in code page 437, not UTF-8
    assert image_files._member_name(member.info) == "caf\u00e9.png"


@pytest.mark.parametrize("name", ["../a.png", "/etc/a.png", "x/../../a.png", "c:\\a.png"])
def test_members_outside_of_the_archive_are_refused(name, tmp_path):
    path = write_zip(tmp_path / "evil.zip", {name: encoded()})
    with pytest.raises(GPENError, match="is not a relative path with slashes"):
        find_images(path)


def test_limits_of_zip_files(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "bomb.zip", {"a.png": encoded(), "b.bmp": b"BM" + bytes(3 * 2**20)})
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(image_files, "MAX_MEMBER_BYTES", 2**20)
    with pytest.raises(GPENError, match=r"contains b.bmp, which has 3 MiB; images in a zip file have at most 1 MiB"):
        find_images(path)
    monkeypatch.setattr(image_files, "MAX_MEMBERS", 1)
    with pytest.raises(GPENError, match="contains 2 files"):
        find_images(path)


def test_a_member_never_gives_more_than_its_declared_size(tmp_path):
    path = write_zip(tmp_path / "liar.zip", {"a.bmp": bytes(2**20)})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):  # the uncompressed sizes in both headers
        start = data.index(signature) + offset
        data[start : start + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(data)
    (member,) = find_images(path).values()
    with pytest.raises(GPENError, match="cannot be read"):
        member.read_bytes()


def test_damaged_zip_files(tmp_path):
    path = write_zip(tmp_path / "faces.zip", {"a.png": encoded()})
    data = bytearray(path.read_bytes())
    data[60:80] = bytes(20)
    path.write_bytes(data)
    (member,) = find_images(path).values()
    with pytest.raises(GPENError, match=r"faces.zip/a.png cannot be read"):
        read_image(member)
    path.write_bytes(data[:100])
    with pytest.raises(GPENError, match="give a folder or a zip file"):
        find_images(path)


def test_names_in_two_subfolders_are_refused(tmp_path):
    for name in ("lq/0001.jpg", "hq/0001.PNG", "hq/0002.png", "lq/0002.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encoded(suffix=".jpg"))
    with pytest.raises(GPENError, match=r"contains 0001 in the folders hq and lq \(and 1 more such names\).*run paired --lq"):
        Faces.open(tmp_path, 48)
    write_zip(tmp_path / "both.zip", {"lq/1.png": encoded(), "hq/1.png": encoded()})
    with pytest.raises(GPENError, match="run paired"):
        Faces.open(tmp_path / "both.zip", 48)
    (tmp_path / "one").mkdir()
    for name in ("a.jpg", "a.png"):
        (tmp_path / "one" / name).write_bytes(encoded())
    assert Faces.open(tmp_path / "one", 48).names == ["a.jpg", "a.png"]


# --- native size


def run(tmp_path, *arguments):
    return main(["run", "fsr", "--methods", "bicubic", "--metrics", "psnr", "--out", str(tmp_path / "run"), *arguments])


@pytest.mark.slow
def test_enlargement_is_refused_or_marked(tmp_path, capsys):
    (tmp_path / "faces").mkdir()
    for name, side in (("a", 48), ("b", 64), ("c", 40)):
        cv2.imwrite(str(tmp_path / "faces" / f"{name}.png"), cv2.resize(FACE, (side, side)))
    data = ["--data", str(tmp_path / "faces"), "--size", "64"]
    assert run(tmp_path, *data) == 2
    assert "2 of 3 images" in (error := capsys.readouterr().err) and "(a with 48 px, c with 40 px)" in error
    assert "--allow-upscaled" in error and not (tmp_path / "run").exists()
    with pytest.raises(GPENError, match="has 48 px, less than 64"):
        Faces.open(tmp_path / "faces", 64).load("a")
    assert run(tmp_path, *data, "--allow-upscaled") == 0
    assert (text := capsys.readouterr().out).count("Not at native size: the ground truth of 2 images") == 1
    assert (tmp_path / "run" / "summary.md").read_text() == text
    assert "Not at native size" in (tmp_path / "run" / "summary.tex").read_text()
    for name in ("recipe.json", "summary.json"):
        assert '"upscaled": 2' in (tmp_path / "run" / name).read_text()
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    assert report([tmp_path / "run", tmp_path / "again"]).count("Not at native size") == 3  # of each run and of their comparison
    entries = FinishedRun.open(tmp_path / "run").summary
    seeds = [
        replace(entry, method=f"gpen:variant-{seed}.pth") for entry in entries if entry.method == "bicubic" for seed in (0, 1)
    ]
    assert "Not at native size" in seed_blocks(seeds)[-1].text
    assert main(["archive", str(tmp_path / "run"), str(tmp_path / "archived.json")]) == 0
    (tmp_path / "page.md").write_text("<!-- table archived.json -->\n<!-- /table -->\n")
    assert main(["tables", str(tmp_path / "page.md")]) == 0 and "Not at native size" in (tmp_path / "page.md").read_text()


def test_native_images_are_not_marked(tmp_path, faces_folder, capsys):
    assert run(tmp_path, "--data", str(faces_folder), "--size", "64") == 0
    assert "Not at native size" not in capsys.readouterr().out
    assert '"upscaled": 0' in (tmp_path / "run" / "recipe.json").read_text()
    assert "upscaled" not in (tmp_path / "run" / "summary.json").read_text()


def test_samples_say_what_they_enlarge():
    faces = Faces.open("samples", 256)
    assert faces.check_native_size() == 1
    assert Faces.open("samples", 128).check_native_size() == 0
    assert faces.load_unresized("astronaut").shape == (170, 170, 3) and faces.load_unresized("grace_hopper").shape == (
        256,
        256,
        3,
    )


def test_unusual_names_of_images_stay_strings(tmp_path):
    names = ["-inf", "1", "1e5", "NA", "None", "True", "nan", "null"]
    (tmp_path / "faces").mkdir()
    for name in names:
        (tmp_path / "faces" / f"{name}.png").write_bytes(encoded())
    assert run(tmp_path, "--data", str(tmp_path / "faces"), "--size", "48") == 0
    table = rows(tmp_path / "run", methods=["bicubic"])
    assert list(table["image"]) == names and table["psnr"].dtype == float and table["psnr"].notna().all()
