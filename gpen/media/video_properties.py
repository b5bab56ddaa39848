"""What becomes of each property of a video when it is restored: both files are read and compared."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, cast

from gpen.media.properties import PRIMARIES, TRANSFERS, colour_name
from gpen.media.video_input import FULL, colour_range, is_cover
from gpen.media.video_output import hdr_parameters, own_tags, side_data

if TYPE_CHECKING:  # PyAV is an optional dependency
    import av

# Codes of ITU-T H.273, table 4
MATRICES = {0: "RGB", 1: "BT.709", 5: "BT.601", 6: "BT.601", 9: "BT.2020"}
DYNAMIC = {"DYNAMIC_HDR_PLUS": "HDR10+", "DOVI_RPU_BUFFER": "Dolby Vision", "DYNAMIC_HDR_VIVID": "HDR Vivid"}


def describe(path: Path) -> dict[str, str]:
    """Each property that the video file `path` has, for `properties.compare`. Raises av.FFmpegError if it cannot be read."""
    import av

    with av.open(f"file:{path}") as reader:
        stream = next(stream for stream in reader.streams.video if not is_cover(stream))
        rows = {
            "video codec": stream.codec_context.codec.canonical_name,
            "frame rate": f"{float(stream.average_rate):.6g} per second" if stream.average_rate else "",
            "sample aspect ratio": str(stream.sample_aspect_ratio or 1).replace("/", ":"),
            "chapters": "; ".join(chapter["metadata"].get("title", "") or "untitled" for chapter in reader.chapters()),
        }
        rows |= {f"tag {key.lower()}": value for key, value in own_tags(reader.metadata).items()}
        counts: Counter[str] = Counter()
        for other in reader.streams:
            if other.index != stream.index and not _is_chapter_track(other, rows["chapters"]):
                kind = "cover" if is_cover(other) else other.type
                counts[kind] += 1
                rows[f"{kind} {counts[kind]}"] = _stream(other)
        rows |= _first_frame(reader, stream)
    return {name: value for name, value in rows.items() if value}


def _first_frame(reader: av.container.InputContainer, stream: av.VideoStream) -> dict[str, str]:
    frame = next(reader.decode(stream))
    form, rgb = frame.format, frame.format.is_rgb
    return {
        "size": f"{frame.width} x {frame.height}",
        "bits per channel": str(max(component.bits for component in form.components)),
        "alpha": "yes" if len(form.components) in (2, 4) or stream.metadata.get("alpha_mode") == "1" else "",
        "chroma": "RGB" if rgb else _chroma(form),
        "colour range": "full" if colour_range(frame) == FULL else "limited",
        "matrix": "" if rgb else colour_name(MATRICES, frame.colorspace),
        "primaries": colour_name(PRIMARIES, frame.color_primaries),
        "transfer": colour_name(TRANSFERS, frame.color_trc),
        "scan": "interlaced" if frame.interlaced_frame else "progressive",
        "rotation": f"{frame.rotation % 360} degrees" if frame.rotation else "",
        "HDR metadata": hdr_parameters(frame),
        "dynamic HDR metadata": ", ".join(title for name, title in DYNAMIC.items() if side_data(frame, name)),
    }


def _chroma(form: av.VideoFormat) -> str:
    """Chroma subsampling, such as 4:2:0."""
    if len(form.components) < 3:
        return "none"
    across, down = form.width // form.chroma_width(form.width), form.height // form.chroma_height(form.height)
    return {(1, 1): "4:4:4", (2, 1): "4:2:2", (2, 2): "4:2:0", (4, 1): "4:1:1"}.get((across, down), f"{across} x {down}")


def _stream(stream: av.stream.Stream) -> str:
    """One line about a stream that is not the main video."""
    codec, tags = stream.codec_context, stream.metadata
    parts = [codec.codec.canonical_name if codec else ""]
    if stream.type == "audio":
        sound = cast("av.AudioCodecContext", codec)
        parts += [f"{sound.sample_rate} Hz", sound.layout.name]
    language = tags.get("language", "und")
    parts += ["" if language == "und" else language, tags.get("title", ""), tags.get("filename", "")]
    return ", ".join(part for part in parts if part) or stream.type


def _is_chapter_track(stream: av.stream.Stream, chapters: str) -> bool:
    """Whether a data stream of an MP4 holds the titles of the chapters, which are listed already."""
    return bool(chapters) and stream.type == "data" and stream.codec_context is None
