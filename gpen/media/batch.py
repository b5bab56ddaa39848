"""Batch restoration of photos and videos into a folder with the same names and formats (`python -m gpen restore`).

Existing results are skipped, so that an interrupted run can be continued; a file that cannot be restored is reported without
stopping the run. Reading, face detection and writing run in threads; the results do not depend on the number of threads.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
from tqdm import tqdm

from gpen.errors import GPENError
from gpen.faces.alignment import Face
from gpen.faces.detection import Detector
from gpen.file_names import by_same_name, is_video, same_name
from gpen.images import resize_to, write_atomically
from gpen.media.discovery import why_skipped
from gpen.media.photo_file import Photo, read_photo
from gpen.media.prefetch import per_thread, prefetch_map
from gpen.media.properties import compare_photos
from gpen.media.provenance import Provenance, Region
from gpen.media.video import restore_video
from gpen.media.video_output import CONTAINERS
from gpen.restoration import tasks
from gpen.restoration.paste import MAX_UPSCALE, enlarge, load_background
from gpen.restoration.restorer import Restorer

BATCH = 8  # aligned faces per forward pass


@dataclass(frozen=True)
class Settings:
    """Settings of a batch restoration.

    strength    weight of the network output, 0 to 1, as in Restorer
    aligned     each image is one FFHQ-aligned face; otherwise faces are detected and pasted back
    only        "largest" restores only the largest face of each photo; None restores all
    upscale     factor for the whole photo, 1 to 16
    background  file of a super-resolution model for the background (gpen.restoration.paste.load_background); None: bicubic
    task        key of gpen.restoration.tasks.TASKS; all tasks except "restore" need aligned faces
    mask        for the task inpaint: an image, white where to fill in, or a folder with a NAME.png for each image
    overwrite   replace existing results instead of skipping them
    jobs        number of threads for reading, face detection and writing
    provenance  model named in the XMP or tags of restored files, in photos with the boxes of the faces; None: no mark
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
    provenance: Provenance | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise GPENError(f"--strength must be a number from 0 to 1; got {self.strength}.")
        if self.jobs < 1:
            raise GPENError(f"--jobs must be a number of threads, at least 1; got {self.jobs}.")
        if not 1 <= self.upscale <= MAX_UPSCALE:
            raise GPENError(f"--upscale must be a factor from 1 to {MAX_UPSCALE}; got {self.upscale}.")
        if self.task != "restore" and not self.aligned:
            raise GPENError(f"The task {self.task} needs aligned faces: add --aligned.")
        if self.task != "restore" and self.strength != 1:
            raise GPENError(f"A strength below 1 is supported by the task restore only; remove it for {self.task}.")
        if (self.mask is None) == (self.task == "inpaint"):
            raise GPENError("The task inpaint needs a mask of the pixels to fill in, --mask; no other task has a mask.")
        if self.aligned and (self.only or self.upscale != 1 or self.background):
            raise GPENError(
                "The result for an aligned face has the size of the network: leave out --only, --upscale and --background."
            )


@dataclass(eq=False)
class Work:
    """State of a file in the pipeline. `row` is its entry in the report."""

    source: Path
    target: Path
    row: dict = field(default_factory=dict)
    photo: Photo | None = None
    faces: list[Face] | None = None
    image: np.ndarray | None = None  # result, uint8 RGB [H, W, 3]

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure the time of a step; an exception in it marks this file as failed and is not propagated."""
        start = time.perf_counter()
        try:
            yield
        except Exception as error:
            message = str(error) if isinstance(error, GPENError) else f"{type(error).__name__}: {error}."
            if self.source.name not in message:
                message = f"{self.source} cannot be restored: {message}"
            self.row |= {"status": "failed", "error": " ".join(message.split())}
        self.row["seconds"][name] = round(time.perf_counter() - start, 4)

    @property
    def is_video(self) -> bool:
        """Whether the suffix is that of a video."""
        return self.source.suffix.lower() in CONTAINERS


def restore_files(
    files: dict[Path, Path],
    restorer: Restorer,
    make_detector: Callable[[], Detector],
    settings: Settings,
    progress: bool = True,
) -> Iterator[dict]:
    """Restore each of `files` (see `find_files`) and yield its entry of the report, in order.

    make_detector: called once per thread. An entry has the keys input, output, status ("restored", "no face": copied, "skipped":
    exists already, "failed"), error (if failed), reason (if skipped), seconds (per step: read, detect, restore, write), for a
    photo faces (box, landmarks, score; in px of the upright photo), for a video video (see `restore_video`), and properties if it
    was changed (see `compare_photos` and `properties.compare`). Raises GPENError before any work if a file would replace itself
    without settings.overwrite.
    """
    for source, target in files.items():
        if not settings.overwrite and target.exists() and target.samefile(source):
            raise GPENError(f"{target} exists already and is the input itself: choose another --out.")
    run = _Run(restorer, make_detector, settings, progress)
    with ThreadPoolExecutor(settings.jobs) as pool, tqdm(total=len(files), unit="file", disable=not progress or None) as bar:
        opened = prefetch_map(pool, run.open, files.items(), 2 * settings.jobs)
        for row in prefetch_map(pool, run.write, run.restored(opened), 2 * settings.jobs):
            bar.update()
            if row["status"] == "failed":
                bar.write(f"error: {row['error']}", file=sys.stderr)
            yield row


def make_folder(out: Path) -> None:
    """Create the folder `out` if it does not exist. Raises GPENError if it cannot be created or is not writable."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if os.access(out, os.W_OK):
            return
        reason: str | None = "it is read-only"
    except OSError as error:
        reason = error.strerror
    raise GPENError(f"--out {out} is not writable ({reason}): choose another folder.")


