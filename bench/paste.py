"""Benchmark the pasting of restored faces into a photo, with known faces and positions.

    python -m bench.paste [--faces DIR] [--model NAME] [--photos 6]

Photos are composed from aligned faces (DIR; default: the astronaut) on images of scikit-image, at known positions, sizes and
angles, and degraded as a whole. The paste method, variants of it without one component, and no paste at all are compared:

    colour   mean over faces of |mean colour of the face after - before|, 0 to 255; 0 means that the skin tone is unchanged
    seam     gradient of the change along the outline of the mask, relative to its mean inside; 0 means no visible seam
    drift    distance of the five detected landmarks from those of the undegraded photo, relative to the eye distance
    psnr     of the squares around the faces against the undegraded photo, dB

Writes bench/results/paste.json.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from tqdm import tqdm

import gpen
from eval.data.faces import Faces
from gpen.cli.parsing import parse
from gpen.faces.alignment import FFHQ_POINTS_512, Face, align, alignment_matrix, warp
from gpen.restoration.paste import RestoredFace, compose

RESULTS = Path(__file__).resolve().parent / "results"
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
    photo = cv2.resize(getattr(skimage.data, BACKGROUNDS[rng.integers(len(BACKGROUNDS))])(), SIZE, interpolation=cv2.INTER_AREA)
    soft = np.pad(np.ones((SQUARE - 16, SQUARE - 16), np.float32), 8)
    soft = cv2.GaussianBlur(soft, (0, 0), 3)[..., None]
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
        "no colour matching": [dataclasses.replace(f, restored=r) for f, r in zip(faces, plain, strict=True)],
        "hard mask": [dataclasses.replace(f, mask=(f.mask > 0.5).astype(np.float32)) for f in faces],
        "whole square, no colour matching": [
            dataclasses.replace(f, restored=r, mask=np.ones_like(f.mask)) for f, r in zip(faces, plain, strict=True)
        ],
    }


def measure(after: np.ndarray, before: np.ndarray, truth: np.ndarray, face: RestoredFace) -> dict[str, float]:
    """Return all metrics of one face except the drift; `face.mask` is the mask with which it was pasted."""
    back = cv2.invertAffineTransform(alignment_matrix(face.landmarks, len(face.mask), face.alignment))
    mask = warp(face.mask, back, SIZE, cv2.BORDER_CONSTANT)  # [h, w]
    change = after.astype(np.float32) - before  # [h, w, 3]
    shift = np.abs(np.average(change, axis=(0, 1), weights=np.repeat(mask[..., None], 3, axis=2)))
    steps = np.hypot(*(cv2.Sobel(change.mean(axis=2), cv2.CV_32F, *order, scale=0.125) for order in ((1, 0), (0, 1))))  # [h, w]
    support, ball = np.uint8(mask > 1 / 255), np.ones((2 * OUTLINE + 1,) * 2, np.uint8)
    outline = cv2.dilate(support, ball) > cv2.erode(support, ball)
    matrix = alignment_matrix(face.landmarks, SQUARE)
    squares = [warp(image, matrix, (SQUARE, SQUARE), cv2.BORDER_REPLICATE).astype(np.float32) for image in (after, truth)]
    return {
        "colour": float(shift.mean()),
        "seam": float(steps[outline].mean() / max(steps[mask > 0.9].mean(), 1e-6)),
        "psnr": float(-10 * np.log10(np.mean((squares[0] - squares[1]) ** 2) / 255**2)),
    }


def drift(found: list[Face], true: list[Face], face: RestoredFace) -> float:
    """Return the landmark drift between the restored and the undegraded photo.

    NaN if either has no face at this position.
    """
    nearest = [min(faces, key=lambda f: np.linalg.norm(f.landmarks - face.landmarks), default=None) for faces in (found, true)]
    eyes = np.linalg.norm(face.landmarks[0] - face.landmarks[1])
    if None in nearest or any(np.linalg.norm(f.landmarks - face.landmarks, axis=1).mean() > eyes for f in nearest):
        return float("nan")
    return float(np.linalg.norm(nearest[0].landmarks - nearest[1].landmarks, axis=1).mean() / eyes)


def run(restorer: gpen.Restorer, faces: list[np.ndarray], photos: int, seed: int = 0) -> dict[str, dict[str, float]]:
    """Return method -> metric -> mean over all faces of `photos` composed photos."""
    rng, rows = np.random.default_rng(seed), {}

    for _ in tqdm(range(photos), desc="photos", disable=None):
        truth, places = compose_photo(faces, rng)
        before = DEGRADATION.resized(truth)
        result = restorer.photo(before, 1.0, faces=places)
        true = restorer.detector(truth, rotated=False)
        for method, pasted in {"no paste": [], **variants(restorer, result.faces)}.items():
            after = compose(before, pasted, 1.0)
            found = restorer.detector(after, rotated=False)
            for face in pasted or result.faces:
                row = measure(after, before, truth, face) | {"drift": drift(found, true, face)}
                rows.setdefault(method, []).append(row)
    names = ("colour", "seam", "drift", "psnr")
    return {method: {name: float(np.nanmean([row[name] for row in all_])) for name in names} for method, all_ in rows.items()}


def table(figures: dict[str, dict[str, float]]) -> str:
    """Format the results as a Markdown table."""
    lines = ["| paste | colour, levels ↓ | seam ↓ | drift ↓ | PSNR, dB ↑ |", "| --- | ---: | ---: | ---: | ---: |"]
    for method, row in figures.items():
        lines.append(f"| {method} | {row['colour']:.2f} | {row['seam']:.3f} | {row['drift']:.3f} | {row['psnr']:.2f} |")
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    faces: Path | None = None  # folder of aligned faces; None: the astronaut
    model: str | None = None  # name or file of the model; None: the default model
    photos: int = 6  # number of composed photos, at least 1


def main() -> None:
    arguments = parse(Options, None, "python -m bench.paste", description=__doc__.splitlines()[0])
    restorer = gpen.Restorer(gpen.load(arguments.model))
    if arguments.faces:
        folder = Faces.open(arguments.faces, SQUARE, limit=40)
        faces = [folder.load(name) for name in folder.names]
    else:
        astronaut = skimage.data.astronaut()
        faces = [align(astronaut, restorer.detector(astronaut)[0].landmarks, SQUARE)[0]]
    figures = run(restorer, faces, arguments.photos)
    print(table(figures))
    RESULTS.mkdir(exist_ok=True)
    source = arguments.faces.name if arguments.faces else "astronaut"
    settings = {"photos": arguments.photos, "faces": source, "degradation": DEGRADATION.to_dict()}
    (RESULTS / "paste.json").write_text(json.dumps({"settings": settings, "figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
