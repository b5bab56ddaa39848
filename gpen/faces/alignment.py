"""Alignment of faces to a template of five landmarks by a similarity transform.

`align` returns the aligned crop for the network and the transform to it. Points are (x, y) in px, with the centre of the first
pixel at (0, 0); left and right are those of the image. There are two templates, the keys of ALIGNMENTS:

    ffhq   that of the FFHQ dataset, on which GPEN is trained: eyes 126 px apart at 512 px
    gpen   that of the authors' program for photos: eyes 107 px apart at 512 px, with more margin around the face

The second is ArcFace's template of five points in 112 x 112 px with a margin of 0.25 of the side added on each side (168 px),
scaled to 512 px. Its proportions differ from FFHQ's: the least-squares similarity between the templates has the scale 0.89.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from gpen.errors import GPENError

# Left eye, right eye, nose, left and right mouth corner of an FFHQ-aligned face at 512 px
FFHQ_POINTS_512 = np.array([(192.98, 239.95), (318.90, 240.19), (256.63, 314.02), (201.26, 371.41), (313.09, 371.15)])
# The same points in ArcFace's crop
ARCFACE_SIZE = 112  # px
ARCFACE_POINTS = np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)])
GPEN_MARGIN = 0.25  # of the side of ArcFace's crop, on each side
GPEN_POINTS_512 = (ARCFACE_POINTS + GPEN_MARGIN * ARCFACE_SIZE) * 512 / (ARCFACE_SIZE * (1 + 2 * GPEN_MARGIN))
ALIGNMENTS = {"ffhq": FFHQ_POINTS_512, "gpen": GPEN_POINTS_512}
DEFAULT_ALIGNMENT = "ffhq"
MAX_WARPED = 1 << 15  # px; OpenCV cannot warp an image with such a side or a longer one


@dataclass(frozen=True)
class Face:
    """A detected face: box (x0, y0, x1, y1) in px, five landmarks [5, 2] in px, and the score of the detector, 0 to 1."""

    box: tuple[float, float, float, float]
    landmarks: np.ndarray  # float32 [5, 2], in the order of FFHQ_POINTS_512
    score: float


def align(
    image: np.ndarray, landmarks: np.ndarray, size: int, alignment: str = DEFAULT_ALIGNMENT
) -> tuple[np.ndarray, np.ndarray]:
    """Warp a face with these landmarks [5, 2] to a template, a key of ALIGNMENTS.

    Returns the aligned crop, uint8 RGB [size, size, 3], and the similarity transform [2, 3] from the image to it. Downscaling is
    by area averaging, upscaling bilinear as in the training of GPEN; the image is reflected at its borders. Raises GPENError if
    the landmarks are degenerate or the alignment is unknown.
    """
    matrix = alignment_matrix(landmarks, size, alignment)
    return warp(image, matrix, (size, size), cv2.BORDER_REFLECT_101), matrix


def aligned_face(image: np.ndarray, alignment: str = DEFAULT_ALIGNMENT) -> Face:
    """Face of an image [h, w, 3] that is aligned already: the central square with the landmarks of the template."""
    h, w = image.shape[:2]
    side = min(h, w)
    x, y = (w - side) // 2, (h - side) // 2
    landmarks = template(side, alignment) + (x, y)
    return Face((float(x), float(y), float(x + side), float(y + side)), landmarks.astype(np.float32), 0.0)


def alignment_matrix(landmarks: np.ndarray, size: int, alignment: str = DEFAULT_ALIGNMENT) -> np.ndarray:
    """Similarity transform, float64 [2, 3], from the image to the aligned crop of `size` px, given five landmarks [5, 2].

    Raises GPENError if the landmarks are degenerate or the alignment is unknown.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all() or np.ptp(points, axis=0).max() < 1:
        raise GPENError("Landmarks must be five different points (x, y): both eyes, the nose and both mouth corners.")
    return fit_similarity(points, template(size, alignment))[0]


def template(size: int, alignment: str = DEFAULT_ALIGNMENT) -> np.ndarray:
    """Landmarks, float64 [5, 2], of an aligned crop of `size` px. Raises GPENError for an unknown alignment."""
    if alignment not in ALIGNMENTS:
        raise GPENError(f"alignment must be one of {', '.join(ALIGNMENTS)}; got {alignment!r}.")
    return (ALIGNMENTS[alignment] + 0.5) * (size / 512) - 0.5


def fit_similarity(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit the least-squares similarity transform from `source` [n, 2] to `target` [n, 2].

    Returns the matrix, float64 [2, 3], and the RMS distance of the transformed points to `target`. Solved in complex numbers as
    target = a * source + b.
    """
    design = np.stack([source @ [1, 1j], np.ones(len(source))], axis=1)  # [n, 2]
    goal = target @ [1, 1j]  # [n]
    a, b = solution = np.linalg.lstsq(design, goal, rcond=None)[0]
    matrix = np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
    return matrix, float(np.sqrt(np.mean(abs(design @ solution - goal) ** 2)))


def warp(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], border: int, grow: int = cv2.INTER_LINEAR) -> np.ndarray:
    """Warp `image` by the affine `matrix` [2, 3] to `size` (width, height).

    border: border mode of OpenCV. grow: interpolation of OpenCV for upscaling. Downscaling is antialiased: the image is warped at
    a multiple of the size, then area-averaged.
    """
    image, matrix = _within_limit(image, matrix, size)
    times = max(1, int(np.ceil(1 / np.sqrt(abs(np.linalg.det(matrix[:, :2]))) - 1e-6)))
    times = min(times, (MAX_WARPED - 1) // max(size))
    large = matrix * times
    large[:, 2] += (times - 1) / 2  # pixel centres are at +0.5
    warped = cv2.warpAffine(image, large, (size[0] * times, size[1] * times), flags=grow, borderMode=border)
    return cv2.resize(warped, size, interpolation=cv2.INTER_AREA) if times > 1 else warped


def _within_limit(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Crop an image beyond the size that OpenCV can warp to the region that `warp` reads, with the matrix from the crop.

    The border of the crop is twice the size of the region away from it, so that only pixels beyond the image are mirrored.
    """
    if max(image.shape[:2]) < MAX_WARPED:
        return image, matrix
    corners = np.array([[0, 0], [size[0], 0], [0, size[1]], [size[0], size[1]]], np.float64)
    inverse = cv2.invertAffineTransform(matrix)
    places = corners @ inverse[:, :2].T + inverse[:, 2]  # [4, 2]
    margin = 2 * np.ptp(places, axis=0).max()
    low = np.floor(places.min(axis=0) - margin).astype(int).clip(0, np.array(image.shape[1::-1]) - 1)
    high = np.ceil(places.max(axis=0) + margin).astype(int).clip(low + 1, image.shape[1::-1])
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ low
    return np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]]), moved


def check_aligned(image: np.ndarray) -> None:
    """Raise GPENError unless `image` is a non-empty square uint8 RGB array [h, h, 3]."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise GPENError("An aligned face must be a non-empty uint8 RGB array [h, h, 3].")
    if image.shape[0] != image.shape[1]:
        raise GPENError(f"An aligned face must be square; got {image.shape[1]} x {image.shape[0]} px: crop it first.")
