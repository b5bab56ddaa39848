"""Encoding of the frames of a restored video into the container of its suffix, and copying of its other streams."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from gpen.errors import GPENError
from gpen.images import add_8_bit_change
from gpen.media.provenance import GENERATED
from gpen.media.video_input import BT709, FULL, LIMITED, UNSPECIFIED, VideoInput, colour_range, fit, is_cover

if TYPE_CHECKING:  # PyAV is an optional dependency
    import av
    from av.buffer import Buffer


@dataclass(frozen=True)
class Encoder:
    """A video encoder of FFmpeg with its options, and what it can store."""

    name: str
    options: dict[str, str]
    bits: int = 8
    full_range: bool = True  # a mark of pixels with full range
    aspect_ratio: bool = True  # pixels that are not square
    odd_sizes: str = "yuv444p"  # pixel format for sizes that are not even
    rates: frozenset[Fraction] = frozenset()  # frame rates that it can store; empty: any times of frames


_FIXED_QUALITY = {"qmin": "1", "qmax": "3", "b": "100M"}  # quantizers of MPEG-2 and WMV, with no limit of the bit rate in effect
H264 = Encoder("libx264", {"crf": "16"})  # visually lossless, as are the others
HEVC = Encoder("libx265", {"crf": "15", "x265-params": "log-level=none"}, bits=10)
VP9 = Encoder("libvpx-vp9", {"crf": "24", "b": "0"}, aspect_ratio=False, odd_sizes="yuv420p")
WMV = Encoder("wmv2", _FIXED_QUALITY, full_range=False, aspect_ratio=False, odd_sizes="yuv420p")
NTSC = Fraction(1000, 1001)
MPEG2_RATES = frozenset([*map(Fraction, (24, 25, 30, 50, 60)), 24 * NTSC, 30 * NTSC, 60 * NTSC])  # ISO/IEC 13818-2, 6.3.3
MPEG2 = Encoder("mpeg2video", _FIXED_QUALITY, full_range=False, odd_sizes="yuv420p", rates=MPEG2_RATES)


@dataclass(frozen=True)
class Container:
    """A container of FFmpeg with the encoder of 8-bit video and, where it has one, that of video with more bits."""

    name: str
    encoder: Encoder = H264
    deep: Encoder | None = None
    options: dict[str, str] = field(default_factory=dict)


ISO_MEDIA = ("mp4", "mov", "3gp")  # containers of the ISO base media format
FRAME_DURATION = 1 << 8  # AV_CODEC_FLAG_FRAME_DURATION: the duration of a packet is that of its frame
_M2TS = {"mpegts_m2ts_mode": "1"}
CONTAINERS = {  # by suffix
    ".mp4": Container("mp4", deep=HEVC), ".m4v": Container("mp4", deep=HEVC), ".mov": Container("mov", deep=HEVC),
    ".mkv": Container("matroska", deep=HEVC), ".webm": Container("webm", VP9), ".avi": Container("avi"),
    ".ts": Container("mpegts", deep=HEVC), ".mts": Container("mpegts", deep=HEVC, options=_M2TS),
    ".m2ts": Container("mpegts", deep=HEVC, options=_M2TS), ".3gp": Container("3gp"), ".flv": Container("flv"),
    ".wmv": Container("asf", WMV), ".mpg": Container("mpeg", MPEG2), ".mpeg": Container("mpeg", MPEG2),
    ".vob": Container("vob", MPEG2),
}  # fmt: skip
_WRITTEN = {  # keys of metadata that the muxer or encoder writes for the new file
    "encoder", "major_brand", "minor_version", "compatible_brands", "software", "duration", "bps", "number_of_frames",
    "number_of_bytes", "_statistics_writing_app", "_statistics_writing_date_utc", "_statistics_tags", "vendor_id",
}  # fmt: skip


_ITUNES = {
    "title", "artist", "album", "album_artist", "composer", "genre", "date", "comment", "copyright", "description", "synopsis",
    "creation_time", "location", "location-eng", "track", "disc", "show", "episode_id", "network", "lyrics", "grouping",
}  # fmt: skip


class VideoOutput:
    """Writes frames, and the other streams, chapters and tags of `source`, to `writer`."""

    def __init__(self, source: VideoInput, writer: av.container.OutputContainer, container: Container, tags: dict[str, str]):
        self.source, self.writer, self.container = source, writer, container
        self.stream: av.VideoStream | None = None
        self.encoder = container.encoder
        self.changed = False  # whether a frame was
        self.upscale = 1.0  # of the results
        self.first = self.last = -1  # times of the first and last frame, in ticks
        self.duration = 0  # of the last frame, in ticks
        self.first_dts: int | None = None  # time of decoding of the first packet, in ticks
        self.tick = cast(Fraction, source.stream.time_base)  # s
        self.streams: dict[int, av.stream.Stream] = {}  # by the index of their source
        source.copied = {stream.index for stream in source.reader.streams if stream.index != source.stream.index}
        writer.metadata.update(restored_tags(source.reader.metadata) | tags)
        writer.set_chapters(source.reader.chapters())

    def write(self, frame: av.VideoFrame, image: np.ndarray, result: np.ndarray) -> None:
        """Encode `result` with the timing of `frame`, or `frame` itself if `result` equals its upright `image`."""
        matrix = BT709 if frame.format.is_rgb else frame.colorspace
        changed = result.shape != image.shape or not np.array_equal(result, image)
        self.changed |= changed
        if self.stream is None:
            self.upscale = result.shape[1] / image.shape[1]
            streams, place = self.source.reader.streams, self.source.stream.index
            self._copy_streams(stream for stream in streams if stream.index < place)
            self.stream = self._open(frame, result, matrix)
            self._copy_streams(stream for stream in streams if stream.index > place)
        result, stream, new = self._square(result, frame), self.stream, frame
        if changed or frame.rotation or (frame.height, frame.width) != result.shape[:2]:
            new = self._new_frame(frame, image, result)
        shown_range = colour_range(frame)
        new = new.reformat(
            format=stream.pix_fmt,
            src_colorspace=new.colorspace,
            dst_colorspace=matrix,
            src_color_range=shown_range if new is frame else FULL,
            dst_color_range=self._range(frame),
        )
        time = self.last + 1 if frame.pts is None else round(frame.pts * cast(Fraction, frame.time_base) / self.tick)
        self.last = max(self.last + 1, time)
        seconds = frame.duration * cast(Fraction, frame.time_base) or 1 / self.source.rate
        new.duration = round(seconds / self.tick)
        new.pts, new.time_base, new.pict_type = self.last, self.tick, 0  # the encoder chooses the key frames
        self.first = self.last if self.first < 0 else self.first
        self.duration = new.duration
        packets = stream.encode(new)
        if packets and self.first_dts is None:
            self.first_dts = packets[0].dts
        self._mux(packets)

    def close(self) -> None:
        """Flush the encoder."""
        packets = self.stream.encode() if self.stream else []
        if packets and self.container.name in ISO_MEDIA:  # it stores times of decoding; only the last packet has a duration
            first = packets[0].dts if self.first_dts is None else self.first_dts
            decoded = cast(int, packets[-1].dts) - cast(int, first)
            packets[-1].duration = max(self.last + self.duration - self.first - decoded, 1)
        self._mux(packets)

    def _new_frame(self, frame: av.VideoFrame, image: np.ndarray, result: np.ndarray) -> av.VideoFrame:
        """A frame of the pixels of `result`; of a frame with more than 8 bits, only what was changed has 8 bits."""
        import av

        if self.encoder.bits == 8:
            return av.VideoFrame.from_ndarray(result, format="rgb24")
        deep = fit(self.source.pixels(frame, "rgb48le"), (image.shape[0], image.shape[1]))  # uint16 [h, w, 3]
        if result.shape != image.shape:
            size = result.shape[1::-1]
            deep, image = (cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC) for pixels in (deep, image))
        return av.VideoFrame.from_ndarray(add_8_bit_change(deep, image, result), format="rgb48le")

    def _square(self, result: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
        """The image with square pixels if the encoder cannot store others."""
        ratio = self._aspect_ratio(frame)
        if self.encoder.aspect_ratio or ratio in (None, 1):
            return result
        width = round(result.shape[1] * float(cast(Fraction, ratio)) / 2) * 2
        return cv2.resize(result, (max(width, 2), len(result)), interpolation=cv2.INTER_CUBIC)

    def _aspect_ratio(self, frame: av.VideoFrame) -> Fraction | None:
        """Width / height of a pixel of the upright image."""
        ratio = self.source.stream.sample_aspect_ratio
        return 1 / ratio if ratio and frame.rotation % 180 else ratio

    def _open(self, frame: av.VideoFrame, result: np.ndarray, matrix: int) -> av.VideoStream:
        """Add the video stream, with the properties of the first frame."""
        deep = max(component.bits for component in frame.format.components) > 8
        self.encoder = encoder = self.container.deep if deep and self.container.deep else self.container.encoder
        options = dict(encoder.options)
        if self.container.name == "avi":
            options["bf"] = "0"  # no B-frames: AVI stores frames in display order
        if encoder is HEVC and (light := hdr_parameters(frame)):
            options["x265-params"] += f":{light}"
        source, rate = self.source.stream, self.source.rate
        if encoder.rates:
            rate = min(encoder.rates, key=lambda value: abs(value - rate))
            if abs(rate - self.source.rate) > rate / 1000:
                raise GPENError(
                    f"The frame rate of {self.source.path}, {float(self.source.rate):.4g} per second, does not exist in MPEG-2: "
                    "convert the video to .mkv first."
                )
            self.tick = 1 / rate
        stream = cast("av.VideoStream", self.writer.add_stream(encoder.name, rate=rate, options=options))
        stream.height, stream.width = self._square(result, frame).shape[:2]
        form = "yuv420p" if stream.height % 2 == stream.width % 2 == 0 else encoder.odd_sizes
        stream.pix_fmt = form + ("10le" if encoder.bits == 10 else "")
        codec = stream.codec_context
        codec.time_base = self.tick
        codec.flags |= FRAME_DURATION
        if encoder.aspect_ratio and (ratio := self._aspect_ratio(frame)):
            codec.sample_aspect_ratio = ratio
        codec.colorspace, codec.color_range = matrix, self._range(frame)
        codec.color_primaries, codec.color_trc = frame.color_primaries, frame.color_trc
        if frame.format.is_rgb:  # players assume BT.709 for the whole of it
            codec.color_primaries = BT709 if frame.color_primaries == UNSPECIFIED else frame.color_primaries
            codec.color_trc = BT709 if frame.color_trc == UNSPECIFIED else frame.color_trc
        if encoder is HEVC and self.container.name in ("mp4", "mov"):
            codec.codec_tag = "hvc1"  # players of Apple need it
        stream.metadata.update(own_tags(source.metadata))
        stream.disposition = source.disposition
        return stream

    def _range(self, frame: av.VideoFrame) -> int:
        """Colour range in the result: that of the frame, but limited for RGB and for encoders that cannot mark it."""
        return LIMITED if frame.format.is_rgb or not self.encoder.full_range else colour_range(frame)

    def _copy_streams(self, streams: Iterable[av.stream.Stream]) -> None:
        """Add streams that are copied; what the container cannot store is left out."""
        for stream in streams:
            try:
                if is_cover(stream):
                    if self.container.name == "matroska":  # stored as an attachment
                        tags, data = stream.metadata, _cover(self.source.path, stream.index)
                        self.writer.add_attachment(tags.get("filename", "cover"), tags.get("mimetype", "image/jpeg"), data)
                        continue
                elif stream.type not in ("audio", "subtitle") and (stream.type, self.container.name) != (
                    "attachment",
                    "matroska",
                ):
                    continue
                copy = self.writer.add_stream_from_template(stream, opaque=True)
            except ValueError as error:
                if stream.type != "audio":
                    continue
                raise GPENError(
                    f"The audio of {self.source.path} cannot be copied ({error}): convert it to .mkv first."
                ) from None
            copy.metadata.update(own_tags(stream.metadata))
            copy.disposition = stream.disposition
            self.streams[stream.index] = copy

    def _mux(self, packets: Iterable[av.Packet]) -> None:
        self.writer.mux([*packets])
        waiting, self.source.waiting = self.source.waiting, []
        copied = [packet for packet in waiting if packet.stream.index in self.streams]
        for packet in copied:
            packet.stream = self.streams[packet.stream.index]
        self.writer.mux(copied)


def muxer_options(container: Container, reader: av.container.InputContainer) -> dict[str, str]:
    """Options for writing the tags of `reader` to `container`: MP4 and MOV need one for tags of other names than iTunes has."""
    if container.name in ("mp4", "mov") and {key.lower() for key in own_tags(reader.metadata)} - _ITUNES:
        return container.options | {"movflags": "use_metadata_tags"}
    return container.options


def own_tags(tags: dict[str, str]) -> dict[str, str]:
    """The entries of metadata that belong to the content and not to the way it was written."""
    return {key: value for key, value in tags.items() if key.lower() not in _WRITTEN}


def restored_tags(tags: dict[str, str]) -> dict[str, str]:
    """The tags of the content for a restored video: without a digital source type that is no longer true."""
    return {
        key: value
        for key, value in own_tags(tags).items()
        if key.lower() != "digitalsourcetype" or value.rpartition("/")[2] in GENERATED
    }


def hdr_parameters(frame: av.VideoFrame) -> str:
    """Mastering display and content light level of a frame (SMPTE ST 2086, CTA-861.3) as parameters of x265; "" without."""
    parameters = []
    if display := side_data(frame, "MASTERING_DISPLAY_METADATA"):
        numbers = struct.unpack_from("=22i", bytes(display))  # numerators and denominators, then which of them are given
        values = [numbers[k] / max(numbers[k + 1], 1) for k in range(0, 20, 2)]
        rx, ry, gx, gy, bx, by, wx, wy = (round(50000 * value) for value in values[:8])
        darkest, brightest = (round(10000 * value) for value in values[8:])  # of 0.0001 cd/m^2
        if all(numbers[20:]):
            points = f"G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({brightest},{darkest})"
            parameters.append(f"master-display={points}")
    if light := side_data(frame, "CONTENT_LIGHT_LEVEL"):
        parameters.append("max-cll={},{}".format(*struct.unpack_from("=2I", bytes(light))))
    return ":".join(parameters)


def side_data(frame: av.VideoFrame, name: str) -> Buffer | None:
    """Side data of a frame by their name in PyAV; None if it has none."""
    try:
        return cast("Buffer | None", frame.side_data.get(name))
    except ValueError:  # it also has data of a kind that this PyAV does not know
        return None


def _cover(path: Path, index: int) -> bytes:
    import av

    with av.open(f"file:{path}") as reader:
        return next((bytes(packet) for packet in reader.demux(reader.streams[index]) if packet.size), b"")
