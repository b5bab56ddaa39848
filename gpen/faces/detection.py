"""Face detection by MTCNN (K. Zhang et al., SPL 2016) or YuNet (W. Wu et al., MIR 2023).

`load_detector()` returns a function of an image. Points are (x, y) in px, with the centre of the first pixel at (0, 0); left and
right are those of the image.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from gpen.errors import GPENError
from gpen.faces.alignment import FFHQ_POINTS_512, Face, fit_similarity, warp
from gpen.images import downscale
from gpen.models.download import yunet_file
from gpen.optional import import_optional

MAX_SIDE = 2048  # px; a larger photo is downscaled for detection, so that the smallest face found is 1% of its longer side
MAX_SIDE_ROTATED = 1024  # px, when searching for rotated faces
MIN_FACE = 20  # px, in the image given to the network
SAME_FACE = 0.6  # boxes are of the same face if their intersection exceeds this fraction of the smaller box
# The side of the box of an upright face is 0.53 to 0.66 of that of the aligned square; of an upside-down face it is larger.
MAX_UPRIGHT_BOX = 0.665
MAX_TEMPLATE_ERROR = 0.12  # of the side of the aligned square; landmarks with a larger RMS distance to the template are rejected
RESCORE_BELOW = 0.99  # MTCNN detections with a lower score are detected again,
RESCORE_SIZES = (48, 64, 96)  # px, with boxes of these sides; false positives rarely score at all of them
# At least one of these scores, or of those of the mirrored image, must reach this value. It was chosen on enlarged and reduced
# group photos: patterns of 12 to 40 px reach at most 0.982, faces at least 0.99.
CONFIRMED = 0.985

# Detects upright faces in uint8 RGB [h, w, 3]: box corners and landmarks [n, 7, 2] in px, scores [n]
DetectFunction = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Detector:
    """Face detector: detect(image) -> list[Face], largest first.

    network: detects upright faces.
    min_score: faces with a lower score are dropped.
    sure_score: a detection is reliable if its score is at least this, its landmarks are upright and their spread matches the box.
        An upside-down face is also found by a search for upright faces, but inaccurately.
    sizes: lengths of the longer side in px at which the photo is searched.
    rescore: (image, points of a face) -> further scores, averaged with that of an uncertain detection.
    """

    network: DetectFunction
    min_score: float
    sure_score: float
    sizes: tuple[int, ...] = (MAX_SIDE,)
    rescore: Callable[[np.ndarray, np.ndarray], list[float]] | None = None

    def __call__(self, image: np.ndarray, rotated: bool | None = True) -> list[Face]:
        """Detect all faces in a photo, uint8 RGB [h, w, 3]. Raises GPENError for any other array.

        rotated: also search for faces rotated by 90, 180 and 270 degrees. None: only if at most half of the upright detections
        are reliable, which takes a third of the time but misses a rotated face next to an upright one; used for video.
        """
        check_photo(image)
        found = self._search(image)
        if rotated or rotated is None and 2 * found[:, SURE].sum() <= len(found):
            found = self._with_rotated(image, found)
        found = found[np.argsort(-_area(found), kind="stable")]
        return [Face(tuple(row[:4].tolist()), row[4:SCORE].reshape(5, 2).astype(np.float32), float(row[SCORE])) for row in found]

    def _search(self, image: np.ndarray, sure_only: bool = False) -> np.ndarray:
        """Detect upright faces: [n, 16], per face the box (4), the landmarks (10), the score and whether it is reliable.

        sure_only: return reliable detections only; those just below `sure_score` are rescored instead of those with a low score.
        """
        longest, found = max(image.shape[:2]), []
        for size in sorted({min(size, longest) for size in self.sizes}):
            small = downscale(image, size)
            scale = np.array(small.shape[1::-1]) / image.shape[1::-1]  # [2]
            margin = max(size // 12, 16)  # faces cut by the image border are located more accurately with padding
            padded = cv2.copyMakeBorder(small, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
            points, scores = self.network(padded)
            uncertain = (RESCORE_BELOW <= scores) & (scores < self.sure_score) if sure_only else scores < RESCORE_BELOW
            for i in np.flatnonzero(uncertain) if self.rescore else ():
                scores[i] = np.mean([scores[i], *cast(Callable, self.rescore)(padded, points[i])])
            points = (points.astype(np.float64).reshape(-1, 7, 2) - margin + 0.5) / scale - 0.5  # [n, 7, 2]
            pairs = zip(points, scores, strict=True)
            found += [self._row(p, s) for p, s in pairs if s >= self.min_score and _is_face(p, image.shape)]
        rows = np.array(found).reshape(-1, 16)
        return _distinct(rows[rows[:, SURE] > 0] if sure_only else rows)

    def _row(self, points: np.ndarray, score: float) -> np.ndarray:
        matrix, _ = fit_similarity(points[2:], FFHQ_POINTS_512)
        angle, scale = np.arctan2(matrix[1, 0], matrix[0, 0]), np.hypot(matrix[0, 0], matrix[1, 0])
        box = np.sqrt(np.prod(points[1] - points[0])) * scale / 512  # side of the box relative to the aligned square
        sure = score >= self.sure_score and abs(angle) < np.pi / 4 and box < MAX_UPRIGHT_BOX
        return np.array([*points.ravel(), score, sure])

    def _with_rotated(self, image: np.ndarray, upright: np.ndarray) -> np.ndarray:
        """Add the reliable faces of the other orientations; the orientation with most of them is searched at full size."""
        small, found = downscale(image, MAX_SIDE_ROTATED), {0: upright}
        for turns in (1, 2, 3):
            rows = self._search(np.ascontiguousarray(np.rot90(small, turns)), sure_only=True)
            found[turns] = _rotate_back(rows, turns, small.shape, image.shape)
        sure = {turns: rows[:, SURE].sum() for turns, rows in found.items()}
        if main := max(sure, key=lambda turns: sure[turns]):
            rows = self._search(np.ascontiguousarray(np.rot90(image, main)))
            found[main] = _rotate_back(rows, main, image.shape, image.shape)
            found[0] = upright[upright[:, SURE] > 0]
        return _distinct(np.concatenate(list(found.values())))


SCORE, SURE = 14, 15  # columns of the rows of Detector._search


def load_detector(name: str | os.PathLike = "mtcnn") -> Detector:
    """Load a detector: "mtcnn" (weights included in facenet-pytorch), "yunet", or the path of a YuNet file (.onnx).

    YuNet is searched for in $GPEN_MODELS and the cache, then downloaded (230 kB). Raises GPENError if a package or file is
    missing. Detectors are not thread-safe.
    """
    if str(name) in DETECTORS:
        return DETECTORS[str(name)]()
    if Path(name).suffix == ".onnx":
        return _yunet(Path(name))
    raise GPENError(f"There is no detector {str(name)!r}: choose {' or '.join(DETECTORS)}, or give a YuNet .onnx file.")


def _mtcnn() -> Detector:
    from gpen.compat import patch_torchvision  # lazy: the import takes a second and is not needed for aligned faces

    patch_torchvision()
    facenet = import_optional("facenet_pytorch", "photo", "Face detection by MTCNN")
    cascade = facenet.MTCNN(keep_all=True, min_face_size=MIN_FACE)

    def find(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        boxes, scores, landmarks = cascade.detect(image, landmarks=True)
        if boxes is None:
            return np.empty((0, 7, 2)), np.empty(0)
        points = np.concatenate([boxes.reshape(-1, 2, 2), landmarks], axis=1).astype(np.float64)  # [n, 7, 2]
        return points, scores.astype(np.float64)

    def rescore(image: np.ndarray, points: np.ndarray) -> list[float]:
        return rescores(find, image, points)

    return Detector(find, min_score=0.8, sure_score=0.999, rescore=rescore)


def rescores(network: DetectFunction, image: np.ndarray, points: np.ndarray) -> list[float]:
    """Scores of the face at points [7, 2] at RESCORE_SIZES; zeros if neither they nor the mirrored image confirm it."""
    scores = [_rescore(network, image, points, side) for side in RESCORE_SIZES]
    mirrored = (_rescore(network, image, points, side, mirrored=True) for side in RESCORE_SIZES)
    return scores if max(scores) >= CONFIRMED or any(score >= CONFIRMED for score in mirrored) else [0.0] * len(scores)


def _rescore(network: DetectFunction, image: np.ndarray, points: np.ndarray, side: int, mirrored: bool = False) -> float:
    """Score of the face at points [7, 2] after rescaling its box to `side` px, with a margin of `side` px; 0 if not detected."""
    middle, scale = points[:2].mean(axis=0), side / (points[1] - points[0]).max()
    turn = scale * np.diag([-1.0 if mirrored else 1.0, 1.0])
    matrix = np.concatenate([turn, (1.5 * side - turn @ middle)[:, None]], axis=1)  # [2, 3]
    found, scores = network(warp(image, matrix, (3 * side, 3 * side), cv2.BORDER_REPLICATE))
    near = np.linalg.norm(found[:, :2].mean(axis=1) - 1.5 * side, axis=1) < side / 4  # [n]
    large = (found[:, 1] - found[:, 0]).max(axis=1, initial=0) / side  # [n]
    return float(scores[near & (large > 0.6) & (large < 1.6)].max(initial=0))


def _yunet(path: Path | None = None) -> Detector:
    path = path or yunet_file()
    if not path.is_file():
        raise GPENError(f"There is no file {path}: check the path, or use the detector yunet, which is downloaded.")
    try:
        network = cv2.FaceDetectorYN.create(str(path), "", (320, 320), 0.6, 0.3, 5000)
    except cv2.error:
        raise GPENError(f"{path} is not a YuNet file: use the detector yunet, which is downloaded.") from None

    def find(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        network.setInputSize(image.shape[1::-1])
        _, rows = network.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))  # [n, 15]: x, y, width, height, landmarks, score
        faces = np.empty((0, 15)) if rows is None else rows.astype(np.float64)
        faces[:, 2:4] += faces[:, :2]
        return faces[:, :14].reshape(-1, 7, 2), faces[:, 14]

    return Detector(find, min_score=0.8, sure_score=0.9, sizes=(MAX_SIDE, 1024, 512, 256))


DETECTORS: dict[str, Callable[[], Detector]] = {"mtcnn": _mtcnn, "yunet": _yunet}


def check_photo(image: np.ndarray) -> None:
    """Raise GPENError unless `image` is a non-empty uint8 RGB array [h, w, 3]."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise GPENError("A photo must be a non-empty uint8 RGB array [h, w, 3].")


