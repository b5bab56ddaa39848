"""Faces in a photo: found by MTCNN (K. Zhang et al., SPL 2016) or YuNet (W. Wu et al., MIR 2023), aligned to FFHQ's template.

`load_detector()` gives a function of an image; `align` gives the square that the network takes, and the similarity between the
two. Points are (x, y) in pixels, counted from the centre of the first one; left is the image's left.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from .download import yunet_file
from .errors import GPENError

# Left eye, right eye, nose, left and right mouth corner of a face aligned as FFHQ's are, at 512 px
FFHQ_POINTS_512 = np.array([(192.98, 239.95), (318.90, 240.19), (256.63, 314.02), (201.26, 371.41), (313.09, 371.15)])
LONGEST = 2048  # px: a larger photo is searched at this size, so the smallest face found in it is 1% of its longer side
TURNED_LONGEST = 1024  # px, in the search for faces that lie on their side or stand on their head
SMALLEST = 20  # px, of a face in the searched picture
SAME = 0.6  # two boxes hold one face when they share more than this part of the smaller one
# Of a face seen the right way up the box's side is 0.53 to 0.66 of the aligned square's; of one seen upside down it is larger.
UPRIGHT_BOX = 0.665
MALFORMED = 0.12  # of the aligned square's side: five points that lie farther than this from the template's are no face
CLEAR = 0.99  # MTCNN's doubtful faces, those below, are looked at again,
LOOKS = (48, 64, 96)  # with boxes of these sides: what is none is seldom seen every time

# A network finds upright faces in uint8 RGB [h, w, 3]: corners and landmarks [n, 7, 2] in px, scores [n]
Network = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Face:
    """A face found: its box (x0, y0, x1, y1) in px, five landmarks [5, 2] in px, and the detector's score, 0 to 1."""

    box: tuple[float, float, float, float]
    landmarks: np.ndarray  # float32 [5, 2], in the order of FFHQ_POINTS_512
    score: float


