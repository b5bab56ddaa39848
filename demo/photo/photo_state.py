"""A photo in the Restore a photo tab: its faces, their restorations and its previews.

The photo is stored as an uploaded file in gradio's cache, which is emptied by age. The session state keeps the detected
faces and the network output for each, so that changing the strength or size does not run the network again.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

import gpen
from demo import experiment, images
from demo.server.limits import work
from gpen.errors import GPENError
from gpen.faces.alignment import Face, aligned_face
from gpen.images import downscale
from gpen.models.download import folders
from gpen.restoration.paste import Background, RestoredFace, check_strength, compose, enlarge, load_background

MAX_PREVIEW_SIDE = 2400  # px, longer side of a preview; the download has full size
UPSCALE_FACTORS = (1, 2, 4)
MAX_FACES = 50  # of a photo, the largest ones; the page says that there are further ones
MAX_CACHED_BYTES = 512 * 2**20  # of restored faces, previews and enlargements of all visitors, but for one photo
Progress = Callable[[int, int], None] | None  # called with the number of finished faces and of all faces


class Recent:
    """The last photos of all visitors that keep something in memory, of at most `limit` bytes or one photo.

    The caches of older photos are emptied: what they held is computed again when it is needed.
    """

    def __init__(self, limit: int):
        self._photos: deque[weakref.ref] = deque()
        self._limit = limit
        self._lock = threading.Lock()

    def add(self, photo: PhotoState) -> None:
        """Make a photo the most recent one, after its cache has grown."""
        with self._lock:
            photos = [found for reference in self._photos if (found := reference()) is not None and found is not photo]
            size = sum(one.cached_bytes for one in (*photos, photo))
            while photos and size > self._limit:
                oldest = photos.pop(0)
                size -= oldest.cached_bytes
                oldest.drop_cache()
            self._photos = deque(weakref.ref(one) for one in (*photos, photo))


@dataclass
class PhotoState:
    """A photo in the session state: its file, its faces, and the restored faces by index.

    Attributes:
        size: width and height of the decoded photo in pixels.
        file_megapixels: of the file if the photo was reduced, else None.
        left_out: number of smaller faces beyond MAX_FACES.
        included: indices of the faces that are restored in the result.
        chosen: index of the face that is compared.
        preview: a key and the photo before restoration, enlarged, with at most MAX_PREVIEW_SIDE per side.
        enlarged: output of the background model.
    """

    path: str
    size: tuple[int, int]
    faces: list[Face]
    file_megapixels: float | None = None
    left_out: int = 0
    restored: dict[int, RestoredFace] = field(default_factory=dict)
    included: set[int] = field(default_factory=set)
    chosen: int = 0
    preview: tuple[tuple, np.ndarray] | None = None
    enlarged: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.included = self.included or set(range(len(self.faces)))

    @property
    def megapixels(self) -> float:
        """Size of the decoded photo in megapixels."""
        return self.size[0] * self.size[1] / 1e6

    @property
    def cached_bytes(self) -> int:
        """Memory of the restored faces, the preview and the enlargement; masks are shared by all faces."""
        images = [image for face in list(self.restored.values()) for image in (face.crop, face.restored)]
        images += [] if self.preview is None else [self.preview[1]]
        return sum(image.nbytes for image in (*images, *([] if self.enlarged is None else [self.enlarged])))

    def drop_cache(self) -> None:
        """Forget everything that can be computed again."""
        self.restored, self.preview, self.enlarged = {}, None, None

    def cache_faces(self, restored: dict[int, RestoredFace]) -> None:
        """Cache restored faces; the oldest photos of all visitors are dropped beyond MAX_CACHED_BYTES."""
        self.restored |= restored
        _recent.add(self)

    def preview_base(self, upscale: float = 1, background: Background | None = None) -> np.ndarray:
        """Return the photo enlarged `upscale` times, but with at most MAX_PREVIEW_SIDE per side."""
        key = (upscale, background)
        if self.preview is None or self.preview[0] != key:
            scale = max(1, min(upscale, MAX_PREVIEW_SIDE / max(self.size)))
            larger = enlarge_photo(self, images.decode(self.path), scale, background if upscale > 1 else None)
            self.preview = key, downscale(larger, MAX_PREVIEW_SIDE)
            _recent.add(self)
        return self.preview[1]


_recent = Recent(MAX_CACHED_BYTES)


def find_faces(restorer: gpen.Restorer, path: str) -> PhotoState:
    """Detect the faces of an image file, at most MAX_FACES, largest first.

    Raises GPENError if it is not an image, or if the time limit of the event has passed.
    """
    work.check()
    image = images.read(path)
    h, w = image.pixels.shape[:2]
    faces = work.checked_detector(restorer.detector)(image.pixels)
    megapixels = image.file_pixels / 1e6 if image.reduced else None
    return PhotoState(path, (w, h), faces[:MAX_FACES], megapixels, max(0, len(faces) - MAX_FACES))


def as_aligned(photo: PhotoState, alignment: str) -> PhotoState:
    """Return the photo with its central square, aligned as the network requires, as the only face."""
    w, h = photo.size
    face = aligned_face(np.broadcast_to(np.uint8(0), (h, w, 3)), alignment)
    return PhotoState(photo.path, photo.size, [face], photo.file_megapixels)


def parse_faces(photo: PhotoState, which: str) -> list[int]:
    """Parse "all", "largest" or face numbers from 1, such as "1, 3", to indices.

    Raises GPENError for any other text.
    """
    if which in ("all", "largest"):
        return list(range(len(photo.faces)))[: None if which == "all" else 1]
    try:
        indices = [int(number) - 1 for number in which.split(",")]
    except ValueError:
        raise GPENError(f'faces must be "all", "largest" or numbers such as "1, 3"; got {which[:40]!r}.') from None
    if not all(0 <= i < len(photo.faces) for i in indices):
        raise GPENError(
            f"faces is {which[:40]!r}, but the photo has {len(photo.faces)} faces: use their numbers from 1, by size."
        )
    return list(dict.fromkeys(indices))


def face_report(photo: PhotoState, indices: list[int]) -> list[dict]:
    """Return number, box, landmarks and score of each selected face, in pixels of the decoded photo."""
    return [
        {
            "number": i + 1,
            "box": [round(value, 1) for value in photo.faces[i].box],
            "landmarks": [[round(float(x), 1), round(float(y), 1)] for x, y in photo.faces[i].landmarks],
            "score": round(photo.faces[i].score, 4),
        }
        for i in indices
    ]


def upscale_factors(photo: PhotoState) -> list[int]:
    """Return the factors by which the photo can be enlarged to at most MAX_PIXELS."""
    return [n for n in UPSCALE_FACTORS if n == 1 or photo.megapixels * n**2 <= images.MAX_PIXELS / 1e6]


def restore_faces(
    restorer: gpen.Restorer,
    photo: PhotoState,
    indices: list[int],
    strength: float,
    upscale: float,
    progress: Progress = None,
    background: Background | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the photo before and after restoration, uint8 RGB of equal size.

    Only faces that are not cached in `photo` are given to the network. `background` is used if `upscale` is greater than 1.
    Raises GPENError for values out of range.
    """
    _check(photo, strength, upscale)
    image = images.decode(photo.path)
    before = enlarge_photo(photo, image, upscale, background if upscale > 1 else None)
    run_network(restorer, photo, indices, image, progress)
    return before, compose(before, [photo.restored[i] for i in indices], strength, upscale)


