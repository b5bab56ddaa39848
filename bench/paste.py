"""Benchmark the pasting of restored faces into a photo, with known faces and positions.

    python -m bench.paste [--faces DIR] [--model NAME] [--photos 6]

Photos are composed from aligned faces (DIR; default: the astronaut) on images of scikit-image, at known positions, sizes and
angles, and degraded as a whole. The paste method, variants of it without one component, and no paste at all are compared:

    colour   mean over faces of |mean colour of the face after - before|, 0 to 255; 0 means that the skin tone is unchanged
    seam     gradient of the change along the outline of the mask, relative to its mean inside; 0 means no visible seam
    drift    distance of the five detected landmarks from those of the undegraded photo, relative to the eye distance
    psnr     of the squares around the faces against the undegraded photo, dB

Writes paste.json to bench/results, or --out.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import skimage.data
from tqdm import tqdm
from tyro.conf import arg

import gpen
from bench.common.harness import RESULTS, write_results
from eval.data.faces import Faces
from gpen.cli.parsing import Folder, Model, parse
from gpen.errors import exit_status
from gpen.faces.alignment import FFHQ_POINTS_512, Face, align, alignment_matrix, warp
from gpen.faces.detection import Detector, load_detector
from gpen.restoration.paste import RestoredFace, compose

BACKGROUNDS = ("coffee", "chelsea", "rocket")  # photos without a person
SIZE = (640, 480)  # px, size of a composed photo
SQUARE = 256  # px, side of a face before it is placed
SIDES = (110, 230)  # px, range of the side of a face in the photo
ANGLE = 20  # degrees, maximum
DEGRADATION = gpen.Degradation(blur_sigma=1.0, scale=2.0, noise_sigma=8, jpeg_quality=50, seed=0)
OUTLINE = 2  # px to each side of the outline


def compose_photo(faces: list[np.ndarray], rng: np.random.Generator) -> tuple[np.ndarray, list[Face]]:
    """Compose a photo of two faces [SQUARE, SQUARE, 3]; return it and their positions.

    The photo is uint8 RGB [480, 640, 3].
    """
    background: np.ndarray = getattr(skimage.data, BACKGROUNDS[rng.integers(len(BACKGROUNDS))])()
    photo = cv2.resize(background, SIZE, interpolation=cv2.INTER_AREA)
    square = np.pad(np.ones((SQUARE - 16, SQUARE - 16), np.float32), 8)
    soft = cv2.GaussianBlur(square, (0, 0), 3)[..., None]  # [SQUARE, SQUARE, 1]
    placed = []
    for half in range(2):
        side, angle = rng.uniform(*SIDES), np.radians(rng.uniform(-ANGLE, ANGLE))
        middle = np.array([SIZE[0] * (0.25 + 0.5 * half), SIZE[1] / 2]) + rng.uniform(-15, 15, 2)
        turn = side / 512 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = (FFHQ_POINTS_512 - 256) @ turn.T + middle  # [5, 2]
        back = cv2.invertAffineTransform(alignment_matrix(points, SQUARE))
        mask = warp(soft, back, SIZE, cv2.BORDER_CONSTANT).reshape(*photo.shape[:2], 1)
        face = warp(faces[rng.integers(len(faces))], back, SIZE, cv2.BORDER_REPLICATE)
        photo = np.rint(photo + mask * (face.astype(np.float32) - photo)).astype(np.uint8)
        corners = middle - side * 0.3, middle + side * 0.35
        placed.append(Face((*corners[0], *corners[1]), points.astype(np.float32), 1.0))
    return photo, placed


def variants(restorer: gpen.Restorer, faces: list[RestoredFace]) -> dict[str, list[RestoredFace]]:
    """Return the faces as pasted by default, and with one component disabled."""
    plain = restorer.faces([face.crop for face in faces])
    return {
        "default": faces,
        "no colour matching": [replace(f, restored=r) for f, r in zip(faces, plain, strict=True)],
        "hard mask": [replace(f, mask=(f.mask > 0.5).astype(np.float32)) for f in faces],
        "whole square, no colour matching": [
            replace(f, restored=r, mask=np.ones_like(f.mask)) for f, r in zip(faces, plain, strict=True)
        ],
    }


@dataclass(frozen=True)
class Figures:
    """Metrics of one face, or their means over all faces; see the head of this file."""

    colour: float
    seam: float
    drift: float
    psnr: float


def measure(after: np.ndarray, before: np.ndarray, truth: np.ndarray, face: RestoredFace, landmark_drift: float) -> Figures:
    """Return the metrics of one face; `face.mask` is the mask with which it was pasted.

    after, before, truth: the restored, the degraded and the undegraded photo, uint8 RGB [h, w, 3].
    """
    back = cv2.invertAffineTransform(alignment_matrix(face.landmarks, len(face.mask), face.alignment))
    mask = warp(face.mask, back, SIZE, cv2.BORDER_CONSTANT)  # [h, w]
    change = after.astype(np.float32) - before  # [h, w, 3]
    shift = np.abs(np.average(change, axis=(0, 1), weights=np.repeat(mask[..., None], 3, axis=2)))
    steps = np.hypot(*(cv2.Sobel(change.mean(axis=2), cv2.CV_32F, *order, scale=0.125) for order in ((1, 0), (0, 1))))  # [h, w]
    support, ball = (mask > 1 / 255).astype(np.uint8), np.ones((2 * OUTLINE + 1,) * 2, np.uint8)
    outline = cv2.dilate(support, ball) > cv2.erode(support, ball)
    matrix = alignment_matrix(face.landmarks, SQUARE)
    squares = [warp(image, matrix, (SQUARE, SQUARE), cv2.BORDER_REPLICATE).astype(np.float32) for image in (after, truth)]
    return Figures(
        colour=float(shift.mean()),
        seam=float(steps[outline].mean() / max(steps[mask > 0.9].mean(), 1e-6)),
        drift=landmark_drift,
        psnr=float(-10 * np.log10(np.mean((squares[0] - squares[1]) ** 2) / 255**2)),
    )


def drift(found: list[Face], true: list[Face], face: RestoredFace) -> float:
    """Return the landmark drift between the restored and the undegraded photo.

    NaN if either has no face at this position.
    """
    eyes = np.linalg.norm(face.landmarks[0] - face.landmarks[1])
    nearest = []
    for faces in (found, true):
        distances = [np.linalg.norm(f.landmarks - face.landmarks, axis=1).mean() for f in faces]  # px, mean over the points
        if min(distances, default=np.inf) > eyes:
            return float("nan")
        nearest.append(faces[int(np.argmin(distances))].landmarks)  # [5, 2]
    return float(np.linalg.norm(nearest[0] - nearest[1], axis=1).mean() / eyes)


def compare(restorer: gpen.Restorer, detector: Detector, faces: list[np.ndarray], photos: int) -> dict[str, Figures]:
    """Return method -> means over all faces of `photos` composed photos."""
    rng = np.random.default_rng(0)
    rows: defaultdict[str, list[Figures]] = defaultdict(list)
    for _ in tqdm(range(photos), desc="photos", disable=None):
        truth, places = compose_photo(faces, rng)
        before = DEGRADATION.resized(truth)
        result = restorer.photo(before, 1.0, faces=places)
        true = detector(truth, rotated=False)
        unchanged: list[RestoredFace] = []
        for method, pasted in {"no paste": unchanged, **variants(restorer, result.faces)}.items():
            after = compose(before, pasted, 1.0)
            found = detector(after, rotated=False)
            rows[method] += [measure(after, before, truth, face, drift(found, true, face)) for face in pasted or result.faces]
    return {method: Figures(*np.nanmean([astuple(row) for row in all_], axis=0).tolist()) for method, all_ in rows.items()}


def table(figures: dict[str, Figures]) -> str:
    """Format the results as a Markdown table."""
    lines = ["| paste | colour, levels ↓ | seam ↓ | drift ↓ | PSNR, dB ↑ |", "| --- | ---: | ---: | ---: | ---: |"]
    for method, row in figures.items():
        lines.append(f"| {method} | {row.colour:.2f} | {row.seam:.3f} | {row.drift:.3f} | {row.psnr:.2f} |")
    return "\n".join(lines)


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    faces: Annotated[Path | None, arg(metavar="DIR")] = None  # folder of aligned faces; None: the astronaut
    model: Model = None  # name or file of the model; None: the default model
    photos: int = 6  # number of composed photos, at least 1
    out: Folder = RESULTS  # folder of the results

    def __post_init__(self) -> None:
        if self.photos < 1:
            raise gpen.GPENError(f"The number of photos is at least 1; got {self.photos}.")


def run(options: Options) -> None:
    """Run the benchmark."""
    detector = load_detector()
    restorer = gpen.Restorer(gpen.load(options.model))
    if options.faces:
        folder = Faces.open(options.faces, SQUARE, limit=40)
        faces = [folder.load(name) for name in folder.names]
    else:
        astronaut = skimage.data.astronaut()
        faces = [align(astronaut, detector(astronaut)[0].landmarks, SQUARE)[0]]
    figures = compare(restorer, detector, faces, options.photos)
    source = options.faces.name if options.faces else "astronaut"
    settings = {"photos": options.photos, "faces": source, "degradation": DEGRADATION.to_dict()}
    write_results(options.out / "paste.json", {"settings": settings, "figures": figures})
    print(table(figures))


def main(argv: list[str] | None = None) -> int:
    return exit_status(lambda: run(parse(Options, argv, "python -m bench.paste", description=__doc__.splitlines()[0])))


if __name__ == "__main__":
    sys.exit(main())
