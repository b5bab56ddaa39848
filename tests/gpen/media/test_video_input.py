"""Frames of unusual videos: dropped chunks, changes of size, interlacing, an early end, names like URLs."""

from fractions import Fraction

import av
import numpy as np
import pytest

import gpen
from gpen.media.video_input import fit
from tests.gpen.media.video_files import difference, encode, first_only, moving_frames, read, restore, slots, stream_of, to_frame

FRAMES = moving_frames(12)
EMPTY = (3, 4, 7, 9)  # frames that a tape capture dropped


@pytest.mark.parametrize("change", [lambda image: image ^ 1, None])
def test_dropped_frames_of_a_capture_keep_the_time_of_the_others(change, tmp_path):
    encode(tmp_path / "whole.avi", FRAMES, "mjpeg", "yuvj420p", options={"qmin": "1", "qmax": "2"})
    with av.open(str(tmp_path / "whole.avi")) as whole, av.open(str(tmp_path / "a.avi"), "w") as made:
        stream = made.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.size and packet.pts not in EMPTY:
                packet.stream = stream
                made.mux(packet)  # the muxer writes empty chunks for those that are left out
    report = restore(tmp_path / "a.avi", tmp_path / "b.avi", change or first_only())
    before, after = read(tmp_path / "a.avi"), read(tmp_path / "b.avi")
    assert report["frames"] == 8 and report["dropped"] == 4 and report["damaged"] == 0
    assert slots(tmp_path / "b.avi") == [k for k in range(12) if k not in EMPTY] and difference(before[0], after[0]) < 4
    assert report["properties"]["missing frames"].startswith("kept: 4")


def test_a_damaged_frame_of_an_avi_does_not_shift_the_others(tmp_path):
    source = encode(tmp_path / "a.avi", FRAMES, "mjpeg", "yuvj420p")
    with av.open(str(source)) as container:
        third = [bytes(packet) for packet in container.demux(video=0)][2]
    source.write_bytes(source.read_bytes().replace(third, bytes(len(third))))
    report = restore(source, tmp_path / "b.avi")
    assert report["damaged"] == 1 and report["frames"] == 11
    assert slots(tmp_path / "b.avi") == [k for k in range(12) if k != 2]


