"""Videos for the tests, made with PyAV: frames, streams and properties of any kind, and how they read back."""

import av
import cv2
import numpy as np
from skimage.data import astronaut

from gpen.media.video import restore_video

FACE = np.ascontiguousarray(astronaut()[:256, 96:352])  # uint8 RGB [256, 256, 3]


def moving_frames(n, height=96, width=128):
    """Frames, uint8 RGB [height, width, 3], of a part of a photo that moves to the right."""
    return [np.ascontiguousarray(FACE[60 : 60 + height, 60 + k : 60 + k + width]) for k in range(n)]


def encode(
    path, frames, codec="libx264", pix_fmt="yuv420p", rate=25, options=(), muxer=None, format=None, change=None, start=0, **marks
):
    """Write a video without sound.

    options: of the encoder. muxer: of the container. change: called with the container and the stream before it is opened.
    start: time of the first frame. marks: attributes of the codec context, such as sample_aspect_ratio and colorspace.
    """
    with av.open(f"file:{path}", "w", format=format, options=muxer or {}) as container:
        stream = container.add_stream(
            codec, rate=rate, options={"crf": "8"} | (options or {}) if "264" in codec else options or {}
        )
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        for name, value in marks.items():
            setattr(stream.codec_context, name, value)
        if change:
            change(container, stream)
        for k, image in enumerate(frames):
            container.mux(stream.encode(to_frame(image, pix_fmt, k + start, marks)))
        container.mux(stream.encode())
    return path


def to_frame(image, pix_fmt="yuv420p", time=0, marks=None):
    """A frame for the encoder, in the matrix and range of `marks`."""
    marks = marks or {}
    frame = av.VideoFrame.from_ndarray(image, format="rgb48le" if image.dtype == np.uint16 else "rgb24")
    full = 2 if pix_fmt.startswith("yuvj") else marks.get("color_range", 1)
    if "rgb" not in pix_fmt:
        frame = frame.reformat(format=pix_fmt, dst_colorspace=marks.get("colorspace", 5), src_color_range=2, dst_color_range=full)
    frame.pts = time
    return frame


def restore(source, target, change=lambda image: image ^ 1, **arguments):
    """Restore a video in which `change` is what becomes of each frame."""
    no_faces = lambda: lambda image, rotated: []  # noqa: E731
    return restore_video(source, target, lambda image, faces: change(image), no_faces, progress=False, **arguments)


def first_only():
    """A function of an image that changes one pixel of the first image only."""
    seen = []

    def change(image):
        result = image.copy()
        result[0, 0] ^= not seen
        seen.append(1)
        return result

    return change


def read(path):
    """Frames, uint8 RGB [h, w, 3] by the marks of the file as a player shows them, and their times in s."""
    with av.open(f"file:{path}") as container:
        frames = list(container.decode(video=0))
        shown = []
        for frame in frames:
            full = 2 if frame.format.is_rgb or frame.format.name.startswith("yuvj") or frame.color_range == 2 else 1
            shown.append(frame.to_ndarray(format="rgb24", src_color_range=full, dst_color_range=2))
        return shown, [frame.time for frame in frames]


def slots(path):
    """Numbers of the places in which an AVI has frames; it stores no other times."""
    with av.open(f"file:{path}") as container:
        return [packet.dts for packet in container.demux(video=0) if packet.size]


def stream_of(path):
    """The attributes of the video stream and its first frame: (stream values as a dict, frame values as a dict)."""
    with av.open(f"file:{path}") as container:
        stream = container.streams.video[0]
        frame = next(container.decode(video=0))
        marks = ("colorspace", "color_range", "color_primaries", "color_trc", "interlaced_frame", "width", "height")
        return {
            "ratio": stream.sample_aspect_ratio, "codec": stream.codec_context.codec.canonical_name, "format": frame.format.name,
            **{name: getattr(frame, name) for name in marks},
        }  # fmt: skip


def difference(before, after):
    """Largest mean absolute difference of corresponding frames, 0 to 255."""
    return max(np.abs(a.astype(int) - b).mean() for a, b in zip(before, after, strict=True))


def resized(image, width, height):
    """`image` in another size, by area averaging."""
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
