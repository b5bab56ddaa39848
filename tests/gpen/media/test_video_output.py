"""Properties of the written video: aspect ratio, colours, bits, containers, other streams, provenance."""

from fractions import Fraction

import av
import numpy as np
import pytest

import gpen
from gpen.images import add_8_bit_change
from gpen.media.provenance import Provenance
from gpen.media.video_output import CONTAINERS, FRAME_DURATION
from tests.gpen.media.video_files import difference, encode, first_only, moving_frames, read, restore, slots, stream_of, to_frame

FRAMES = moving_frames(5)
PROVENANCE = Provenance("model", "12" * 32)


@pytest.mark.parametrize(
    ("suffix", "ratio", "codec"),
    [
        (".mp4", Fraction(16, 11), "libx264"), (".mkv", Fraction(16, 11), "libx264"), (".mov", Fraction(3, 4), "libx264"),
        (".avi", Fraction(12, 11), "libx264"), (".mpg", Fraction(16, 11), "mpeg2video"),
        (".ts", Fraction(16, 11), "libx264"),
    ],
)  # fmt: skip
def test_the_aspect_ratio_of_pixels_is_kept(suffix, ratio, codec, tmp_path):
    source = encode(tmp_path / f"a{suffix}", FRAMES, codec, sample_aspect_ratio=ratio)
    stated = stream_of(source)["ratio"]
    report = restore(source, tmp_path / f"b{suffix}")
    assert stated not in (None, 1) and stream_of(tmp_path / f"b{suffix}")["ratio"] == pytest.approx(stated, rel=1e-3)
    assert report["properties"]["sample aspect ratio"].startswith("kept")


@pytest.mark.parametrize("suffix", [".webm", ".wmv"])
@pytest.mark.parametrize("change", [lambda image: image ^ 1, None])
def test_other_pixels_become_square_where_the_codec_stores_no_aspect_ratio(suffix, change, tmp_path):
    source = encode(tmp_path / "a.mkv", FRAMES, sample_aspect_ratio=Fraction(16, 11))
    report = restore(source, tmp_path / f"b{suffix}", change or first_only())
    after = stream_of(tmp_path / f"b{suffix}")
    assert (after["width"], after["height"]) == (186, 96) and after["ratio"] in (None, 1)
    assert report["properties"]["sample aspect ratio"] == "changed: 16:11 to 1"
    assert report["properties"]["size"] == "changed: 128 x 96 to 186 x 96"


def test_the_aspect_ratio_of_a_tape_is_kept_and_its_fields_are_deinterlaced(tmp_path):
    frames = [np.ascontiguousarray(np.resize(FRAMES[0], (576, 720, 3)))] * 2
    source = encode(tmp_path / "a.avi", frames, "dvvideo", "yuv420p", sample_aspect_ratio=Fraction(16, 15))
    report = restore(source, tmp_path / "b.avi")
    assert stream_of(source)["ratio"] == stream_of(tmp_path / "b.avi")["ratio"] == Fraction(16, 15)
    assert report["properties"]["video codec"] == "changed: dvvideo to h264"


@pytest.mark.parametrize("change", [lambda image: image ^ 1, None])
@pytest.mark.parametrize(("h", "w"), [(96, 128), (95, 127), (95, 128)])
@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "libx264rgb"), (".mov", "png"), (".avi", "rawvideo")])
def test_rgb_video_is_converted_to_marked_colours(suffix, codec, h, w, change, tmp_path):
    frames = moving_frames(3, h, w)
    source = encode(tmp_path / f"a{suffix}", frames, codec, "bgr24" if codec == "rawvideo" else "rgb24", options={"crf": "0"})
    report = restore(source, tmp_path / f"b{suffix}", change or first_only())
    marks = stream_of(tmp_path / f"b{suffix}")
    assert difference(frames, read(tmp_path / f"b{suffix}")[0]) < 6
    assert [marks[name] for name in ("colorspace", "color_range", "color_primaries", "color_trc")] == [1, 1, 1, 1]
    assert report["properties"]["chroma"] == f"changed: RGB to 4:{'2:0' if h % 2 == w % 2 == 0 else '4:4'}"


