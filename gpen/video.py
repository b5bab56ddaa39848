"""A video's faces restored frame by frame, the sound copied packet by packet, in memory that does not grow with the length.

The film is encoded again, in 8 bits: H.264, or VP9 in .webm. Frames in which nothing changed are passed on as they were decoded.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from tqdm import tqdm

from .ahead import ahead, one_a_thread
from .errors import GPENError
from .faces import Detector, Face
from .tracking import Flicker, Smoothing, Tracker

if TYPE_CHECKING:  # PyAV is an optional import
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
    """Restore the faces of the film `source` into `target`, which appears whole or not at all.

    restore: a frame, uint8 RGB [h, w, 3], and the faces in it -> the restored frame, of that size or enlarged; `Restorer.photo`
    with its settings. make_detector: called in each of `jobs` threads, which search ahead. only: "largest" keeps to the face that
    is largest when it comes, for as long as it stays.
    Returns frames, faces (different ones, as far as they could be followed), damaged (packets that could not be decoded),
    and flicker_before and flicker_after, each as `tracking.flicker` of all faces. Raises GPENError for what is no video.
    """
    try:
        import av
    except ImportError:
        raise GPENError("Videos need PyAV: pip install av.") from None
    partial = target.with_name(f"{target.stem}.partial{target.suffix}")
    try:
        with av.open(str(source)) as reader:
            if not reader.streams.video:
                raise GPENError(f"{source} holds no video: give a film, or only its sound's place.")
            with av.open(str(partial), "w", format=CONTAINERS[target.suffix.lower()]) as writer:
                film = _Film(reader, writer)
                report = _restore_frames(film, restore, make_detector, only, jobs, smoothing, progress)
                film.close()
        if not report["frames"]:
            raise GPENError(f"{source} holds no frame that can be decoded: it may be cut off.")
        os.replace(partial, target)
        return report
    except av.FFmpegError as error:
        raise GPENError(f"{source} cannot be read or written as a video ({error.strerror or error}).") from None
    finally:
        partial.unlink(missing_ok=True)


def _restore_frames(film, restore, make_detector, only, jobs, smoothing, progress) -> dict:
    """The loop of `restore_video`; its arguments."""
    tracker, before, after = Tracker(film.rate, smoothing), Flicker(), Flicker()
    detect, chosen, frames = one_a_thread(lambda: functools.partial(make_detector(), turned=None)), None, 0
    with ThreadPoolExecutor(jobs) as pool, _bar(film.length, film.name, progress) as bar:
        for frame, image, faces in ahead(pool, lambda item: (*item, detect(item[1])), film, 2 * jobs):
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
            film.write(frame, image, result)
            frames += 1
            bar.update()
    return {
        "frames": frames, "faces": tracker.count, "damaged": film.damaged,
        "flicker_before": round(before.mean, 3), "flicker_after": round(after.mean, 3),
    }  # fmt: skip


class _Film:
    """Frames out of one container, upright, (frame, uint8 RGB [h, w, 3]) each; frames and the sound into another."""

    def __init__(self, reader: av.container.InputContainer, writer: av.container.OutputContainer):
        self.reader, self.writer = reader, writer
        self.input = reader.streams.video[0]
        self.input.thread_type = "AUTO"
        self.rate = float(self.input.average_rate or 25)
        self.length, self.name = self.input.frames or None, Path(reader.name).name
        try:
            self.sound = {stream.index: writer.add_stream_from_template(stream) for stream in reader.streams.audio}
        except ValueError as error:
            raise GPENError(f"The sound of {self.name} cannot be copied ({error}): save it as .mkv first.") from None
        self.waiting: list[av.Packet] = []  # sound that is read before the first frame is written
        self.output: av.VideoStream | None = None
        self.last, self.damaged = -1, 0
        writer.metadata.update(reader.metadata)

    def __iter__(self) -> Iterator[tuple[av.VideoFrame, np.ndarray]]:
        import av

        for packet in self.reader.demux(self.input, *self.reader.streams.audio):
            if packet.stream.index in self.sound:
                if packet.dts is not None:
                    packet.stream = self.sound[packet.stream.index]
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
        """`result` in the place of `frame`, whose picture was `image`; where nothing changed the frame itself."""
        import av

        self.output = self.output or self._open(frame, *result.shape[:2])
        new = frame
        if result.shape != image.shape or frame.rotation or not np.array_equal(result, image):
            new = av.VideoFrame.from_ndarray(result, format="rgb24")
            new.colorspace, new.color_range = frame.colorspace, frame.color_range
        new = new.reformat(format=self.output.pix_fmt, dst_colorspace=frame.colorspace)
        time = None if self.reader.format.name == "avi" else frame.pts  # an AVI has no times, only an order
        self.last = self.last + 1 if time is None else max(self.last + 1, time)
        new.pts, new.time_base, new.pict_type = self.last, self.input.time_base, 0  # the coder chooses its own key frames
        self._mux(self.output.encode(new))

    def close(self) -> None:
        self._mux(self.output.encode() if self.output else [])

    def _open(self, frame: av.VideoFrame, h: int, w: int) -> av.VideoStream:
        codec, options = VP9 if self.writer.format.name == "webm" else H264
        if self.writer.format.name == "avi":
            options = options | {"bf": "0"}  # frames in the order of showing
        stream = cast("av.VideoStream", self.writer.add_stream(codec, rate=self.input.average_rate or 25, options=options))
        stream.width, stream.height = w, h
        stream.pix_fmt = "yuv420p" if h % 2 == w % 2 == 0 else "yuv444p"  # the former halves the chroma's sides
        coder = stream.codec_context
        coder.time_base = cast(Fraction, self.input.time_base)
        coder.colorspace, coder.color_range = frame.colorspace, frame.color_range
        coder.color_primaries, coder.color_trc = frame.color_primaries, frame.color_trc
        return stream

    def _mux(self, packets: Iterable[av.Packet]) -> None:
        self.writer.mux([*packets])
        self.writer.mux(self.waiting)
        self.waiting = []


def _bar(total: int | None, name: str, progress: bool) -> tqdm:
    return tqdm(total=total, desc=name, unit="frame", leave=False, disable=None if progress else True)
