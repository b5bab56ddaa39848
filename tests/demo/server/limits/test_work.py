"""Time limit of an event and its end when the visitor leaves, with a detector that finds thousands of faces."""

import dataclasses
import types

import numpy as np
import pytest
from gradio.context import LocalContext
from PIL import Image

import gpen
from demo.photo import photo_files, photo_state, photo_views
from demo.server.limits import work
from gpen.errors import GPENError
from gpen.faces.alignment import Face, aligned_face
from gpen.faces.detection import Detector
from gpen.restoration.restorer import BATCH

COLLAGE = 5000  # faces


@pytest.fixture
def collage(tmp_path):
    path = tmp_path / "collage.png"
    Image.new("RGB", (512, 512), (90, 120, 150)).save(path)
    return path


@pytest.fixture
def busy(restorer, monkeypatch):
    """A restorer whose detector finds COLLAGE faces, largest first; `runs` are the faces of each run of the network."""
    one = aligned_face(np.empty((512, 512, 3), np.uint8))
    faces = [Face((0, 0, 500 - k / 100, 500 - k / 100), one.landmarks, 1.0) for k in range(COLLAGE)]
    restorer = gpen.Restorer(restorer.net, detector=lambda image: faces)
    run, runs = restorer._run, []
    monkeypatch.setattr(restorer, "_run", lambda x: runs.append(len(x)) or run(x))
    restorer.runs = runs
    return restorer


def leave(monkeypatch, condition) -> None:
    monkeypatch.setattr(work.gradio_patches, "visitor_has_left", condition)


def test_largest_faces_are_restored_and_the_page_names_the_others(busy, collage, monkeypatch):
    monkeypatch.setattr(photo_state, "MAX_FACES", 9)
    photo = photo_state.find_faces(busy, str(collage))
    assert len(photo.faces) == 9 and photo.left_out == COLLAGE - 9 and photo.faces[0].box[2] == 500
    assert "the 9 largest are restored, 4991 smaller ones" in photo_views.notice(photo)
    photo_state.restore_faces(busy, photo, list(range(9)), 1, 1)
    assert busy.runs == [8, 1]
    assert "left_out" not in photo_views.notice(dataclasses.replace(photo, left_out=0))


def test_network_stops_after_the_batch_when_the_visitor_leaves(busy, collage, monkeypatch):
    leave(monkeypatch, lambda: bool(busy.runs))
    photo = photo_state.find_faces(busy, str(collage))
    with pytest.raises(GPENError, match=work.LEFT):
        photo_state.restore_faces(busy, photo, list(range(len(photo.faces))), 1, 1)
    assert busy.runs == [BATCH]


def test_network_stops_after_the_batch_at_the_deadline(busy, collage):
    photo = photo_state.find_faces(busy, str(collage))
    with work.time_limit(-1), pytest.raises(GPENError, match="took longer than -1 seconds"):
        photo_state.run_network(busy, photo, list(range(len(photo.faces))))
    assert busy.runs == [BATCH]
    with work.time_limit(-1), work.time_limit(1e6):
        work.check()


def test_batch_of_photos_ends_without_further_decoding(busy, collage, monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    leave(monkeypatch, lambda: bool(busy.runs))
    result = photo_files.restore_photos(busy, [str(collage)] * 20, 1, 1)
    assert busy.runs == [BATCH] and {row[1] for row in result.rows} == {work.LEFT}
    assert result.path is None and not list((tmp_path / "cache").iterdir())


def test_detector_stops_between_calls_of_its_network(monkeypatch):
    calls = []

    def network(image):
        calls.append(image.shape)
        return np.empty((0, 7, 2)), np.empty(0)

    detector = work.checked_detector(Detector(network, 0.8, 0.9, rescore=lambda image, points: [1.0]))
    detector(np.zeros((64, 64, 3), np.uint8))
    assert len(calls) == 4
    leave(monkeypatch, lambda: len(calls) > 5)
    with pytest.raises(GPENError, match=work.LEFT):
        detector(np.zeros((64, 64, 3), np.uint8))
    assert len(calls) == 6


def test_visitor_has_left_if_gradio_says_so():
    event = types.SimpleNamespace(_id="mine", alive=True)
    page = types.SimpleNamespace(
        _queue=types.SimpleNamespace(active_jobs=[None, [types.SimpleNamespace(_id="x", alive=False), event]])
    )
    tokens = LocalContext.blocks.set(page), LocalContext.event_id.set("mine")
    try:
        work.check()
        event.alive = False
        with pytest.raises(GPENError, match=work.LEFT):
            work.check()
    finally:
        LocalContext.blocks.reset(tokens[0])
        LocalContext.event_id.reset(tokens[1])
    work.check()
