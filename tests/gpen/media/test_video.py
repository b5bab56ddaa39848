"""Video restoration: frames, timestamps, audio, tracking, smoothing, flicker."""

import struct

import av
import cv2
import numpy as np
import pytest

import gpen
from gpen.faces.alignment import Face
from gpen.faces.tracking import Flicker, Smoothing, Tracker, flicker
from gpen.media.video import restore_video
from tests.gpen.media.video_files import FACE, first_only

POINTS = np.array([(109, 100.8), (151.9, 104.1), (129.5, 129), (106.2, 139.5), (149.7, 142.1)], np.float32)


def found(points, noise=0.0):
    """Face with the landmarks `points` [5, 2], plus noise [7, 2] on its box and landmarks."""
    corners = np.array([points.min(0) - (20, 40), points.max(0) + (20, 20)])
    points = np.concatenate([corners, points]) + noise
    return Face(tuple(points[:2].ravel().tolist()), points[2:].astype(np.float32), 0.99)


def moving(n, reach=6.0):
    """Frames with a moving face, and its true landmarks."""
    shifts = [np.array([reach * np.sin(t / 5), reach / 2 * np.cos(t / 7)]) for t in range(n)]
    move = [np.float64([[1, 0, x], [0, 1, y]]) for x, y in shifts]
    frames = [cv2.warpAffine(FACE, m, (256, 256), borderMode=cv2.BORDER_REFLECT) for m in move]
    return frames, [(POINTS + shift).astype(np.float32) for shift in shifts]


def write_video(path, frames, times=None, codec="libx264", sound="aac", colours=1):
    """Write a video of these frames at `times`, in 1/25 s, with one second of audio."""
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25, options={"crf": "10"})
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt, video.codec_context.colorspace = "yuv420p", colours
        audio = container.add_stream(sound, rate=48000)
        audio.codec_context.layout = "mono"
        for k, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p", dst_colorspace=colours)
            frame.pts = times[k] if times else k
            container.mux(video.encode(frame))
        container.mux(video.encode())
        tone = np.sin(np.arange(48000) / 9).astype(np.float32)[None]
        for first in range(0, 48000, 960):
            piece = av.AudioFrame.from_ndarray(tone[:, first : first + 960], format="fltp", layout="mono")
            piece.rate, piece.pts = 48000, first
            if codec != "libx264":  # the Opus encoder does not support planar samples
                piece = av.AudioResampler("flt", "mono", 48000).resample(piece)[0]
            container.mux(audio.encode(piece))
        container.mux(audio.encode())
    return path


def read_video(path):
    """Read frames, their timestamps in seconds, and the audio packets."""
    with av.open(str(path)) as container:
        frames = [(f.to_ndarray(format="rgb24"), f.time) for f in container.decode(video=0)]
    with av.open(str(path)) as container:
        sound = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    return [image for image, _ in frames], [time for _, time in frames], sound


def inverted(image, faces):
    """Invert the boxes of the faces, in place of a restoration."""
    result = image.copy()
    for face in faces:
        x0, y0, x1, y1 = map(round, face.box)
        result[y0:y1, x0:x1] = 255 - result[y0:y1, x0:x1]
    return result


def no_faces():
    return lambda image, rotated: []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_frames_timestamps_audio_and_colours_are_preserved(suffix, tmp_path):
    frames, _ = moving(8)
    times = [0, 1, 2, 5, 6, 7, 11, 12]  # variable frame rate
    source = write_video(tmp_path / f"a{suffix}", frames, times)
    change = first_only()
    report = restore_video(source, tmp_path / f"b{suffix}", lambda image, faces: change(image), no_faces, progress=False)
    before, after = read_video(source), read_video(tmp_path / f"b{suffix}")
    assert report.pop("properties")["audio 1"] == "kept: aac, 48000 Hz, mono"
    assert report == {"frames": 8, "faces": 0, "tracks": [], "damaged": 0, "dropped": 0, "flicker_before": 0, "flicker_after": 0}
    assert after[1] == pytest.approx(before[1], abs=1e-3) and after[2] == before[2]
    assert max(np.abs(a.astype(int) - b).mean() for a, b in zip(before[0], after[0], strict=True)) < 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a{suffix}", f"b{suffix}"]