@pytest.mark.parametrize("change", [lambda image: image ^ 1, None])
@pytest.mark.parametrize("colour_range", [1, 2])
@pytest.mark.parametrize(("matrix", "primaries", "transfer"), [(1, 1, 1), (6, 6, 6), (5, 5, 6), (9, 9, 14)])
def test_marks_of_colours_are_kept(matrix, primaries, transfer, colour_range, change, tmp_path):
    marks = {"colorspace": matrix, "color_range": colour_range, "color_primaries": primaries, "color_trc": transfer}
    source = encode(tmp_path / "a.mkv", FRAMES, **marks)
    report = restore(source, tmp_path / "b.mkv", change or first_only())
    after = stream_of(tmp_path / "b.mkv")
    assert {name: after[name] for name in marks} == marks
    assert difference(read(source)[0], read(tmp_path / "b.mkv")[0]) < 3
    assert report["properties"]["matrix"].startswith("kept: BT.")


def test_unmarked_video_is_marked_as_players_read_it_so_that_upscaling_keeps_its_colours(tmp_path):
    source = encode(tmp_path / "a.mp4", FRAMES)
    rows = restore(source, tmp_path / "b.mp4", lambda image: image.repeat(8, 0).repeat(8, 1))["properties"]
    assert rows["matrix"] == "added: BT.601" and rows["size"] == "changed: 128 x 96 to 1024 x 768"
    assert stream_of(source)["colorspace"] == 2 and stream_of(tmp_path / "b.mp4")["colorspace"] == 5
    assert difference([image[::8, ::8] for image in read(tmp_path / "b.mp4")[0]], FRAMES) < 7


