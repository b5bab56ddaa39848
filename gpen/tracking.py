"""Faces followed through the frames of a film, their landmarks smoothed over time, and flicker, the reason for it, measured.

A face is followed by the overlap of its boxes; its box and landmarks pass a One-Euro filter (Casiez, Roussel and Vogel, CHI
2012), which smooths a face at rest and lets a moving one go. A cut in the film starts anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from .faces import Face, align

FLICKER_SIZE = 128  # px of the aligned faces that flicker is measured on
INNER = slice(FLICKER_SIZE // 5, -FLICKER_SIZE // 5)  # of these: what is face rather than what is behind it


@dataclass(frozen=True)
class Smoothing:
    """How faces are followed.

    min_cutoff          Hz, of a face at rest: lower is smoother
    beta                what a speed of one face width a second adds to it: higher lags less
    speed_cutoff        Hz, of the speed itself
    overlap             intersection over union above which two frames' boxes are one face
    patience            frames for which a face that the detector misses is kept, as long as its place looks the same
    same                levels of 255: what looks the same
    cut                 levels of 255 by which a cut changes the frame's thumbnail, on average
    """

    min_cutoff: float = 0.6
    beta: float = 6.0
    speed_cutoff: float = 1.0
    overlap: float = 0.3
    patience: int = 3
    same: float = 12.0
    cut: float = 30.0


@dataclass
class Track:
    """A face followed: `points` [7, 2] are its box's corners and its landmarks, smoothed; `seen` is the face last detected."""

    number: int
    seen: Face
    points: np.ndarray
    speed: np.ndarray  # [7, 2], box widths a second
    look: np.ndarray  # a thumbnail of the place
    lost: int = 0

    def face(self) -> Face:
        return Face(tuple(self.points[:2].ravel().tolist()), self.points[2:].astype(np.float32), self.seen.score)


class Tracker:
    """Follows the faces of a film; call it with each frame and what a detector found there.

    rate: frames a second. smoothing None follows faces and leaves their landmarks as they were found.
    """

    def __init__(self, rate: float, smoothing: Smoothing | None = Smoothing()):  # noqa: B008 - frozen
        self.rate, self.smoothing = rate, smoothing
        self.settings = smoothing or Smoothing(patience=0)
        self.tracks: list[Track] = []
        self.count = 0
        self._thumbnail: np.ndarray | None = None

    def __call__(self, image: np.ndarray, faces: Sequence[Face]) -> list[Track]:
        """The faces to restore in this frame, uint8 RGB [h, w, 3], largest first."""
        thumbnail = _thumbnail(image)
        if self._thumbnail is not None and _difference(thumbnail, self._thumbnail) > self.settings.cut:
            self.tracks = []
        self._thumbnail = thumbnail
        pairs = self._match(faces)
        for track in [track for track in self.tracks if id(track) not in {id(t) for t, _ in pairs}]:
            track.lost += 1
            gone = _difference(_look(image, track.seen.box), track.look) > self.settings.same
            if track.lost > self.settings.patience or gone:
                self.tracks.remove(track)
        for track, face in pairs:
            self._follow(track, face, image)
        known = {id(face) for _, face in pairs}
        self.tracks += [self._begin(face, image) for face in faces if id(face) not in known]
        return sorted(self.tracks, key=lambda track: -_area(track.seen.box))

    def _match(self, faces: Sequence[Face]) -> list[tuple[Track, Face]]:
        """Pairs of track and face, the best overlap first, each in one pair at most."""
        scored = [(_overlap(t.seen.box, f.box), t, f) for t in self.tracks for f in faces]
        pairs: list[tuple[Track, Face]] = []
        taken: set[int] = set()
        for overlap, track, face in sorted(scored, key=lambda s: -s[0]):
            if overlap > self.settings.overlap and not {id(track), id(face)} & taken:
                pairs.append((track, face))
                taken |= {id(track), id(face)}
        return pairs

    def _begin(self, face: Face, image: np.ndarray) -> Track:
        self.count += 1
        points = _points(face)
        return Track(self.count, face, points, np.zeros_like(points), _look(image, face.box))

    def _follow(self, track: Track, face: Face, image: np.ndarray) -> None:
        """One step of the One-Euro filter; all points share a cutoff, so that the face keeps its shape."""
        points, seconds = _points(face), (track.lost + 1) / self.rate
        if self.smoothing is None:
            track.points = points
        else:
            width = np.sqrt(_area(face.box))
            speed = (points - track.points) / width / seconds
            track.speed += _weight(self.smoothing.speed_cutoff, seconds) * (speed - track.speed)
            pace = float(np.linalg.norm(track.speed.mean(axis=0)))
            weight = _weight(self.smoothing.min_cutoff + self.smoothing.beta * pace, seconds)
            track.points = track.points + weight * (points - track.points)
        track.seen, track.look, track.lost = face, _look(image, face.box), 0


def flicker(images: Iterable[np.ndarray], landmarks: Iterable[np.ndarray]) -> float:
    """How much a face changes from frame to frame besides moving: mean absolute difference, in levels of 255.

    images: uint8 RGB [h, w, 3] each; landmarks: [5, 2] of the face in each. Alignment compensates the motion. Meaningful against
    the same measure, with the same landmarks, of the input; 0 for a still, or fewer than two frames.
    """
    meter = Flicker()
    for image, points in zip(images, landmarks, strict=True):
        meter.add(0, image, points)
    return meter.mean


@dataclass
class Flicker:
    """`flicker` of several faces, one frame at a time."""

    total: float = 0.0
    count: int = 0
    last: dict[int, np.ndarray] = field(default_factory=dict, repr=False)

    def add(self, number: int, image: np.ndarray, landmarks: np.ndarray) -> None:
        crop = align(image, landmarks, FLICKER_SIZE)[0][INNER, INNER]
        if number in self.last:
            self.total += _difference(crop, self.last[number])
            self.count += 1
        self.last[number] = crop

    def keep(self, numbers: Iterable[int]) -> None:
        """Forget the faces that are gone."""
        self.last = {number: crop for number, crop in self.last.items() if number in set(numbers)}

    @property
    def mean(self) -> float:
        return self.total / max(1, self.count)


def _weight(cutoff: float, seconds: float) -> float:
    """Of the new value in a first-order low-pass filter."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * seconds))


def _points(face: Face) -> np.ndarray:
    return np.concatenate([np.reshape(face.box, (2, 2)), face.landmarks]).astype(np.float64)  # [7, 2]


def _area(box: Sequence[float]) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union."""
    shared = _area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    return shared / max(_area(a) + _area(b) - shared, 1e-9)


def _thumbnail(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA)


def _look(image: np.ndarray, box: Sequence[float]) -> np.ndarray:
    x0, y0, x1, y1 = (max(0, round(v)) for v in box)
    patch = image[y0:y1, x0:x1]
    return _thumbnail(patch) if patch.size else np.zeros((16, 16, 3), np.uint8)


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(cv2.absdiff(a, b).mean())