def test_webm_and_avi(tmp_path):
    frames, _ = moving(4)
    webm = write_video(tmp_path / "a.webm", frames, codec="libvpx-vp9", sound="libopus")
    for source in (webm, write_video(tmp_path / "a.avi", frames)):
        target = source.with_stem("b")
        assert restore_video(source, target, lambda image, faces: image ^ 1, no_faces, progress=False)["frames"] == 4
        before, after = read_video(source), read_video(target)
        assert len(after[0]) == 4 and after[2] == before[2]
        assert max(np.abs(a.astype(int) - b).mean() for a, b in zip(before[0], after[0], strict=True)) < 3


@pytest.mark.parametrize("jobs", [1, 3])
def test_faces_are_restored_in_their_frames(jobs, tmp_path):
    frames, points = moving(6, reach=20)
    source = write_video(tmp_path / "a.mkv", frames)
    where = {np.asarray(frame).mean(): p for frame, p in zip(read_video(source)[0], points, strict=True)}

    def make():
        return lambda image, rotated: [found(where[image.mean()])]

    report = restore_video(source, tmp_path / "b.mkv", inverted, make, jobs=jobs, smoothing=None, progress=False)
    assert report["faces"] == 1 and report["frames"] == 6 and report["flicker_before"] > 0
    for before, after, p in zip(frames, read_video(tmp_path / "b.mkv")[0], points, strict=True):
        expected = inverted(before, [found(p)])
        assert np.abs(after.astype(int) - expected).mean() < 4 < np.abs(after.astype(int) - before).mean()


def test_upscaled_video_with_odd_size(tmp_path):
    frames = [frame[:100, :150] for frame in moving(3)[0]]
    source = write_video(tmp_path / "a.mp4", frames)
    restore_video(source, tmp_path / "b.mp4", lambda image, faces: cv2.resize(image, (225, 151)), no_faces, progress=False)
    assert read_video(tmp_path / "b.mp4")[0][0].shape == (151, 225, 3)


def test_rotation_metadata_is_applied(tmp_path):
    frames = [frame[:128] for frame in moving(3)[0]]  # [128, 256, 3]
    source = write_video(tmp_path / "a.mp4", frames)
    data = source.read_bytes()
    at = data.index(b"tkhd") + 44  # offset of the transformation matrix (ISO 14496-12, 8.3.2)
    quarter = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)  # rotation by 90 degrees clockwise
    source.write_bytes(data[:at] + quarter + data[at + 36 :])
    seen = []
    restore_video(source, tmp_path / "b.mp4", lambda image, faces: seen.append(image) or image ^ 1, no_faces, progress=False)
    after = read_video(tmp_path / "b.mp4")[0]
    assert seen[0].shape == after[0].shape == (256, 128, 3)
    assert np.abs(after[0].astype(int) - np.rot90(frames[0], -1)).mean() < 6