HDR = {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": 16}
LIGHT = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400"


@pytest.mark.parametrize(
    ("suffix", "codec", "transfer"),
    [(".mp4", "libx265", 16), (".mkv", "libx265", 18), (".mov", "libx265", 16), (".ts", "libx265", 16)],
)
@pytest.mark.parametrize("change", [lambda image: image ^ 1, None])
def test_hdr_keeps_its_bits_marks_and_light_levels(suffix, codec, transfer, change, tmp_path):
    ramp = np.linspace(8000, 40000, 128).astype(np.uint16)
    frames = [np.broadcast_to(ramp[None, :, None], (96, 128, 3)).copy()] * 3
    options = {"crf": "4", "x265-params": f"log-level=none:{LIGHT}"}
    marks = HDR | {"color_trc": transfer}
    source = encode(tmp_path / f"a{suffix}", frames, codec, "yuv420p10le", options=options, **marks)
    report = restore(source, tmp_path / f"b{suffix}", change or first_only())
    after = stream_of(tmp_path / f"b{suffix}")
    assert after["format"] == "yuv420p10le" and {name: after[name] for name in marks} == marks
    assert report["properties"]["bits per channel"] == "kept: 10 (8 in restored faces)"
    assert report["properties"]["transfer"] == f"kept: {'PQ' if transfer == 16 else 'HLG'}"
    assert report["properties"]["HDR metadata"] == f"kept: {LIGHT}"
    with av.open(str(tmp_path / f"b{suffix}")) as made:
        luma = next(made.decode(video=0)).to_ndarray()[40, :128]
    assert len(np.unique(luma)) > 90, "8 bits would have less than 80 levels"


@pytest.mark.parametrize("change", [lambda image: image ^ 1, None])
def test_grey_video_keeps_its_levels(change, tmp_path):
    frames = [np.repeat(np.linspace(0, 255, 128).astype(np.uint8)[None, :, None], 96, 0).repeat(3, 2)] * 3
    source = encode(tmp_path / "a.mkv", frames, "ffv1", "gray", color_range=2)
    rows = restore(source, tmp_path / "b.mkv", change or first_only())["properties"]
    assert difference(frames, read(tmp_path / "b.mkv")[0]) < 2 and rows["chroma"] == "changed: none to 4:2:0"


def test_transparency_is_reported(tmp_path):
    source = encode(tmp_path / "a.mov", FRAMES, "png", "rgba")
    assert restore(source, tmp_path / "b.mov")["properties"]["alpha"] == "dropped"


def test_more_bits_than_the_container_can_store_are_reported(tmp_path):
    source = encode(tmp_path / "a.avi", FRAMES, "ffv1", "yuv420p10le")
    report = restore(source, tmp_path / "b.avi")
    assert report["properties"]["bits per channel"] == "changed: 10 to 8"


def test_change_of_8_bits_is_added_to_16():
    deep = np.arange(0, 65536, 97, dtype=np.uint16)
    eight = ((deep.astype(np.uint32) + 128) // 257).astype(np.uint8)
    assert np.array_equal(add_8_bit_change(deep, eight, eight), deep)
    assert np.abs(add_8_bit_change(deep, eight, 255 - eight) / 257 - (255 - eight)).max() <= 0.51


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_every_container_is_written_as_itself(suffix, tmp_path):
    container = CONTAINERS[suffix]
    codec = container.encoder.name
    source = encode(tmp_path / f"a{suffix.upper()}", FRAMES, codec, format=container.name, muxer=container.options)
    report = restore(source, tmp_path / f"b{suffix.upper()}")
    before, after = read(source), read(tmp_path / f"b{suffix.upper()}")
    assert difference(before[0], after[0]) < 4 and report["frames"] == 5
    if suffix == ".avi":
        assert slots(source) == slots(tmp_path / "b.AVI") == list(range(5))
    else:
        assert np.diff(after[1]) == pytest.approx(np.diff(before[1]), abs=2e-3)
    assert report["properties"]["video codec"].startswith("kept")
    assert (tmp_path / f"b{suffix.upper()}").read_bytes()[:4] == source.read_bytes()[:4] or suffix in (".mts", ".m2ts", ".vob")


def test_a_frame_rate_that_mpeg_cannot_store_is_an_error(tmp_path):
    source = encode(tmp_path / "a.ts", FRAMES, rate=10)
    with pytest.raises(gpen.GPENError, match="10 per second, does not exist in MPEG-2"):
        restore(source, tmp_path / "b.mpg")


def matroska(path):
    """A video with two titled audio streams, subtitles, chapters, an attachment and tags."""
    with av.open(str(path), "w") as made:
        video = made.add_stream("libx264", rate=25)
        video.height, video.width, video.pix_fmt = 96, 128, "yuv420p"
        sounds = [made.add_stream("aac", rate=48000) for _ in range(2)]
        for sound, language in zip(sounds, ("fra", "deu"), strict=True):
            sound.codec_context.layout = "mono"
            sound.metadata.update(language=language, title=f"sound in {language}")
        sounds[1].disposition = 0x80  # hearing impaired
        words = made.add_mux_stream("subrip")
        words.metadata.update(language="eng", title="words")
        made.add_attachment("font.ttf", "font/ttf", b"letters")
        made.metadata.update(title="a title", DATE_RECORDED="2019-05-01")
        chapters = [("One", 0, 100), ("Zwei", 100, 200)]
        made.set_chapters([
            {"id": k + 1, "start": start, "end": end, "time_base": Fraction(1, 1000), "metadata": {"title": title}}
            for k, (title, start, end) in enumerate(chapters)
        ])  # fmt: skip
        for k, image in enumerate(FRAMES):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = k
            made.mux(video.encode(frame))
        made.mux(video.encode())
        for sound in sounds:
            piece = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            piece.rate, piece.pts = 48000, 0
            made.mux([*sound.encode(piece), *sound.encode()])
        text = av.Packet(b"hello")
        text.stream, text.pts, text.dts, text.duration, text.time_base = words, 20, 20, 100, Fraction(1, 1000)
        made.mux(text)
    return path


def test_other_streams_chapters_and_tags_are_copied(tmp_path):
    source = matroska(tmp_path / "a.mkv")
    rows = restore(source, tmp_path / "b.mkv")["properties"]
    assert rows["audio 1"] == "kept: aac, 48000 Hz, mono, fra, sound in fra" and "deu" in rows["audio 2"]
    assert rows["subtitle 1"].startswith("kept: subrip, eng, words") and rows["attachment 1"] == "kept: font.ttf"
    assert rows["chapters"] == "kept: One; Zwei" and rows["tag title"] == "kept: a title"
    assert rows["tag date_recorded"] == "kept: 2019-05-01"
    assert not [name for name, text in rows.items() if text.startswith("dropped")]
    with av.open(str(tmp_path / "b.mkv")) as made:
        assert [bytes(packet) for packet in made.demux(subtitles=0) if packet.size] == [b"hello"]
        assert made.streams.get(attachment=0)[0].data == b"letters" if hasattr(made.streams, "attachment") else True
        assert made.streams.audio[1].disposition.value & 0x80


def test_what_the_container_cannot_store_is_named(tmp_path):
    rows = restore(matroska(tmp_path / "a.mkv"), tmp_path / "b.mp4")["properties"]
    assert rows["subtitle 1"] == "dropped: subrip, eng, words" and rows["attachment 1"] == "dropped: font.ttf"
    assert rows["audio 1"].startswith(("kept", "changed: aac, 48000 Hz, mono, fra"))


def test_tags_of_a_phone_are_kept(tmp_path):
    tags = {"com.apple.quicktime.model": "a phone", "com.apple.quicktime.location.ISO6709": "+50.9+007.0/", "title": "a title"}
    source = encode(
        tmp_path / "a.mov", FRAMES, muxer={"movflags": "use_metadata_tags"}, change=lambda made, _: made.metadata.update(tags)
    )
    restore(source, tmp_path / "b.mov")
    with av.open(str(tmp_path / "b.mov")) as made:
        assert {name: made.metadata.get(name) for name in tags} == tags


def test_an_unchanged_video_is_copied(tmp_path):
    source = encode(tmp_path / "a.mp4", FRAMES)
    report = restore(source, tmp_path / "b.mp4", lambda image: image, provenance=PROVENANCE)
    assert (tmp_path / "b.mp4").read_bytes() == source.read_bytes() and "properties" not in report


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("bframes", ["0", "2"])
def test_the_last_frame_keeps_its_duration(suffix, bframes, tmp_path):
    path = tmp_path / f"a{suffix}"
    with av.open(str(path), "w") as made:
        stream = made.add_stream("libx264", rate=25, options={"bf": bframes})
        stream.height, stream.width, stream.codec_context.time_base = 96, 128, Fraction(1, 1000)
        stream.codec_context.flags |= FRAME_DURATION
        for image, (time, duration) in zip(FRAMES, [(0, 40), (40, 500), (540, 20), (560, 60), (620, 900)], strict=True):
            frame = to_frame(image, time=time)
            frame.duration, frame.time_base = duration, Fraction(1, 1000)
            made.mux(stream.encode(frame))
        made.mux(stream.encode())
    restore(path, tmp_path / f"b{suffix}")
    with av.open(str(path)) as before, av.open(str(tmp_path / f"b{suffix}")) as after:
        assert after.duration == pytest.approx(before.duration, abs=2000)


def test_streams_keep_their_order(tmp_path):
    source = matroska(tmp_path / "a.mkv")
    restore(source, tmp_path / "b.mkv")
    kinds = []
    for path in (source, tmp_path / "b.mkv"):
        with av.open(str(path)) as made:
            kinds.append([stream.type for stream in made.streams])
    assert kinds[0] == kinds[1] == ["video", "audio", "audio", "subtitle", "attachment"]
