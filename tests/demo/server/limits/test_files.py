"""Temporary files: deleted by age wherever they are, except those of the page; quota; folders of killed processes."""

import os
import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest

from demo import images, languages, shell
from demo.server import options
from demo.server.limits import files as files_module
from demo.server.limits.files import TempFiles
from demo.server.limits.settings import MB, Limits
from gpen.errors import GPENError
from tests.clock import Clock


@pytest.fixture
def clock():
    return Clock(1e9)


@pytest.fixture
def files(monkeypatch, tmp_path, clock):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    files = TempFiles(Limits(file_quota=MB), clock)
    yield files
    files.close()


def write(files: TempFiles, name: str, data: bytes = b"x", age: float = 0) -> str:
    path = files.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (files._clock() - age,) * 2)
    return str(path)


def found(files: TempFiles) -> set[str]:
    return {os.path.relpath(path, files.folder) for path in files.paths()} - {files_module._ALIVE}


def test_everything_older_than_the_limit_is_deleted(files):
    kinds = ("aborted-upload", "hash/photo.jpg", "hash/restored.jpg", "mask/drawing.png", "file.png", "zip/a/restored-photos.zip")
    for name in kinds:
        write(files, name, age=901)
    write(files, "hash/new.png", age=899)
    files.sweep()
    assert found(files) == {"hash", "hash/new.png"}


def test_files_of_the_page_stay(files):
    sample, default = write(files, "sample/face.png", age=9999), write(files, "default/a.png", age=9999)
    (files.folder / "link.png").symlink_to(sample)
    files._own.add(sample)
    files._kept = lambda: [default]
    files.sweep()
    assert found(files) == {"sample", "sample/face.png", "default", "default/a.png", "link.png"}


def test_start_keeps_what_exists_and_deletes_later_files(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    files = TempFiles(Limits(file_interval=0.01, file_seconds=0.01))
    sample = write(files, "sample/face.png")
    swept = []
    files.start(also=lambda: swept.append(1))
    try:
        write(files, "hash/upload.png")
        while "hash/upload.png" in found(files):
            files._stop.wait(0.01)
        assert os.path.isfile(sample) and swept
    finally:
        files.close()
    assert not files.folder.exists()


def removing(folder: Path, clock: Clock) -> Callable[[], float]:
    """A clock that removes a folder when it is read, as another thread or process does at any time."""

    def read() -> float:
        shutil.rmtree(folder, ignore_errors=True)
        return clock()

    return read


def test_folder_that_is_removed_during_a_search_does_not_end_it(files, clock):
    """Failure sequence: a request removed its own folder during the search, which ended there, before the files behind it."""
    for name in "abcd":
        write(files, f"{name}/photo.jpg", age=901)
    files._clock = removing(files.folder / "b", clock)
    files.sweep()
    assert found(files) == set()


def test_folder_that_is_removed_while_it_is_listed(files, monkeypatch):
    """Failure sequence: the list of files was an error when a folder was deleted after its name was read."""
    write(files, "hash/upload.png")
    sample = write(files, "sample/face.png")
    scan = os.scandir

    def scan_removed(folder):
        if str(folder).endswith("hash"):
            shutil.rmtree(folder)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", scan_removed)
    assert sample in files.paths()
    files.start()
    assert sample in files._own


def test_search_has_ended_when_the_folder_is_deleted(files):
    """Failure sequence: a search that was running at the end wrote its mark into the folder while it was deleted."""
    files._limits = replace(files._limits, file_interval=0)
    running, ended = threading.Event(), []

    def search():
        running.set()
        files._stop.wait()
        time.sleep(0.2)
        files.folder.mkdir(exist_ok=True)
        ended.append(True)

    files.start(also=search)
    running.wait()
    files.close()
    assert ended and not files.folder.exists()


def test_folder_of_a_killed_process_that_another_page_deletes_at_the_same_time(files, tmp_path, clock):
    """Failure sequence: of two pages that were started together, one ended with FileNotFoundError."""
    abandoned = tmp_path / f"{files_module.PREFIX}killed"
    abandoned.mkdir()
    TempFiles(Limits(), removing(abandoned, clock)).close()
    assert not abandoned.exists()


def test_quota_and_room_for_the_votes(files, monkeypatch):
    assert files.has_room()
    write(files, "hash/large.png", b"x" * MB)
    files.sweep()
    assert not files.has_room()
    files._clock.now += 901
    files.sweep()
    assert files.has_room()
    usage = shutil.disk_usage(files.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=Limits.free_disk))
    assert not files.has_room()


def test_quota_bounds_the_number_of_small_files(files):
    """Failure sequence: uploads of one byte counted one byte, so that millions of them used up the inodes of the disk."""
    for number in range(MB // 8192):
        write(files, f"{number}/a.png")
    files.sweep()
    assert not files.has_room()


@pytest.mark.parametrize("language", ["en", "de", "es", "zh"])
def test_page_says_how_long_images_stay_and_what_a_rating_has(language):
    texts, minutes = languages.table(language), f"{Limits.file_seconds / 60:.0f}"
    for name in ("line", "photos_html"):
        assert re.search(rf"(?<!\d){minutes}(?!\d)", texts[f"page.footer.{name}"])
    if language == "en":
        assert Limits.held_seconds == 3600 and "at most for an hour after its last use" in texts["page.footer.photos_html"]
        assert "its time, the time it took in milliseconds" in texts["page.footer.ratings_html"]
        assert "until you delete them" in texts["page.footer.ratings_html"] and "Hub" in texts["page.footer.ratings_html"]
        assert "{contact}" in texts["page.footer.contact"]


@pytest.mark.parametrize("login", ["", "1"])
def test_page_says_whether_a_rating_leads_to_an_account(monkeypatch, login):
    monkeypatch.setenv(options.LOGIN_VARIABLE, login)
    with gr.Blocks(analytics_enabled=False) as page:
        shell.footer()
    (about,) = (block.value for block in page.blocks.values() if getattr(block, "elem_id", None) == "about")
    assert ("computes from your Hugging Face account" in about) == bool(login) != ("only your browser knows" in about)


def test_folder_of_a_killed_process_is_deleted_but_nothing_else(files, tmp_path, clock):
    (tmp_path / "votes.sqlite").write_text("votes")
    (tmp_path / "other").mkdir()
    os.utime(tmp_path / "other", (0, 0))
    write(files, "hash/photo.png")
    (files.folder / files_module._ALIVE).touch()
    os.utime(files.folder / files_module._ALIVE, (clock.now,) * 2)
    running = TempFiles(Limits(), clock)
    assert files.folder.is_dir() and running.folder != files.folder
    os.utime(files.folder / files_module._ALIVE, (clock.now - 601,) * 2)
    running.close()
    TempFiles(Limits(), clock).close()
    assert {path.name for path in tmp_path.iterdir()} == {"votes.sqlite", "other"}


def test_result_that_cannot_be_written_leaves_no_file(monkeypatch, tmp_path):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(GPENError, match="No space left on device"):
        images.save(b"data", tmp_path, "restored.png")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
