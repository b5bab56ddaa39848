"""Frames and other packets of a video: choice of the video stream, timing, damage, interlacing, changes of size, early end."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from gpen.errors import GPENError

if TYPE_CHECKING:  # PyAV is an optional dependency
    import av

BT709, UNSPECIFIED, BT601 = 1, 2, 5  # codes of matrix coefficients (ITU-T H.273, 8.3)
LIMITED, FULL = 1, 2  # AVColorRange of FFmpeg
SD_HEIGHT = 576  # px; players assume BT.601 for unmarked videos up to this height, BT.709 above
STATED = {"mp4", "matroska", "avi", "flv"}  # formats of FFmpeg that state their duration; for others it is estimated
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")  # GUID of the file properties object (ASF specification, 3.2)
END_TOLERANCE = 0.01, 1.0  # of the duration, s: the smaller one, plus two frames, may be missing at the end of a whole video


class VideoInput:
    """Iterates over (frame, upright image uint8 RGB [h, w, 3]) of the main video stream; all images have the size of the first.

    The pts of a frame are in units of its time_base. Packets of the streams in `copied` are collected in `waiting`.
    Counted: damaged (packets that cannot be decoded), dropped (frames that the file marks as missing, as in a tape capture),
    resized (frames of another size, which are fitted into that of the first with black bars), deinterlaced.
    """

    def __init__(self, reader: av.container.InputContainer, path: Path):
        pictures = [stream for stream in reader.streams.video if not is_cover(stream)]
        if not pictures:
            raise GPENError(f"{path} has no video stream: give a video file.")
        self.reader, self.path, self.stream = reader, path, pictures[0]
        self.stream.thread_type = "AUTO"
        self.rate = Fraction(self.stream.average_rate or self.stream.guessed_rate or 25)
        self.copied: set[int] = set()
        self.waiting: list[av.Packet] = []
        self.damaged = self.dropped = self.resized = self.deinterlaced = 0
        self.duration = stated_duration(reader, self.stream, path)
        self.end, self.broken = 0.0, False  # s, of the last packet that is there; whether reading ended with an error
        self._slots: deque[int] = deque()  # times of the frames of an AVI, which has no timestamps
        self._last_slot: int | None = None
        self._filter: _Deinterlacer | None = None

    def __iter__(self) -> Iterator[tuple[av.VideoFrame, np.ndarray]]:
        size: tuple[int, int] | None = None
        for frame in self._progressive():
            if frame.colorspace == UNSPECIFIED and not frame.format.is_rgb:
                frame.colorspace = BT709 if frame.height > SD_HEIGHT else BT601
            image = self.pixels(frame, "rgb24")
            size = size or (image.shape[0], image.shape[1])
            self.resized += image.shape[:2] != size
            yield frame, fit(image, size)

    def pixels(self, frame: av.VideoFrame, form: str) -> np.ndarray:
        """Upright pixels [h, w, 3] of a frame in the format "rgb24" (uint8) or "rgb48le" (uint16)."""
        array = frame.to_ndarray(format=form, src_color_range=colour_range(frame), dst_color_range=FULL)
        return np.ascontiguousarray(np.rot90(array, frame.rotation // 90 % 4))

    @property
    def missing_end(self) -> float:
        """Seconds that are missing at the end according to the duration that the file states; 0 if it is whole."""
        missing = self.duration - self.end
        part, longest = END_TOLERANCE
        allowed = min(part * self.duration, longest) + 2 / float(self.rate)
        return missing if missing > allowed or self.broken and missing > 0 else 0.0

    def _progressive(self) -> Iterator[av.VideoFrame]:
        for frame in self._frames():
            if frame.interlaced_frame:
                self.deinterlaced += 1
            if frame.interlaced_frame or self._filter:  # all later frames too, so that they stay in order
                if self._filter and not self._filter.takes(frame):
                    yield from self._filter.flush()
                    self._filter = None
                self._filter = self._filter or _Deinterlacer(frame)
                yield from self._filter(frame)
            else:
                yield frame
        if self._filter:
            yield from self._filter.flush()

    def _frames(self) -> Iterator[av.VideoFrame]:
        """Decoded frames with their times."""
        for packet in self._packets():
            if packet is not None and packet.stream.index != self.stream.index:
                if packet.stream.index in self.copied and packet.size:
                    if packet.dts is None:  # as of a cover
                        packet.dts = packet.pts = packet.pts or 0
                    self.waiting.append(packet)
                continue
            yield from self._decoded(packet)

    def _packets(self) -> Iterator[av.Packet | None]:
        """All packets, then None; an error of the container ends them."""
        import av

        first = min(self.reader.start_time or 0, 0) / 1e6  # the duration that a Matroska file states may start at 0 or later
        try:
            for packet in self.reader.demux():
                if packet.size and packet.pts is not None and not packet.is_corrupt and packet.time_base:
                    last = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                    self.end = max(self.end, last - first)
                if packet.size or packet.dts is not None:
                    yield packet
        except av.FFmpegError:
            self.broken = True
        yield None

    def _decoded(self, packet: av.Packet | None) -> Iterator[av.VideoFrame]:
        import av

        slots = self.reader.format.name == "avi"
        if packet is not None and slots and packet.dts is not None:
            if self._last_slot is not None:
                self.dropped += max(packet.dts - self._last_slot - 1, 0)
            self._last_slot = packet.dts
            self._slots.append(packet.dts)
        try:
            frames = cast("list[av.VideoFrame]", self.stream.decode(packet))
        except (av.error.InvalidDataError, av.error.EOFError):
            frames = []
            if packet is not None:
                self.damaged += 1
                if self._slots:
                    self._slots.pop()
        for frame in frames:
            if slots and self._slots:
                frame.pts = self._slots.popleft()
            frame.time_base = cast(Fraction, self.stream.time_base)
            yield frame


class _Deinterlacer:
    """Deinterlaces frames marked as interlaced, one frame each (filter bwdif of FFmpeg); others pass unchanged, in order."""

    def __init__(self, frame: av.VideoFrame):
        import av.filter

        self.kind = _kind(frame)
        graph = av.filter.Graph()
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=cast(Fraction, frame.time_base)
        )
        filtered = graph.add("bwdif", "mode=send_frame:deint=interlaced")
        sink = graph.add("buffersink")
        source.link_to(filtered)
        filtered.link_to(sink)
        graph.configure()
        self.graph = graph

    def takes(self, frame: av.VideoFrame) -> bool:
        """Whether the frame has the size and format of the first."""
        return _kind(frame) == self.kind

    def __call__(self, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        import av

        self.graph.push(frame)
        while True:
            try:
                yield cast("av.VideoFrame", self.graph.pull())
            except (av.error.BlockingIOError, av.error.EOFError):
                return

    def flush(self) -> Iterator[av.VideoFrame]:
        """The remaining frames."""
        return self(None)


def _kind(frame: av.VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name


def stated_duration(reader: av.container.InputContainer, stream: av.VideoStream, path: Path) -> float:
    """Duration in s that the file states, 0 if it does not; FFmpeg estimates that of an incomplete AVI or ASF from its size."""
    formats = set(reader.format.name.split(","))
    duration = float(reader.duration / 1e6) if reader.duration and formats & STATED else 0.0
    if "avi" in formats and stream.average_rate:
        return max(duration, stream.frames / float(stream.average_rate))
    if "asf" in formats:
        with path.open("rb") as file:
            start = file.read(1 << 16)
        at = start.find(ASF_PROPERTIES)
        if 0 <= at <= len(start) - 92 and not start[at + 88] & 1:  # 1: a broadcast, which has no duration
            played, preroll = (struct.unpack_from("<Q", start, at + place)[0] for place in (64, 80))  # 100 ns, ms
            duration = max(played / 1e7 - preroll / 1e3, 0.0)
    return duration


def is_cover(stream: av.stream.Stream) -> bool:
    """Whether a video stream is one picture, such as a cover."""
    return bool(stream.disposition.value & 0x400)  # AV_DISPOSITION_ATTACHED_PIC


def colour_range(frame: av.VideoFrame) -> int:
    """LIMITED or FULL; RGB and grey are full, and YUV is limited unless it is marked."""
    full = frame.format.is_rgb or frame.format.name.startswith(("yuvj", "gray")) or frame.color_range == FULL
    return FULL if full else LIMITED


def fit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image [h, w, 3] into `size` (height, width) with its proportions, centred between black bars."""
    h, w = image.shape[:2]
    if (h, w) == size:
        return image
    scale = min(size[0] / h, size[1] / w)
    new = max(1, round(h * scale)), max(1, round(w * scale))
    result = np.zeros((*size, 3), image.dtype)
    top, left = (size[0] - new[0]) // 2, (size[1] - new[1]) // 2
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    result[top : top + new[0], left : left + new[1]] = cv2.resize(image, new[::-1], interpolation=way)
    return result