def restore_preview(
    restorer: gpen.Restorer,
    photo: PhotoState,
    strength: float,
    upscale: float,
    background: Background | None = None,
    progress: Progress = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return previews, at most MAX_PREVIEW_SIDE per side, of the photo before and after restoration of the included faces.

    The chosen face is given to the network too. Raises GPENError for values out of range.
    """
    _check(photo, strength, upscale)
    before = photo.preview_base(upscale, background)
    run_network(restorer, photo, sorted({*photo.included, photo.chosen}), None, progress)
    faces = [photo.restored[i] for i in sorted(photo.included)]
    return before, compose(before, faces, strength, before.shape[1] / photo.size[0])


def run_network(
    restorer: gpen.Restorer, photo: PhotoState, indices: list[int], image: np.ndarray | None = None, progress: Progress = None
) -> None:
    """Restore and cache the faces that are not cached. `image`: the decoded photo; None: decode it if it is needed.

    Raises GPENError after a batch of faces if the time limit of the event has passed or its visitor has left.
    """
    if new := [i for i in indices if i not in photo.restored]:
        image = images.decode(photo.path) if image is None else image

        def report(done: int, total: int) -> None:
            work.check()
            if progress:
                progress(done, total)

        result = restorer.photo(image, only=new, faces=photo.faces, progress=report)
        photo.cache_faces(dict(zip(new, result.faces, strict=True)))


def compared_face(photo: PhotoState, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the aligned crop of the chosen face before and after restoration, uint8 RGB [s, s, 3]; it must be cached."""
    check_strength(strength)
    face = photo.restored[photo.chosen]
    return face.crop, cv2.addWeighted(face.crop, 1 - strength, face.restored, strength, 0)


def _check(photo: PhotoState, strength: float, upscale: float) -> None:
    experiment.check_numbers(strength=strength, upscale=upscale)
    check_strength(strength)
    if upscale < 1:
        raise GPENError(f"upscale must be a number of at least 1; got {upscale}.")
    if (megapixels := photo.megapixels * upscale**2) > images.MAX_PIXELS / 1e6:
        raise GPENError(
            f"The photo enlarged {upscale:g} times would have {megapixels:.0f} megapixels: "
            f"choose a factor that gives at most {images.MAX_PIXELS // 10**6}."
        )


def find_background() -> Path | None:
    """Return the file of the super-resolution model for the background, or None without such a file, spandrel, or on ZeroGPU.

    It is named by GPEN_BACKGROUND, or a .pth or .safetensors file in the folders of GPEN_MODELS whose name contains "esrgan" or
    "esrnet", such as realesrnet_x2.pth of the GPEN release. Raises GPENError if the file named by GPEN_BACKGROUND is missing.
    """
    if importlib.util.find_spec("spandrel") is None or "SPACES_ZERO_GPU" in os.environ:
        return None
    if named := os.environ.get("GPEN_BACKGROUND"):
        if not Path(named).is_file():
            raise GPENError(f"GPEN_BACKGROUND is {named}, which is not a file: name the file of a super-resolution model.")
        return Path(named)
    files = (file for folder in folders() if folder.is_dir() for file in sorted(folder.iterdir()))
    names = ("esrgan", "esrnet")
    return next((f for f in files if f.suffix in (".pth", ".safetensors") and any(n in f.stem.lower() for n in names)), None)


@functools.lru_cache(maxsize=1)
def background_model(path: Path) -> Background:
    """Load the model in a file once. Raises GPENError if it is not a super-resolution model."""
    return load_background(path)


def enlarge_photo(photo: PhotoState, image: np.ndarray, upscale: float, background: Background | None = None) -> np.ndarray:
    """Enlarge the decoded `photo`, uint8 RGB [h, w, 3], by bicubic interpolation, or with a model whose output is cached.

    Raises GPENError if the output of the model would have more than MAX_PIXELS.
    """
    if background is None:
        return enlarge(image, upscale)
    if photo.enlarged is None:
        scale = len(background(np.zeros((16, 16, 3), np.uint8))) / 16
        if photo.megapixels * scale**2 > images.MAX_PIXELS / 1e6:
            raise GPENError(
                f"The background model enlarges {scale:g} times, which would give {photo.megapixels * scale**2:.0f} megapixels: "
                "switch it off, or use a smaller photo."
            )
        photo.enlarged = background(image)
        _recent.add(photo)
    enlarged = photo.enlarged
    return enlarge(image, upscale, lambda _: enlarged)
