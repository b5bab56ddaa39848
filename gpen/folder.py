"""Many photos and videos, restored into a folder of the same names and formats: what `python -m gpen restore` does.

What is there already is left alone, so that a run which was stopped goes on where it was; a file that cannot be read is noted and
the rest goes on. Threads read, search and write while the network runs: any number of them gives the same files.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
from tqdm import tqdm

from . import tasks
from .ahead import ahead, one_a_thread
from .errors import GPENError
from .faces import Detector, Face
from .files import write_whole
from .paste import MAX_UPSCALE, enlarge, load_background
from .photo_file import Photo, read_photo
from .restore import Restorer, resize
from .video import CONTAINERS, restore_video

BATCH = 8  # aligned faces that go through the network together


@dataclass(frozen=True)
class Settings:
    """How files are restored.

    strength  1 the network's result, 0 the input, as in Restorer
    aligned   each picture is one face, aligned as FFHQ's are; else faces are searched and put back
    only      "largest" restores that face of each photo alone; None all
    upscale   of the whole photo
    background a super-resolution model's file for what is no face (gpen.paste.load_background); None enlarges bicubically
    task      of gpen.tasks.TASKS; another than "restore" takes aligned faces
    mask      for the task inpaint: a picture, white where to fill in, or a folder of NAME.png
    overwrite what is in the output folder already is made anew; else it is left alone
    jobs      threads that read, search and write
    """

    strength: float = 1.0
    aligned: bool = False
    only: str | None = None
    upscale: float = 1.0
    background: Path | None = None
    task: str = "restore"
    mask: Path | None = None
    overwrite: bool = False
    jobs: int = 1

    def __post_init__(self):
        if not 0 <= self.strength <= 1:
            raise GPENError(f"--strength is a number from 0 to 1; got {self.strength}.")
        if self.jobs < 1:
            raise GPENError(f"--jobs is a number of threads, 1 or more; got {self.jobs}.")
        if not 1 <= self.upscale <= MAX_UPSCALE:
            raise GPENError(f"--upscale is a factor from 1 to {MAX_UPSCALE}; got {self.upscale}.")
        if self.task != "restore" and not self.aligned:
            raise GPENError(f"The task {self.task} takes aligned faces: add --aligned.")
        if self.task != "restore" and self.strength != 1:
            raise GPENError(f"A strength is for restoring; leave it out for {self.task}.")
        if (self.mask is None) == (self.task == "inpaint"):
            raise GPENError("The task inpaint needs a mask of the pixels to fill in, --mask, and no other task takes one.")
        if self.aligned and (self.only or self.upscale != 1 or self.background):
            raise GPENError("An aligned face comes out at the network's size: leave out --only, --upscale and --background.")


@dataclass(eq=False)
class Work:
    """A file on its way. `row` is what the report says of it; the rest is let go of when it is written."""

    source: Path
    target: Path
    row: dict = field(default_factory=dict)
    photo: Photo | None = None
    faces: list[Face] | None = None
    image: np.ndarray | None = None  # what came out, uint8 RGB [H, W, 3]

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Times a part of the work; what goes wrong in it is this file's failure, not the run's."""
        start = time.perf_counter()
        try:
            yield
        except Exception as error:
            sentence = str(error) if isinstance(error, GPENError) else f"it failed with {type(error).__name__}: {error}."
            named = sentence if self.source.name in sentence else f"{self.source}: {sentence}"
            self.row |= {"status": "failed", "error": " ".join(named.split())}
        self.row["seconds"][name] = round(time.perf_counter() - start, 4)

    @property
    def is_video(self) -> bool:
        return self.source.suffix.lower() in CONTAINERS


def restore_files(
    files: dict[Path, Path],
    restorer: Restorer,
    make_detector: Callable[[], Detector],
    settings: Settings,
    progress: bool = True,
) -> Iterator[dict]:
    """Restore each file, as `find_files` gives them, and yield what is to say of it, in their order.

    make_detector: called once in each thread that searches. A row has input, output, status ("restored", "no face": copied,
    "skipped": there already, "failed": with error), seconds (of reading, searching, restoring, writing) and of a photo faces
    (box, landmarks, score, in px of the upright photo), of a video video (see `restore_video`). Raises GPENError before anything
    is done where a file would replace itself and settings.overwrite does not allow it.
    """
    for source, target in files.items():
        if not settings.overwrite and target.exists() and target.samefile(source):
            raise GPENError(f"{target} is there already, it is the input itself: choose another --out.")
    run = _Run(restorer, make_detector, settings, progress)
    with ThreadPoolExecutor(settings.jobs) as pool, tqdm(total=len(files), unit="file", disable=not progress or None) as bar:
        opened = ahead(pool, run.open, files.items(), 2 * settings.jobs)
        for row in ahead(pool, run.write, run.restored(opened), 2 * settings.jobs):
            bar.update()
            if row["status"] == "failed":
                bar.write(f"error: {row['error']}", file=sys.stderr)
            yield row


