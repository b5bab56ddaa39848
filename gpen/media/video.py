"""Restoration of the faces of a video, frame by frame in constant memory; audio is copied without re-encoding.

The video is encoded in 8 bits with H.264, or VP9 in .webm. Unchanged frames are encoded from the decoded frame directly.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from tqdm import tqdm

from gpen.errors import GPENError
from gpen.faces.alignment import Face
from gpen.faces.detection import Detector
from gpen.faces.tracking import Flicker, Smoothing, Tracker
from gpen.images import replace_atomically
from gpen.media.prefetch import per_thread, prefetch_map
from gpen.optional import import_optional

if TYPE_CHECKING:  # PyAV is an optional dependency
    import av

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".avi": "avi"}
H264, VP9 = ("libx264", {"crf": "16"}), ("libvpx-vp9", {"crf": "24", "b": "0"})  # visually lossless


def restore_video(
    source: Path,
    target: Path,
    restore: Callable[[np.ndarray, list[Face]], np.ndarray],
    make_detector: Callable[[], Detector],
    only: str | None = None,
    jobs: int = 1,
    smoothing: Smoothing | None = Smoothing(),  # noqa: B008 - frozen
    progress: bool = True,
) -> dict:
    """Restore the faces of the video `source` and write it to `target` atomically.

    restore: (frame, uint8 RGB [h, w, 3], faces in it) -> the restored frame, of the same size or enlarged. make_detector: called
    once in each of `jobs` threads, which detect faces in advance. only: "largest" restores one face, the largest when it first
    appears, for as long as it is tracked. smoothing: of the landmarks; None: none. progress: show a progress bar.
    Returns frames, faces (number of tracks), damaged (packets that could not be decoded), flicker_before and flicker_after (see
    `tracking.flicker`, averaged over all faces). Raises GPENError if the file is not a readable video.
    """
    av = import_optional("av", "video", "Video restoration")
    try:
        with replace_atomically(target) as partial, av.open(f"file:{source}") as reader:
            if not reader.streams.video:
                raise GPENError(f"{source} has no video stream: give a video file.")
            with av.open(f"file:{partial}", "w", format=CONTAINERS[target.suffix.lower()]) as writer:
                video = _Video(reader, writer)
                report = _restore_frames(video, restore, make_detector, only, jobs, smoothing, progress)
                video.close()
            if not report["frames"]:
                raise GPENError(f"{source} has no frame that can be decoded: it may be truncated.")
        return report
    except av.FFmpegError as error:
        raise GPENError(f"{source} cannot be read or written as a video ({error.strerror or error}): check the file.") from None


def _restore_frames(
    video: _Video,
    restore: Callable[[np.ndarray, list[Face]], np.ndarray],
    make_detector: Callable[[], Detector],
    only: str | None,
    jobs: int,
    smoothing: Smoothing | None,
    progress: bool,
) -> dict:
    """Main loop of `restore_video`, with the same arguments and result."""
    tracker, before, after = Tracker(video.rate, smoothing), Flicker(), Flicker()
    detect, chosen, frames = per_thread(lambda: functools.partial(make_detector(), rotated=None)), None, 0
    with ThreadPoolExecutor(jobs) as pool, _bar(video.length, video.name, progress) as bar:
        for frame, image, faces in prefetch_map(pool, lambda item: (*item, detect(item[1])), video, 2 * jobs):
            tracks = tracker(image, faces)
            if only == "largest" and tracks:
                chosen = next((track for track in tracks if chosen and track.number == chosen.number), tracks[0])
                tracks = [chosen]
            result = restore(image, [track.face() for track in tracks])
            upscale = result.shape[1] / image.shape[1]
            for track in tracks:
                points = track.points[2:]
                before.add(track.number, image, points)
                after.add(track.number, result, points * upscale + (upscale - 1) / 2)
            before.keep(track.number for track in tracks)
            after.keep(track.number for track in tracks)
            video.write(frame, image, result)
            frames += 1
            bar.update()
    return {
        "frames": frames, "faces": tracker.count, "damaged": video.damaged,
        "flicker_before": round(before.mean, 3), "flicker_after": round(after.mean, 3),
    }  # fmt: skip


class _Video:
    """Reads upright frames, (frame, uint8 RGB [h, w, 3]), from one container; writes frames and the audio to another."""

    def __init__(self, reader: av.container.InputContainer, writer: av.container.OutputContainer):
        self.reader, self.writer = reader, writer
        self.input = reader.streams.video[0]
        self.input.thread_type = "AUTO"
        self.rate = float(self.input.average_rate or 25)
        self.length, self.name = self.input.frames or None, Path(reader.name).name
        try:
            self.audio = {stream.index: writer.add_stream_from_template(stream) for stream in reader.streams.audio}
        except ValueError as error:
            raise GPENError(f"The audio of {self.name} cannot be copied ({error}): convert it to .mkv first.") from None
        self.waiting: list[av.Packet] = []  # audio packets read before the next frame is written
        self.output: av.VideoStream | None = None
        self.last, self.damaged = -1, 0
        writer.metadata.update(reader.metadata)

    def __iter__(self) -> Iterator[tuple[av.VideoFrame, np.ndarray]]:
        import av

        for packet in self.reader.demux(self.input, *self.reader.streams.audio):
            if packet.stream.index in self.audio:
                if packet.dts is not None:
                    packet.stream = self.audio[packet.stream.index]
                    self.waiting.append(packet)
                continue
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                self.damaged += 1
                continue
            for frame in cast("list[av.VideoFrame]", frames):
                yield frame, np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90 % 4))

    def write(self, frame: av.VideoFrame, image: np.ndarray, result: np.ndarray) -> None:
        """Encode `result` with the timing of `frame`, or `frame` itself if `result` equals its decoded `image`."""
        import av

        self.output = self.output or self._open(frame, *result.shape[:2])
        new = frame
        if result.shape != image.shape or frame.rotation or not np.array_equal(result, image):
            new = av.VideoFrame.from_ndarray(result, format="rgb24")
            new.colorspace, new.color_range = frame.colorspace, frame.color_range
        new = new.reformat(format=self.output.pix_fmt, dst_colorspace=frame.colorspace)
        time = None if self.reader.format.name == "avi" else frame.pts  # AVI has no timestamps
        self.last = self.last + 1 if time is None else max(self.last + 1, time)
        new.pts, new.time_base, new.pict_type = self.last, self.input.time_base, 0  # the encoder chooses the key frames
        self._mux(self.output.encode(new))

    def close(self) -> None:
        """Flush the encoder."""
        self._mux(self.output.encode() if self.output else [])

    def _open(self, frame: av.VideoFrame, h: int, w: int) -> av.VideoStream:
        codec, options = VP9 if self.writer.format.name == "webm" else H264
        if self.writer.format.name == "avi":
            options = options | {"bf": "0"}  # no B-frames: AVI stores frames in display order
        stream = cast("av.VideoStream", self.writer.add_stream(codec, rate=self.input.average_rate or 25, options=options))
        stream.width, stream.height = w, h
        stream.pix_fmt = "yuv420p" if h % 2 == w % 2 == 0 else "yuv444p"  # yuv420p needs even sides
        encoder = stream.codec_context
        encoder.time_base = cast(Fraction, self.input.time_base)
        encoder.colorspace, encoder.color_range = frame.colorspace, frame.color_range
        encoder.color_primaries, encoder.color_trc = frame.color_primaries, frame.color_trc
        return stream

    def _mux(self, packets: Iterable[av.Packet]) -> None:
        self.writer.mux([*packets])
        self.writer.mux(self.waiting)
        self.waiting = []


def _bar(total: int | None, name: str, progress: bool) -> tqdm:
    return tqdm(total=total, desc=name, unit="frame", leave=False, disable=None if progress else True)
