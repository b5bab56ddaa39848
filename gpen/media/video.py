"""Restoration of the faces of a video, frame by frame in constant memory.

The frames are encoded with the codec of the container (see `video_output.CONTAINERS`), in 10 bits where the source has more than
8. Unchanged frames are encoded from the decoded frame directly. Audio, subtitles, attachments, chapters and tags are copied.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gpen.errors import GPENError
from gpen.faces.alignment import Face
from gpen.faces.detection import Detector
from gpen.faces.tracking import Flicker, Smoothing, Tracker
from gpen.images import replace_atomically
from gpen.media.prefetch import per_thread, prefetch_map
from gpen.media.properties import compare
from gpen.media.provenance import Provenance, Region, append_video_xmp, marked, other_boxes, read_video_xmp, source_type
from gpen.media.video_input import VideoInput
from gpen.media.video_output import CONTAINERS, ISO_MEDIA, VideoOutput, muxer_options
from gpen.media.video_properties import describe
from gpen.optional import import_optional

HOLDS_XMP = (*ISO_MEDIA, "avi")  # containers with a place for XMP


def restore_video(
    source: Path,
    target: Path,
    restore: Callable[[np.ndarray, list[Face]], np.ndarray],
    make_detector: Callable[[], Detector],
    only: str | None = None,
    jobs: int = 1,
    smoothing: Smoothing | None = Smoothing(),  # noqa: B008 - frozen
    progress: bool = True,
    provenance: Provenance | None = None,
) -> dict:
    """Restore the faces of the video `source` and write it to `target` atomically; it is copied if no frame was changed.

    restore: (frame, uint8 RGB [h, w, 3], faces in it) -> the restored frame, of the same size or enlarged. make_detector: called
    once in each of `jobs` threads, which detect faces in advance. only: "largest" restores one face, the largest when it first
    appears, for as long as it is tracked. smoothing: of the landmarks; None: none. progress: show a progress bar. provenance:
    written as XMP (MP4, MOV, 3GP) or as tags, if the container has a place for them.

    Returns frames, faces (number of tracks), tracks (of each face: first and last, its time in s, and box, which holds it in all
    frames, in px of the upright frame), damaged (packets that could not be decoded), dropped (frames that the file marks as
    missing; the others keep their time), flicker_before and flicker_after (see `tracking.flicker`, averaged over all faces), and
    properties (see `properties.compare`; if it was changed).

    Raises GPENError if the file is not a readable video, and if it ends before the duration that it states: what there is of it
    is restored to NAME.partial.SUFFIX in place of `target`, which is left as it was.
    """
    av = import_optional("av", "video", "Video restoration")
    container = CONTAINERS[target.suffix.lower()]
    marks_tags = provenance is not None and container.name not in HOLDS_XMP
    try:
        with replace_atomically(target) as partial, av.open(f"file:{source}") as reader:
            frames = VideoInput(reader, source)
            with av.open(f"file:{partial}", "w", format=container.name, options=muxer_options(container, reader)) as writer:
                output = VideoOutput(frames, writer, container, provenance.tags() if provenance and marks_tags else {})
                report = _restore_frames(frames, output, restore, make_detector, only, jobs, smoothing, progress)
                output.close()
            if not report["frames"]:
                raise GPENError(f"{source} has no frame that can be decoded: it may be truncated.")
            if output.changed:
                if provenance:
                    faces = [Region(*track["box"]).scaled(output.upscale) for track in report["tracks"]]
                    times = [{"first": track["first"], "last": track["last"]} for track in report["tracks"]]
                    faces = [face._replace(**time) for face, time in zip(faces, times, strict=True)]
                    provenance = replace(provenance, faces=faces)
                report["properties"] = _finish(source, partial, frames, container.name in HOLDS_XMP, provenance)
            else:
                shutil.copyfile(source, partial)
            if frames.missing_end:
                raise _incomplete(frames, partial, target)
        return report
    except av.FFmpegError as error:
        reason = error.strerror or error
        raise GPENError(f"{source} cannot be read or written as a video ({reason}): it may be truncated or damaged.") from None


def _incomplete(frames: VideoInput, partial: Path, target: Path) -> GPENError:
    """Keep the restored part of a video that ends early under another name, and return the error for it."""
    kept = target.with_name(f"{target.stem}.partial{target.suffix}")
    with replace_atomically(kept) as moved:
        partial.replace(moved)
    return GPENError(
        f"{frames.path} ends after {frames.end:.2f} of {frames.duration:.2f} s: it may be truncated. "
        f"The part that is there is restored in {kept}; copy the whole file and restore it again."
    )


def _finish(source: Path, result: Path, frames: VideoInput, holds_xmp: bool, provenance: Provenance | None) -> dict[str, str]:
    """Write the XMP of the result, and return what became of each property of the source."""
    xmp = read_video_xmp(source) if holds_xmp else b""
    before, after = describe(source) | other_boxes(source), describe(result)
    new = marked(xmp, provenance)
    written = bool(new) and holds_xmp and append_video_xmp(result, new)
    applied = {"provenance": "none"}
    if provenance and written:
        applied["provenance"] = "added to XMP"
    elif provenance:
        written_tags = "tag digitalsourcetype" in after
        applied["provenance"] = (
            "added to the tags, without the faces: tags are written before the first frame"
            if written_tags
            else "none: the container has no place for it"
        )
    if xmp:
        applied["XMP"] = f"changed: {len(xmp)} bytes to {len(new)} bytes" if written else f"dropped: {len(xmp)} bytes"
        if kind := source_type(xmp):
            applied["digital source type"] = f"changed: {kind} to {source_type(new) or 'none'}"
    if "rotation" in before:
        applied["rotation"] = f"applied to the pixels: {before['rotation']}"
    if before["bits per channel"] == after["bits per channel"] != "8":
        applied["bits per channel"] = f"kept: {after['bits per channel']} (8 in restored faces)"
    if frames.deinterlaced:
        applied["scan"] = f"changed: {frames.deinterlaced} interlaced frames deinterlaced"
    if frames.resized:
        applied["frames of another size"] = f"changed: {frames.resized} fitted into the size of the first"
    if frames.dropped:
        applied["missing frames"] = f"kept: {frames.dropped}, the others keep their time"
    return compare(before, after, applied)


def _restore_frames(
    video: VideoInput,
    output: VideoOutput,
    restore: Callable[[np.ndarray, list[Face]], np.ndarray],
    make_detector: Callable[[], Detector],
    only: str | None,
    jobs: int,
    smoothing: Smoothing | None,
    progress: bool,
) -> dict:
    """Main loop of `restore_video`, with the same arguments and result."""
    tracker, before, after = Tracker(float(video.rate), smoothing), Flicker(), Flicker()
    detect, chosen, frames = per_thread(lambda: functools.partial(make_detector(), rotated=None)), None, 0
    regions: dict[int, dict] = {}  # by number of the track
    with ThreadPoolExecutor(jobs) as pool, _bar(video.stream.frames or None, video.path.name, progress) as bar:
        for frame, image, faces in prefetch_map(pool, lambda item: (*item, detect(item[1])), video, 2 * jobs):
            tracks = tracker(image, faces)
            if only == "largest" and tracks:
                chosen = next((track for track in tracks if chosen and track.number == chosen.number), tracks[0])
                tracks = [chosen]
            result = restore(image, [track.face() for track in tracks])
            upscale = result.shape[1] / image.shape[1]
            time = frames / float(video.rate) if frame.time is None else frame.time  # s
            for track in tracks:
                _extend(regions, track.number, track.face().box, time)
                points = track.points[2:]
                before.add(track.number, image, points)
                after.add(track.number, result, points * upscale + (upscale - 1) / 2)
            before.keep(track.number for track in tracks)
            after.keep(track.number for track in tracks)
            output.write(frame, image, result)
            frames += 1
            bar.update()
    return {
        "frames": frames, "faces": tracker.count, "tracks": list(regions.values()),
        "damaged": video.damaged, "dropped": video.dropped,
        "flicker_before": round(before.mean, 3), "flicker_after": round(after.mean, 3),
    }  # fmt: skip


def _extend(regions: dict[int, dict], number: int, box: tuple[float, float, float, float], time: float) -> None:
    """Extend the entry of a track by a box (x0, y0, x1, y1) in px at a time in s."""
    x0, y0, x1, y1 = (round(float(value), 2) for value in box)
    if number in regions:
        a0, b0, a1, b1 = regions[number]["box"]
        x0, y0, x1, y1 = min(a0, x0), min(b0, y0), max(a1, x1), max(b1, y1)
    region = regions.setdefault(number, {"first": round(time, 3)})
    region |= {"last": round(time, 3), "box": [x0, y0, x1, y1]}


def _bar(total: int | None, name: str, progress: bool) -> tqdm:
    return tqdm(total=total, desc=name, unit="frame", leave=False, disable=None if progress else True)