def make_folder(out: Path) -> None:
    """Make the folder `out` where it is not. Raises GPENError where it cannot be made or nothing can be written in it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if os.access(out, os.W_OK):
            return
        reason: str | None = "it is read-only"
    except OSError as error:
        reason = error.strerror
    raise GPENError(f"Nothing can be written to --out {out} ({reason}): name another folder.")


def write_report(path: Path, header: dict, rows: Sequence[dict]) -> None:
    """JSON: the entries of `header`, which has one at least, then files, a row each.

    What an earlier report at `path` says of files now skipped is kept. Raises GPENError where it cannot be written.
    """
    try:
        earlier = {row["output"]: row for row in json.loads(path.read_text())["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        earlier = {}
    rows = [earlier.get(row["output"], row) if row["status"] == "skipped" else row for row in rows]
    try:
        lines = ",\n  ".join(map(json.dumps, rows))  # a file's row is one line
        write_whole(path, f'{json.dumps(header, default=str)[:-1]}, "files": [\n  {lines}\n]}}\n'.encode())
    except OSError as error:
        raise GPENError(f"The report {path} cannot be written ({error.strerror}): name another file.") from None


class _Run:
    """The three parts of the work on a file: `open` and `write` in threads, `restored` where the network runs."""

    def __init__(self, restorer: Restorer, make_detector: Callable[[], Detector], settings: Settings, progress: bool):
        self.restorer, self.make_detector, self.settings, self.progress = restorer, make_detector, settings, progress
        self.detect = one_a_thread(make_detector)
        self.background = load_background(settings.background) if settings.background else None

    def open(self, places: tuple[Path, Path]) -> Work:
        """Read and search."""
        work = Work(*places)
        work.row = {"input": str(work.source), "output": str(work.target), "status": "restored", "seconds": {}}
        if work.target.exists() and not self.settings.overwrite:
            work.row["status"] = "skipped"
        elif not work.is_video:
            with work.part("read"):
                work.photo = read_photo(work.source)
            if work.photo and not self.settings.aligned:
                with work.part("detect"):
                    work.faces = self.detect(work.photo.image)
        return work

    def restored(self, opened: Iterable[Work]) -> Iterator[Work]:
        opened = iter(opened)
        while batch := list(islice(opened, BATCH if self.settings.aligned else 1)):
            ready = [work for work in batch if work.row["status"] == "restored"]
            together = [work for work in ready if self._is_face(work)]
            if together:
                self._faces(together)
            for work in ready:
                if work not in together:
                    with work.part("restore"):
                        self._video(work) if work.is_video else self._photo(work)
            yield from batch

    def write(self, work: Work) -> dict:
        """A photo that came out as it was is copied, byte for byte. Returns the row."""
        if work.image is not None:
            with work.part("write"):
                photo = cast(Photo, work.photo)
                before = photo.image
                same = before.shape == work.image.shape and np.array_equal(before, work.image)
                write_whole(work.target, photo.data if same else self._encoded(photo, work.image))
        return work.row

    def _is_face(self, work: Work) -> bool:
        """Whether it can go through the network with others: a square that is one face."""
        aligned = self.settings.aligned and self.settings.task == "restore" and not work.is_video
        return aligned and work.photo is not None and work.photo.pixels.shape[0] == work.photo.pixels.shape[1]

    def _faces(self, works: list[Work]) -> None:
        start = time.perf_counter()
        images = self.restorer.faces([cast(Photo, work.photo).image for work in works], self.settings.strength)
        seconds = round((time.perf_counter() - start) / len(works), 4)
        for work, image in zip(works, images, strict=True):
            work.image = image
            work.row["seconds"]["restore"] = seconds

    def _photo(self, work: Work) -> None:
        settings, image = self.settings, cast(Photo, work.photo).image
        if settings.aligned:  # another task, or no square, which the restorer refuses
            mask = _read_mask(settings.mask, work.source.stem) if settings.mask else None
            work.image = tasks.run(self.restorer, settings.task, image, mask)
            return
        result = self.restorer.photo(image, settings.strength, settings.only, settings.upscale, work.faces, self.background)
        work.image = result.image
        work.row["faces"] = [
            {
                "box": np.round(face.box, 2).tolist(),
                "landmarks": face.landmarks.astype(float).round(2).tolist(),
                "score": round(float(face.score), 4),
            }
            for face in result.faces
        ]
        if not result.faces:
            work.row["status"] = "no face"

    def _video(self, work: Work) -> None:
        settings = self.settings
        if settings.aligned:
            raise GPENError(f"{work.source} is a video, whose faces are searched: leave out --aligned.")

        def restore(image: np.ndarray, faces: list[Face]) -> np.ndarray:
            return self.restorer.photo(image, settings.strength, None, settings.upscale, faces, self.background).image

        work.target.parent.mkdir(parents=True, exist_ok=True)
        work.row["video"] = restore_video(
            work.source, work.target, restore, self.make_detector, settings.only, settings.jobs, progress=self.progress
        )

    def _encoded(self, photo: Photo, image: np.ndarray) -> bytes:
        aligned, coloured = self.settings.aligned, self.settings.task in ("colorize", "seg2face")
        return photo.with_image(
            image, partial(resize, side=len(image)) if aligned else partial(enlarge, upscale=self.settings.upscale), coloured
        ).encode()


def _read_mask(path: Path, stem: str) -> np.ndarray:
    """bool [h, w]: where the mask, a file or NAME.png in a folder, is lighter than mid-grey."""
    return tasks.luma(read_photo(path / f"{stem}.png" if path.is_dir() else path).image) > 127