def _is_face(points: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether the landmarks of points [7, 2] match the template and the centre of the box is within the image."""
    if (points[1] <= points[0]).any() or not np.isfinite(points).all():
        return False
    centre, (_, error) = points[:2].mean(axis=0), fit_similarity(points[2:], FFHQ_POINTS_512)
    return bool((centre >= 0).all() and (centre < shape[1::-1]).all() and error < MAX_TEMPLATE_ERROR * 512)


def _rotate_back(rows: np.ndarray, turns: int, searched: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Convert detections in np.rot90(image, turns), where image has the shape `searched`, to px of the photo of `shape`."""
    h, w = searched[:2]
    x, y = rows[:, 0:SCORE:2], rows[:, 1:SCORE:2]  # [n, 7] each
    x, y = {1: (w - 1 - y, x), 2: (w - 1 - x, h - 1 - y), 3: (y, h - 1 - x)}[turns]
    points = (np.stack([x, y], axis=2) + 0.5) * (np.array(shape[1::-1]) / (w, h)) - 0.5  # [n, 7, 2]
    points[:, :2] = np.sort(points[:, :2], axis=1)
    return np.concatenate([points.reshape(-1, SCORE), rows[:, SCORE:]], axis=1)


def _area(rows: np.ndarray) -> np.ndarray:
    return (rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1])


def _distinct(rows: np.ndarray) -> np.ndarray:
    """Non-maximum suppression, reliable detections first, then by score; overlap is relative to the smaller box."""
    rows, kept = rows[np.lexsort((-rows[:, SCORE], -rows[:, SURE]))], []
    while len(rows):
        best, rows = rows[0], rows[1:]
        kept.append(best)
        shared = (np.minimum(rows[:, 2:4], best[2:4]) - np.maximum(rows[:, :2], best[:2])).clip(0).prod(axis=1)
        rows = rows[shared <= SAME_FACE * np.minimum(_area(rows), _area(best[None]))]
    return np.array(kept).reshape(-1, 16)