def write_report(path: Path, header: dict, rows: Sequence[dict]) -> None:
    """Write a JSON report: the entries of `header` (at least one), then "files" with one entry per file.

    Skipped files keep their entry of an earlier report at `path`. Raises GPENError if the report cannot be written.
    """
    try:
        earlier = {row["output"]: row for row in json.loads(path.read_text())["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        earlier = {}
    rows = [earlier.get(row["output"], row) if row["status"] == "skipped" else row for row in rows]
    try:
        lines = ",\n  ".join(map(json.dumps, rows))  # one line per file
        write_atomically(path, f'{json.dumps(header, default=str)[:-1]}, "files": [\n  {lines}\n]}}\n'.encode())
    except OSError as error:
        raise GPENError(f"The report {path} cannot be written ({error.strerror}): choose another file.") from None


class _Run:
    """Steps of the pipeline: `open` and `write` run in threads, `restored` in the thread of the network."""

    def __init__(self, restorer: Restorer, make_detector: Callable[[], Detector], settings: Settings, progress: bool):
        self.restorer, self.make_detector, self.settings, self.progress = restorer, make_detector, settings, progress
        self.detect = per_thread(make_detector)
        self.background = load_background(settings.background) if settings.background else None

    def open(self, places: tuple[Path, Path]) -> Work:
        """Read a photo and detect its faces."""
        work = Work(*places)
        work.row = {"input": str(work.source), "output": str(work.target), "status": "restored", "seconds": {}}
        if work.target.exists() and not self.settings.overwrite:
            work.row |= {"status": "skipped", "reason": "the result exists already"}
        elif not work.is_video:
            with work.step("read"):
                if is_video(work.source):
                    raise GPENError(f"{work.source} cannot be restored: {why_skipped(work.source)}.")
                work.photo = read_photo(work.source)
            if work.photo and not self.settings.aligned:
                with work.step("detect"):
                    work.faces = self.detect(work.photo.image)
        return work

    def restored(self, opened: Iterable[Work]) -> Iterator[Work]:
        """Restore the opened files, aligned faces in batches."""
        opened = iter(opened)
        while batch := list(islice(opened, BATCH if self.settings.aligned else 1)):
            ready = [work for work in batch if work.row["status"] == "restored"]
            together = [work for work in ready if self._is_face(work)]
            if together:
                self._faces(together)
            for work in ready:
                if work not in together:
                    with work.step("restore"):
                        self._video(work) if work.is_video else self._photo(work)
            yield from batch

    def write(self, work: Work) -> dict:
        """Write the result and return the entry of the report; an unchanged photo is copied byte for byte."""
        if work.image is not None:
            with work.step("write"):
                photo = cast(Photo, work.photo)
                before = photo.image
                same = before.shape == work.image.shape and np.array_equal(before, work.image)
                write_atomically(work.target, photo.data if same else self._encoded(work, photo, work.image))
        return work.row

    def _is_face(self, work: Work) -> bool:
        """Whether the file is a square aligned face that can be restored in a batch."""
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
        if settings.aligned:  # another task, or an image that is not square, which raises an error
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
            raise GPENError(f"{work.source} is a video, which --aligned does not support: leave out --aligned.")

        def restore(image: np.ndarray, faces: list[Face]) -> np.ndarray:
            return self.restorer.photo(image, settings.strength, None, settings.upscale, faces, self.background).image

        work.target.parent.mkdir(parents=True, exist_ok=True)
        report = restore_video(
            work.source, work.target, restore, self.make_detector, settings.only, settings.jobs,
            progress=self.progress, provenance=settings.provenance,
        )  # fmt: skip
        if "properties" in report:
            work.row["properties"] = report.pop("properties")
        work.row["video"] = report
        if not report["faces"]:
            work.row["status"] = "no face"

    def _encoded(self, work: Work, photo: Photo, image: np.ndarray) -> bytes:
        settings, scale = self.settings, image.shape[1] / photo.pixels.shape[1]
        resize = partial(resize_to, size=len(image)) if settings.aligned else partial(enlarge, upscale=settings.upscale)
        result = photo.with_image(image, resize, coloured=settings.task in ("colorize", "seg2face"))
        provenance = settings.provenance
        if provenance:
            h, w = image.shape[:2]
            faces = [Region(*face["box"]).scaled(scale) for face in work.row.get("faces", [])] or [Region(0, 0, w, h)]
            provenance = replace(provenance, faces=faces)
        data = result.encode(provenance)
        work.row["properties"] = compare_photos(photo.data, data, provenance is not None)
        return data


def _read_mask(path: Path, stem: str) -> np.ndarray:
    """Read a mask, bool [h, w], from an image file or from STEM.png in a folder; True where it is lighter than mid-grey."""
    if path.is_dir():
        name = f"{stem}.png"
        path = by_same_name(path.glob("*.[pP][nN][gG]")).get(same_name(name), path / name)
    return tasks.luma(read_photo(path).image) > 127