@dataclass(frozen=True)
class Detector:
    """Finds faces: detect(image) -> list[Face], largest first.

    Faces that score below `least` are dropped. One is sure that scores `sure`, and whose landmarks stand upright and spread as
    far as its box asks for: a face that stands on its head is found by an upright search too, but badly.
    """

    network: Network
    least: float
    sure: float
    sides: tuple[int, ...] = (LONGEST,)  # px of the longer side; the network sees the photo at each
    look_again: Callable[[np.ndarray, np.ndarray], list[float]] | None = None  # picture, a face's points -> its further scores

    def __call__(self, image: np.ndarray, turned: bool | None = True) -> list[Face]:
        """Every face in a photo, uint8 RGB [h, w, 3]; none is an empty list. Raises GPENError for another kind of array.

        turned: look for faces turned by 90, 180 and 270 degrees too; None: only where fewer than half of those found upright are
        sure, which leaves out one that lies beside one that stands, for a third of the time: for films.
        """
        check(image)
        found = self._search(image)
        if turned or turned is None and 2 * found[:, SURE].sum() <= len(found):
            found = self._with_turned(image, found)
        found = found[np.argsort(-_area(found), kind="stable")]
        return [Face(tuple(row[:4].tolist()), row[4:SCORE].reshape(5, 2).astype(np.float32), float(row[SCORE])) for row in found]

    def _search(self, image: np.ndarray, sure_ones: bool = False) -> np.ndarray:
        """The upright faces, a row each: the box's 4 numbers, the landmarks' 10, the score, whether it is sure; [n, 16].

        sure_ones: only those are wanted; so what is nearly sure is looked at again, and else what is doubtful.
        """
        longest, found = max(image.shape[:2]), []
        for side in sorted({min(side, longest) for side in self.sides}):
            picture = shrink(image, side)
            scale = np.array(picture.shape[1::-1]) / image.shape[1::-1]  # [2]
            margin = max(side // 12, 16)  # a face that the frame cuts is placed better with something around it
            framed = cv2.copyMakeBorder(picture, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
            points, scores = self.network(framed)
            doubtful = (CLEAR <= scores) & (scores < self.sure) if sure_ones else scores < CLEAR
            for i in np.flatnonzero(doubtful) if self.look_again else ():
                scores[i] = np.mean([scores[i], *cast(Callable, self.look_again)(framed, points[i])])
            points = (points.astype(np.float64).reshape(-1, 7, 2) - margin + 0.5) / scale - 0.5  # [n, 7, 2]
            pairs = zip(points, scores, strict=True)
            found += [self._row(p, s) for p, s in pairs if s >= self.least and _is_face(p, image.shape)]
        rows = np.array(found).reshape(-1, 16)
        return _distinct(rows[rows[:, SURE] > 0] if sure_ones else rows)

    def _row(self, points: np.ndarray, score: float) -> np.ndarray:
        (a, _), _ = _similarity(points[2:], FFHQ_POINTS_512)
        spread = np.sqrt(np.prod(points[1] - points[0])) * abs(a) / 512
        sure = score >= self.sure and abs(np.angle(a)) < np.pi / 4 and spread < UPRIGHT_BOX
        return np.array([*points.ravel(), score, sure])

    def _with_turned(self, image: np.ndarray, upright: np.ndarray) -> np.ndarray:
        """`upright` and the sure faces of the other orientations; if those are more, the whole photo is taken as turned."""
        small, found = shrink(image, TURNED_LONGEST), {0: upright}
        for turns in (1, 2, 3):
            rows = self._search(np.ascontiguousarray(np.rot90(small, turns)), sure_ones=True)
            found[turns] = _turned_back(rows, turns, small.shape, image.shape)
        sure = {turns: rows[:, SURE].sum() for turns, rows in found.items()}
        if main := max(sure, key=lambda turns: sure[turns]):
            rows = self._search(np.ascontiguousarray(np.rot90(image, main)))
            found[main] = _turned_back(rows, main, image.shape, image.shape)
            found[0] = upright[upright[:, SURE] > 0]
        return _distinct(np.concatenate(list(found.values())))


SCORE, SURE = 14, 15  # columns of the rows above


def load_detector(name: str | os.PathLike = "mtcnn") -> Detector:
    """A detector: "mtcnn" (its weights come with facenet-pytorch), "yunet", or the path of a YuNet file (.onnx).

    YuNet is looked for in $GPEN_MODELS and in the cache, then downloaded (230 kB). Raises GPENError where a package or file is
    absent, with the way out. A detector serves one caller at a time.
    """
    if str(name) in DETECTORS:
        return DETECTORS[str(name)]()
    if Path(name).suffix == ".onnx":
        return _yunet(Path(name))
    raise GPENError(f"There is no detector {str(name)!r}: choose {' or '.join(DETECTORS)}, or name YuNet's .onnx file.")


def _mtcnn() -> Detector:
    from .compat import mend_torchvision  # late: the packages take a second to import, and aligned faces need none of it

    mend_torchvision()
    try:
        from facenet_pytorch import MTCNN
    except ImportError:
        raise GPENError("Finding faces needs a package: pip install facenet-pytorch==2.5.3, or give aligned faces.") from None
    cascade = MTCNN(keep_all=True, min_face_size=SMALLEST)

    def find(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        boxes, scores, landmarks = cascade.detect(image, landmarks=True)
        if boxes is None:
            return np.empty((0, 7, 2)), np.empty(0)
        points = np.concatenate([boxes.reshape(-1, 2, 2), landmarks], axis=1).astype(np.float64)  # [n, 7, 2]
        return points, scores.astype(np.float64)

    def look_again(image: np.ndarray, points: np.ndarray) -> list[float]:
        return [_look(find, image, points, side) for side in LOOKS]

    return Detector(find, least=0.8, sure=0.999, look_again=look_again)


def _look(network: Network, image: np.ndarray, points: np.ndarray, side: int) -> float:
    """The score of the face at points [7, 2] when its box has `side` px, with as much again around it; 0 if it is not seen."""
    middle, scale = points[:2].mean(axis=0), side / (points[1] - points[0]).max()
    matrix = np.concatenate([scale * np.eye(2), (1.5 * side - scale * middle)[:, None]], axis=1)  # [2, 3]
    found, scores = network(warp(image, matrix, (3 * side, 3 * side), cv2.BORDER_REPLICATE))
    near = np.linalg.norm(found[:, :2].mean(axis=1) - 1.5 * side, axis=1) < side / 4  # [n]
    large = (found[:, 1] - found[:, 0]).max(axis=1, initial=0) / side  # [n]
    return float(scores[near & (large > 0.6) & (large < 1.6)].max(initial=0))


def _yunet(path: Path | None = None) -> Detector:
    path = path or yunet_file()
    if not path.is_file():
        raise GPENError(f"There is no file {path}: leave the path out, and YuNet is downloaded.")
    try:
        network = cv2.FaceDetectorYN.create(str(path), "", (320, 320), 0.6, 0.3, 5000)
    except cv2.error:
        raise GPENError(f"{path} is not a YuNet file: leave the path out, and YuNet is downloaded.") from None

    def find(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        network.setInputSize(image.shape[1::-1])
        _, rows = network.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))  # [n, 15]: x, y, width, height, landmarks, score
        faces = np.empty((0, 15)) if rows is None else rows.astype(np.float64)
        faces[:, 2:4] += faces[:, :2]
        return faces[:, :14].reshape(-1, 7, 2), faces[:, 14]

    return Detector(find, least=0.8, sure=0.9, sides=(LONGEST, 1024, 512, 256))


DETECTORS: dict[str, Callable[[], Detector]] = {"mtcnn": _mtcnn, "yunet": _yunet}


def check(image: np.ndarray) -> None:
    """Raises GPENError unless `image` is a uint8 RGB array [h, w, 3] with pixels in it."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise GPENError("A photo is a uint8 RGB array [h, w, 3].")


def shrink(image: np.ndarray, longest: int) -> np.ndarray:
    """`image` [h, w, 3] with its longer side at most `longest` px, area-averaged."""
    h, w = image.shape[:2]
    if max(h, w) <= longest:
        return image
    size = (max(1, round(w * longest / max(h, w))), max(1, round(h * longest / max(h, w))))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def align(image: np.ndarray, landmarks: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The face with these landmarks [5, 2], upright in FFHQ's frame: uint8 RGB [size, size, 3], and the similarity [2, 3] to it.

    The similarity is the least-squares one. Shrinking averages, growing is bilinear as in GPEN's training, and what lies outside
    the image is its reflection. Raises GPENError where the points do not span a face.
    """
    matrix = similarity(landmarks, size)
    return warp(image, matrix, (size, size), cv2.BORDER_REFLECT_101), matrix


def aligned_face(image: np.ndarray) -> Face:
    """The face of a picture [h, w, 3] that is aligned already: its central square is FFHQ's frame. Nothing is searched for."""
    h, w = image.shape[:2]
    side = min(h, w)
    x, y = (w - side) // 2, (h - side) // 2
    landmarks = (FFHQ_POINTS_512 + 0.5) * (side / 512) - 0.5 + (x, y)
    return Face((float(x), float(y), float(x + side), float(y + side)), landmarks.astype(np.float32), 0.0)


def similarity(landmarks: np.ndarray, size: int) -> np.ndarray:
    """The similarity float64 [2, 3] from the image to the aligned square of `size` px, least squares over five points [5, 2]."""
    points = np.asarray(landmarks, np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all() or np.ptp(points, axis=0).max() < 1:
        raise GPENError("Landmarks are five different points (x, y): both eyes, the nose and both mouth corners.")
    (a, b), _ = _similarity(points, (FFHQ_POINTS_512 + 0.5) * (size / 512) - 0.5)
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def warp(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], border: int, grow: int = cv2.INTER_LINEAR) -> np.ndarray:
    """`image` under the affine `matrix` [2, 3], as (width, height); shrinking does not alias: it warps large, then averages."""
    times = max(1, int(np.ceil(1 / np.sqrt(abs(np.linalg.det(matrix[:, :2]))) - 1e-6)))
    large = matrix * times
    large[:, 2] += (times - 1) / 2  # a pixel's centre lies at +0.5 of its corner
    warped = cv2.warpAffine(image, large, (size[0] * times, size[1] * times), flags=grow, borderMode=border)
    return cv2.resize(warped, size, interpolation=cv2.INTER_AREA) if times > 1 else warped


def _similarity(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
    """(a, b) of target = a * source + b in complex numbers, and the root mean square distance that is left."""
    design = np.stack([source @ [1, 1j], np.ones(len(source))], axis=1)  # [5, 2]
    goal = target @ [1, 1j]  # [5]
    solution = np.linalg.lstsq(design, goal, rcond=None)[0]
    return solution, float(np.sqrt(np.mean(abs(design @ solution - goal) ** 2)))


def _is_face(points: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether the landmarks are laid out as a face's, and the middle of the box [7, 2] lies in the image."""
    if (points[1] <= points[0]).any() or not np.isfinite(points).all():
        return False
    middle, (_, error) = points[:2].mean(axis=0), _similarity(points[2:], FFHQ_POINTS_512)
    return bool((middle >= 0).all() and (middle < shape[1::-1]).all() and error < MALFORMED * 512)


def _turned_back(rows: np.ndarray, turns: int, searched: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Rows found in np.rot90(picture, turns), whose picture has the shape `searched`, in pixels of the photo of `shape`."""
    h, w = searched[:2]
    x, y = rows[:, 0:SCORE:2], rows[:, 1:SCORE:2]  # [n, 7] each
    x, y = {1: (w - 1 - y, x), 2: (w - 1 - x, h - 1 - y), 3: (y, h - 1 - x)}[turns]
    points = (np.stack([x, y], axis=2) + 0.5) * (np.array(shape[1::-1]) / (w, h)) - 0.5  # [n, 7, 2]
    points[:, :2] = np.sort(points[:, :2], axis=1)
    return np.concatenate([points.reshape(-1, SCORE), rows[:, SCORE:]], axis=1)


def _area(rows: np.ndarray) -> np.ndarray:
    return (rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1])


def _distinct(rows: np.ndarray) -> np.ndarray:
    """Each face once: down the order, sure ones first and then by score, a row drops those that it covers or that cover it."""
    rows, kept = rows[np.lexsort((-rows[:, SCORE], -rows[:, SURE]))], []
    while len(rows):
        best, rows = rows[0], rows[1:]
        kept.append(best)
        shared = (np.minimum(rows[:, 2:4], best[2:4]) - np.maximum(rows[:, :2], best[:2])).clip(0).prod(axis=1)
        rows = rows[shared <= SAME * np.minimum(_area(rows), _area(best[None]))]
    return np.array(kept).reshape(-1, 16)
