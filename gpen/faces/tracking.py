"""Face tracking in video with temporal smoothing of landmarks, and a measure of flicker.

Faces are matched between frames by the overlap of their boxes. Boxes and landmarks are smoothed by a One-Euro filter (Casiez,
Roussel and Vogel, CHI 2012), whose cutoff frequency increases with speed. Tracks end at a cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from gpen.faces.alignment import Face, align

FLICKER_SIZE = 128  # px, of the aligned faces on which flicker is measured
INNER = slice(FLICKER_SIZE // 5, -FLICKER_SIZE // 5)  # part of the aligned crop that excludes the background


@dataclass(frozen=True)
class Smoothing:
    """Settings of the tracker.

    min_cutoff          Hz, cutoff of a face at rest; lower is smoother
    beta                increase of the cutoff in Hz per face width / s; higher reduces lag
    speed_cutoff        Hz, cutoff of the low-pass filter of the speed
    overlap             minimum intersection over union of the boxes of a face in consecutive frames
    patience            frames for which an undetected face is kept, as long as its region is unchanged
    same                mean absolute difference, 0 to 255, below which a region counts as unchanged
    cut                 mean absolute difference, 0 to 255, of the thumbnails of two frames above which there is a cut
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
    """A tracked face: `points` [7, 2] are the smoothed box corners and landmarks, `detected` the last detection."""

    number: int
    detected: Face
    points: np.ndarray
    speed: np.ndarray  # [7, 2], box widths / s
    thumbnail: np.ndarray  # of the region of the last detection
    missed: int = 0  # frames since the last detection

    def face(self) -> Face:
        """Return the face with the smoothed box and landmarks."""
        return Face(tuple(self.points[:2].ravel().tolist()), self.points[2:].astype(np.float32), self.detected.score)


class Tracker:
    """Tracks the faces of a video; call it with each frame and the faces detected in it.

    rate: frames / s. smoothing: None tracks faces without smoothing their landmarks.
    """

    def __init__(self, rate: float, smoothing: Smoothing | None = Smoothing()):  # noqa: B008 - frozen
        self.rate, self.smoothing = rate, smoothing
        self.settings = smoothing or Smoothing(patience=0)
        self.tracks: list[Track] = []
        self.count = 0
        self._thumbnail: np.ndarray | None = None

    def __call__(self, image: np.ndarray, faces: Sequence[Face]) -> list[Track]:
        """Update the tracks with a frame, uint8 RGB [h, w, 3], and return the faces to restore in it, largest first."""
        thumbnail = _thumbnail(image)
        if self._thumbnail is not None and _difference(thumbnail, self._thumbnail) > self.settings.cut:
            self.tracks = []
        self._thumbnail = thumbnail
        pairs = self._match(faces)
        for track in [track for track in self.tracks if id(track) not in {id(t) for t, _ in pairs}]:
            track.missed += 1
            changed = _difference(_thumbnail_of(image, track.detected.box), track.thumbnail) > self.settings.same
            if track.missed > self.settings.patience or changed:
                self.tracks.remove(track)
        for track, face in pairs:
            self._update(track, face, image)
        known = {id(face) for _, face in pairs}
        self.tracks += [self._begin(face, image) for face in faces if id(face) not in known]
        return sorted(self.tracks, key=lambda track: -_area(track.detected.box))

    def _match(self, faces: Sequence[Face]) -> list[tuple[Track, Face]]:
        """Match tracks and faces greedily by overlap; each is in at most one pair."""
        scored = [(_overlap(t.detected.box, f.box), t, f) for t in self.tracks for f in faces]
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
        return Track(self.count, face, points, np.zeros_like(points), _thumbnail_of(image, face.box))

    def _update(self, track: Track, face: Face, image: np.ndarray) -> None:
        """Apply one step of the One-Euro filter; all points share one cutoff, so that the shape of the face is preserved."""
        points, seconds = _points(face), (track.missed + 1) / self.rate
        if self.smoothing is None:
            track.points = points
        else:
            width = np.sqrt(_area(face.box))
            speed = (points - track.points) / width / seconds
            track.speed += _weight(self.smoothing.speed_cutoff, seconds) * (speed - track.speed)
            mean_speed = float(np.linalg.norm(track.speed.mean(axis=0)))
            weight = _weight(self.smoothing.min_cutoff + self.smoothing.beta * mean_speed, seconds)
            track.points = track.points + weight * (points - track.points)
        track.detected, track.thumbnail, track.missed = face, _thumbnail_of(image, face.box), 0


def flicker(images: Iterable[np.ndarray], landmarks: Iterable[np.ndarray]) -> float:
    """Mean absolute difference, 0 to 255, of an aligned face between consecutive frames.

    images: uint8 RGB [h, w, 3] each. landmarks: [5, 2] of the face in each; alignment compensates the motion. Compare it with the
    flicker of the input, computed with the same landmarks. 0 for fewer than two frames.
    """
    meter = Flicker()
    for image, points in zip(images, landmarks, strict=True):
        meter.add(0, image, points)
    return meter.mean


@dataclass
class Flicker:
    """Computes `flicker` of several faces incrementally."""

    total: float = 0.0
    count: int = 0
    last: dict[int, np.ndarray] = field(default_factory=dict, repr=False)

    def add(self, number: int, image: np.ndarray, landmarks: np.ndarray) -> None:
        """Add a frame, uint8 RGB [h, w, 3], with the landmarks [5, 2] of the face `number`."""
        crop = align(image, landmarks, FLICKER_SIZE)[0][INNER, INNER]
        if number in self.last:
            self.total += _difference(crop, self.last[number])
            self.count += 1
        self.last[number] = crop

    def keep(self, numbers: Iterable[int]) -> None:
        """Discard the state of all other faces."""
        self.last = {number: crop for number, crop in self.last.items() if number in set(numbers)}

    @property
    def mean(self) -> float:
        """Mean over all faces and frames."""
        return self.total / max(1, self.count)


def _weight(cutoff: float, seconds: float) -> float:
    """Weight of the new value in a first-order low-pass filter."""
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


def _thumbnail_of(image: np.ndarray, box: Sequence[float]) -> np.ndarray:
    x0, y0, x1, y1 = (max(0, round(v)) for v in box)
    patch = image[y0:y1, x0:x1]
    return _thumbnail(patch) if patch.size else np.zeros((16, 16, 3), np.uint8)


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(cv2.absdiff(a, b).mean())
