"""python -m gpen restore: restore the faces of photos and videos."""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from gpen.cli.parsing import AlignmentName, EngineName, Flag, Folder, Model, OptionalFile, TaskName, parse
from gpen.errors import GPENError
from gpen.faces.detection import load_detector
from gpen.file_names import is_media
from gpen.media.batch import Settings, make_folder, restore_files, write_report
from gpen.media.discovery import find_files
from gpen.media.provenance import Provenance
from gpen.models import checkpoints
from gpen.models.download import file_hash
from gpen.restoration import tasks
from gpen.restoration.restorer import Restorer
from gpen.version import __version__

UNSUPPORTED = "unsupported"  # a file of a folder that is not a photo or video that can be restored
STATUS_TEXT = {
    "restored": "restored", "no face": "without a detected face (for aligned faces add --aligned)",
    "skipped": "skipped, the output exists (replace it with --overwrite)", "failed": "failed",
    UNSUPPORTED: "of other formats",
}  # fmt: skip


@dataclass(frozen=True)
class Restore:
    """Restore the faces of photos and videos.

    The exit status is 1 if a file failed, 2 after a user error.
    """

    # one or more photos, videos, folders, or quoted patterns with * or **
    paths: Annotated[Positional[tuple[str, ...]], arg(metavar="PATH...", help_behavior_hint="(required)")]
    out: Folder  # output folder; names and formats are those of the inputs
    model: Model = None  # name or file of a model; None: the default model of the task
    strength: float = 1.0  # weight of the network output, 0 to 1
    engine: EngineName = "torch"  # inference engine
    aligned: Flag = False  # each image is one square FFHQ-aligned face
    # alignment of the faces of photos and videos: as FFHQ (eyes 126 px apart at 512 px) or as the authors' program (107 px);
    # None: that of the model, gpen for the published models, ffhq for others
    alignment: Annotated[AlignmentName | None, arg(metavar="{ffhq,gpen}")] = None
    only: Annotated[Literal["largest"] | None, arg(metavar="largest")] = None  # restore the largest face only; None: all faces
    upscale: float = 1.0  # upscaling factor of the whole photo, 1 to 16
    background: OptionalFile = None  # super-resolution model for the background, loaded with spandrel; None: bicubic
    detector: Annotated[str, arg(metavar="NAME")] = "mtcnn"  # face detector: mtcnn, yunet, or the .onnx file of a YuNet
    recursive: Flag = False  # search subfolders
    overwrite: Flag = False  # replace existing files in the output folder instead of skipping them
    jobs: int = 1  # number of threads for reading, face detection and writing, at least 1
    report: OptionalFile = None  # JSON file for boxes, landmarks, scores and times of all files; None: no report
    task: TaskName = "restore"  # task of the model; all except restore need aligned faces
    no_provenance: Flag = (
        False  # do not mark restored files as partly generated (IPTC DigitalSourceType, boxes, model) in XMP or tags
    )
    mask: Annotated[Path | None, arg(metavar="PATH")] = (
        None  # for inpaint: mask, white where to fill in, or a folder with NAME.png for each image
    )

    def run(self) -> None:
        """Restore the files, print how many, and exit with status 1 if one failed."""
        if not self.paths:
            raise GPENError("There is nothing to restore: name photos, videos or folders.")
        chosen = dataclasses.asdict(self) | {"aligned": self.aligned or self.task != "restore"}  # others take no whole photos
        names = [field.name for field in dataclasses.fields(Settings) if field.name in chosen]
        settings = Settings(**{name: chosen[name] for name in names})
        if self.alignment and settings.aligned:
            raise GPENError("Faces that are aligned already are not aligned again: leave out --alignment.")
        found = find_files(self.paths, self.out, self.recursive)
        make_folder(self.out)
        path = tasks.find_model(self.task, self.model)
        net = checkpoints.load(path)
        if not self.no_provenance:
            settings = dataclasses.replace(settings, provenance=Provenance(path.stem, file_hash(path)))
        restorer = Restorer(net, engine=self.engine, alignment=self.alignment)
        make_detector = partial(load_detector, self.detector)
        if not settings.aligned:
            make_detector()  # fail once here, not for every file
        rows: list[dict] = [
            {"input": str(path), "output": None, "status": UNSUPPORTED, "reason": reason}
            for path, reason in found.skipped.items()
        ]
        try:
            for row in restore_files(found.files, restorer, make_detector, settings):
                rows.append(row)
        finally:  # also write the report of an interrupted run
            if self.report and rows:
                header = {name: value for name, value in chosen.items() if name not in ("report", "paths")}
                header["alignment"] = None if settings.aligned else restorer.alignment
                write_report(self.report, {"gpen": __version__, **header}, rows)
        count = Counter(row["status"] for row in rows)
        print(", ".join(f"{count[status]} {text}" for status, text in STATUS_TEXT.items() if count[status]))
        for path, reason in found.skipped.items():
            if is_media(path):
                print(f"skipped: {path}: {reason}.", file=sys.stderr)
        if count["failed"]:
            sys.exit(1)


def main(args: list[str]) -> None:
    """Run `gpen restore` with these arguments."""
    parse(Restore, args, "gpen restore").run()