@pytest.mark.parametrize("size", [(64, 128), (96, 64), (200, 240)])
def test_frames_that_change_size_are_fitted_into_the_first(size, tmp_path):
    first, later = FRAMES[:4], moving_frames(4, *size)
    parts = [encode(tmp_path / f"{k}.ts", frames) for k, frames in enumerate((first, later))]
    (tmp_path / "a.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    report = restore(tmp_path / "a.ts", tmp_path / "b.ts", first_only())
    shown = read(tmp_path / "b.ts")[0]
    assert {image.shape for image in shown} == {(96, 128, 3)} and len(shown) == 8
    assert difference(shown, first + [fit(image, (96, 128)) for image in later]) < 8
    assert report["properties"]["frames of another size"].startswith("changed: 4")


@pytest.mark.parametrize(("h", "w"), [(1, 1), (9, 300), (300, 9), (50, 40), (80, 64)])
def test_fitted_images_keep_their_proportions(h, w):
    result = fit(np.full((h, w, 3), 200, np.uint8), (50, 40))
    lit = result.any(axis=(1, 2)).sum(), result.any(axis=(0, 2)).sum()
    assert result.shape == (50, 40, 3) and lit == (max(1, round(h * min(50 / h, 40 / w))), max(1, round(w * min(50 / h, 40 / w))))


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_interlaced_video_is_deinterlaced(order, tmp_path):
    frames = [frame.copy() for frame in moving_frames(10, width=96)]
    for k in range(9):  # the second field is half a frame later; here it moves by two px
        second = slice(1, None, 2) if order == "tff" else slice(0, None, 2)
        frames[k][second] = np.roll(frames[k], -12, axis=1)[second]
    source = encode(
        tmp_path / "a.mp4", frames, options={"flags": "+ildct", "x264-params": f"{order}=1"}, colorspace=5, color_range=1
    )
    assert stream_of(source)["interlaced_frame"]
    report = restore(source, tmp_path / "b.mp4")
    after = stream_of(tmp_path / "b.mp4")
    shown, times = read(tmp_path / "b.mp4")

    def combing(images):
        return np.mean([np.abs(np.diff(image[..., 1].astype(int), axis=0)).mean() for image in images[:9]])

    assert not after["interlaced_frame"] and times == read(source)[1] and len(shown) == 10
    assert combing(shown) < 0.6 * combing(read(source)[0])
    assert report["properties"]["scan"] == "changed: 10 interlaced frames deinterlaced"


@pytest.mark.parametrize(
    ("suffix", "part", "muxer"),
    [
        (".mp4", 0.6, {"movflags": "+faststart"}), (".mov", 0.6, {"movflags": "+faststart"}), (".mkv", 0.7, None),
        (".avi", 0.6, None), (".flv", 0.6, None), (".wmv", 0.6, None),
    ],
)  # fmt: skip
def test_a_video_that_ends_early_is_an_error_and_its_part_is_kept_apart(suffix, part, muxer, tmp_path):
    codec = "wmv2" if suffix == ".wmv" else "libx264"
    whole = encode(tmp_path / f"whole{suffix}", [*FRAMES * 5], codec, options={"g": "6"}, muxer=muxer)
    source, target = tmp_path / f"clip{suffix}", tmp_path / f"out{suffix}"
    data = whole.read_bytes()
    source.write_bytes(data[: int(len(data) * part)])
    target.write_bytes(b"an earlier result")
    with pytest.raises(gpen.GPENError, match=r"ends after [01]\.\d\d of 2\.4\d s") as caught:
        restore(source, target)
    kept = tmp_path / f"out.partial{suffix}"
    times = read(kept)[1]
    assert str(kept) in str(caught.value) and 0.8 < times[-1] < 2 and target.read_bytes() == b"an earlier result"
    assert restore(whole, target)["frames"] == 60
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi", ".ts", ".flv", ".wmv", ".mpg", ".3gp"])
def test_a_late_start_or_a_slow_rate_is_no_early_end(suffix, tmp_path):
    codec = {".wmv": "wmv2", ".mpg": "mpeg2video"}.get(suffix, "libx264")
    rate = 25 if suffix == ".mpg" else Fraction(5)
    for start in (0, 40):
        source = encode(tmp_path / f"a{suffix}", FRAMES, codec, rate=rate, start=start)
        assert restore(source, tmp_path / f"b{suffix}")["frames"] == 12


@pytest.mark.parametrize("name", ["2019-05-01T10:30:00.mp4", "pipe:0.mkv", "concat:a|b.mp4", "100%d.mp4", "http:x.mp4"])
def test_names_are_not_read_as_urls(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encode(tmp_path / "plain.mkv", FRAMES[:3]) if name.endswith("mkv") else encode(tmp_path / "plain.mp4", FRAMES[:3])
    (tmp_path / f"plain{name[-4:]}").rename(tmp_path / name)
    (tmp_path / "out").mkdir()
    source = type(tmp_path)(name)  # relative, so that it begins with the name of a protocol
    assert restore(source, type(tmp_path)("out") / name)["frames"] == 3
    assert len(read(tmp_path / "out" / name)[0]) == 3


def test_a_cover_is_not_taken_for_the_video(tmp_path):
    def add_cover(container, stream):
        cover = container.add_stream("mjpeg")
        cover.height, cover.width, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = 0x400
        container.start_encoding()
        picture = to_frame(np.zeros((32, 32, 3), np.uint8), "yuvj420p")
        container.mux([*cover.encode(picture), *cover.encode()])

    source = encode(tmp_path / "a.mp4", FRAMES, change=add_cover)
    report = restore(source, tmp_path / "b.mp4")
    assert report["frames"] == 12 and read(tmp_path / "b.mp4")[0][0].shape == (96, 128, 3)
    assert report["properties"]["cover 1"].startswith("kept: mjpeg")