def test_invalid_videos_raise_an_error_and_leave_no_file(tmp_path):
    whole = write_video(tmp_path / "whole.mp4", moving(3)[0]).read_bytes()
    for name, content in {"empty": b"", "text": b"text, not a video " * 20, "cut": whole[: len(whole) // 3]}.items():
        source = tmp_path / f"{name}.mp4"
        source.write_bytes(content)
        with pytest.raises(gpen.GPENError, match=f"{name}.mp4") as caught:
            restore_video(source, tmp_path / "out.mp4", inverted, no_faces, progress=False)
        assert "\n" not in str(caught.value) and not list(tmp_path.glob("out*")), name


def test_track_continues_after_a_missed_detection_and_ends_at_a_cut():
    tracker = Tracker(25)
    first = tracker(FACE, [found(POINTS)])[0].number
    assert [track.number for track in tracker(FACE, [found(POINTS + 2)])] == [first]
    assert [track.number for track in tracker(FACE, [])] == [first], "not detected, but the region is unchanged"
    assert [track.number for track in tracker(FACE, [found(POINTS)])] == [first]
    assert tracker(255 - FACE, []) == [], "cut"
    assert tracker(255 - FACE, [found(POINTS)])[0].number != first
    for _ in range(Smoothing().patience):
        assert len(tracker(255 - FACE, [])) == 1
    assert tracker(255 - FACE, []) == []


def test_tracks_do_not_depend_on_the_order_of_faces():
    tracker = Tracker(25)
    a, b = found(POINTS), found(POINTS + (90, 60))
    left, right = sorted(tracker(FACE, [a, b]), key=lambda track: track.points[0, 0])
    for faces in ([b, a], [a, b], [b, a]):
        again = sorted(tracker(FACE, faces), key=lambda track: track.points[0, 0])
        assert [track.number for track in again] == [left.number, right.number]
        assert np.allclose(again[0].points[2:], POINTS, atol=1e-4)


def test_only_largest_follows_one_face(tmp_path):
    source = write_video(tmp_path / "a.mkv", moving(6, reach=0)[0])
    sizes = iter([(40, 38), (40, 38), (38, 40), (38, 40), (38, 40), (40, 38)])

    def detect(image, rotated):
        a, b = next(sizes)
        faces = [Face((60, 60, 60 + a, 60 + a), POINTS, 1.0), Face((150, 150, 150 + b, 150 + b), POINTS + 90, 1.0)]
        return sorted(faces, key=lambda face: face.box[0] - face.box[2])

    seen = []

    def restore(image, faces):
        seen.append([face.box[0] for face in faces])
        return image

    restore_video(source, tmp_path / "b.mkv", restore, lambda: detect, only="largest", progress=False)
    assert all(len(boxes) == 1 and boxes[0] < 100 for boxes in seen)


def test_smoothing_lag():
    frames, points = moving(30, reach=30)
    tracker = Tracker(25)
    lag = [np.abs(tracker(f, [found(p)])[0].points[2:] - p).mean() for f, p in zip(frames, points, strict=True)]
    assert max(lag) < 0.06 * (found(POINTS).box[2] - found(POINTS).box[0])


def test_flicker_is_motion_compensated():
    frames, points = moving(8, reach=9)
    still = np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(frames, frames[1:], strict=False)])
    assert flicker(frames, points) < still / 3
    brighter = [cv2.add(frame, np.full_like(frame, 10 * (k % 2))) for k, frame in enumerate(frames)]
    assert flicker(brighter, points) > flicker(frames, points) + 6
    assert flicker([FACE, FACE], [POINTS, POINTS]) == flicker([FACE], [POINTS]) == 0
    meter = Flicker()
    meter.add(1, FACE, POINTS)
    meter.keep([])
    meter.add(1, 255 - FACE, POINTS)
    assert meter.mean == 0, "a face that disappeared is not compared"


@pytest.mark.slow
def test_smoothing_reduces_flicker():
    frames, points = moving(12)
    noise = np.random.default_rng(0).normal(0, 1.0, (len(frames), 7, 2))
    restorer = gpen.Restorer(gpen.load())
    measured = {}
    for smoothing in (None, Smoothing()):
        tracker, restored = Tracker(25, smoothing), []
        for frame, p, off in zip(frames, points, noise, strict=True):
            faces = [track.face() for track in tracker(frame, [found(p, off)])]
            restored.append(restorer.photo(frame, faces=faces).image)
        measured[smoothing] = flicker(restored, points)
    assert measured[Smoothing()] < 0.95 * measured[None], measured
