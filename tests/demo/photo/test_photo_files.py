"""Files of the photo tab: the marked PNG, the ZIP file of several photos, the sample."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from demo import images
from demo.photo import photo_files, photo_state
from gpen.media.provenance import SOURCE_TYPE


@pytest.fixture(autouse=True)
def folders(monkeypatch, tmp_path, model_file):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setenv("GPEN_MODEL", str(model_file))


def xmp(data: bytes) -> str:
    return Image.open(io.BytesIO(data)).info.get("xmp", b"").decode()


def test_sample_photo_has_one_face(restorer):
    assert len(photo_state.find_faces(restorer, photo_files.sample_photo()).faces) == 1


@pytest.mark.slow
def test_restored_photo_is_marked_as_partly_generated(restorer, couple):
    photo = photo_state.find_faces(restorer, str(couple))
    _, after = photo_state.restore_faces(restorer, photo, [1], 1, 2)
    data = photo_files.marked_png(after, photo, [1])
    assert np.array_equal(np.array(Image.open(io.BytesIO(data))), after)
    assert SOURCE_TYPE in xmp(data) and 'gpen:model="random"' in xmp(data) and xmp(data).count("<gpen:x>") == 1
    assert f"<gpen:x>{2 * photo.faces[1].box[0]:.0f}</gpen:x>" in xmp(data)  # in px of the enlarged photo
    assert xmp(photo_files.marked_png(after, photo, [])) == ""


@pytest.mark.slow
def test_several_photos_are_written_to_one_zip_file(restorer, couple, files, tmp_path):
    (tmp_path / "other").mkdir()
    again = tmp_path / "other" / couple.name
    again.write_bytes(couple.read_bytes())
    done = []
    paths = [str(couple), str(again), str(files["text.png"]), str(files["plain.png"])]
    result = photo_files.restore_photos(restorer, paths, 1, 1, progress=lambda number, total: done.append((number, total)))
    assert done == [(0, 4), (1, 4), (2, 4), (3, 4)]
    assert [name for name, _ in result.rows] == [Path(path).name for path in paths]
    assert [outcome for _, outcome in result.rows if isinstance(outcome, int)] == [2, 2, 0]
    assert "unknown format" in result.rows[2][1] and str(files["text.png"].parent) not in result.rows[2][1]
    with zipfile.ZipFile(result.path) as file:
        content = {name: file.read(name) for name in file.namelist()}
    assert list(content) == ["couple.png", "couple-2.png", "plain.png"] and content["couple.png"] == content["couple-2.png"]
    assert SOURCE_TYPE in xmp(content["couple.png"]) and xmp(content["plain.png"]) == ""
    assert np.array_equal(np.array(Image.open(io.BytesIO(content["plain.png"]))), np.array(Image.open(files["plain.png"])))


def test_no_zip_file_if_no_photo_can_be_read(restorer, files, tmp_path):
    assert photo_files.restore_photos(restorer, [str(files["text.png"]), str(files["empty.png"])], 1, 1).path is None
    assert not list(tmp_path.rglob("*.zip"))


def test_zip_file_has_a_limit(restorer, files, monkeypatch):
    monkeypatch.setattr(photo_files, "MAX_ZIP_BYTES", len(images.png(images.decode(files["plain.png"]))) * 3 // 2)
    result = photo_files.restore_photos(restorer, [str(files["plain.png"])] * 2, 1, 1)
    assert result.rows[0][1] == 0 and "separately" in result.rows[1][1]


@given(st.lists(st.sampled_from(["a.png", "A.jpg", "a-2.png", "a-2-2.heic", "b"])))
@pytest.mark.slow
def test_names_in_a_zip_file_are_unique_on_every_system(names):
    made = photo_files.unique_names(names)
    assert len({name.casefold() for name in made}) == len(names) == len(made)
    assert all(new.startswith(Path(old).stem) and new.endswith(".png") for old, new in zip(names, made, strict=True))
    assert not made or made[0] == f"{Path(names[0]).stem}.png"
