"""Pictures into and out of the page: files become uint8 RGB [h, w, 3] or one clear sentence, arrays PNG.

A file is judged by its content, never by its name, and its bytes and pixels are bounded before anything is
decoded. Of an animation the first frame is taken. What Pillow does not bring to 8-bit RGB by itself (16 bits
a channel, transparency) is brought there here.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from gpen.errors import GPENError
from gpen.faces import Face, align, aligned_face
from gpen.images import square_crop

MAX_BYTES = 25 * 2**20  # of a file
MAX_PIXELS = 40_000_000  # of a picture, before decoding: 120 MB as RGB
MIN_SIDE = 16  # px; less holds no face
MAX_ASPECT = 8  # longer to shorter side
ALIGNED = 0.05  # of the square's side: landmarks nearer than this to the template's are aligned
Image.init()
FORMATS = [
    name for name in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF") if name in Image.OPEN
]  # older Pillow lacks AVIF


class ImageError(GPENError):
    """The picture cannot be used; the message says why and what to do."""


def decode(path: str | os.PathLike | None) -> np.ndarray:
    """Read a picture of any common kind: uint8 RGB [h, w, 3], upright. ImageError where that cannot be."""
    _check_bytes(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of what the checks below refuse or mend
        try:
            with Image.open(path, formats=FORMATS) as picture:
                _check_pixels(*picture.size)
                return _to_rgb(_upright(picture))
        except ImageError:
            raise
        except UnidentifiedImageError:
            raise ImageError(
                "This file is not a picture that can be read: please choose a PNG, JPEG, WebP or GIF file."
            ) from None
        except Image.DecompressionBombError:
            raise ImageError(
                f"This picture is too large: please make it smaller than {MAX_PIXELS // 10**6} megapixels."
            ) from None
        except MemoryError:
            raise ImageError("This picture needs more memory than there is: please make it smaller.") from None
        except Exception:  # decoders fail in many ways (OSError, SyntaxError, struct.error, ...) on bytes made to break them
            raise ImageError("This picture is cut off or damaged: please save it again or choose another.") from None


def read_face(path: str | os.PathLike | None, size: int) -> np.ndarray:
    """A visitor's file as one square face, uint8 RGB [size, size, 3]."""
    return square_crop(decode(path), size)


def find_face(path: str | os.PathLike | None, size: int, detector: Callable[[np.ndarray], list[Face]]) -> tuple[np.ndarray, bool]:
    """The largest face of a visitor's file, aligned, uint8 RGB [size, size, 3], and whether one was found.

    Without one it is the central square. A picture that is an aligned face already is not turned and resampled again.
    """
    image = decode(path)
    if not (faces := detector(image)):
        return square_crop(image, size), False
    if is_aligned(image, faces[0]):
        return square_crop(image, size), True
    return align(image, faces[0].landmarks, size)[0], True


def is_aligned(image: np.ndarray, face: Face) -> bool:
    """Whether the face's landmarks lie where an aligned face has them in the image's central square."""
    expected = aligned_face(image)
    side = expected.box[2] - expected.box[0]
    return float(np.linalg.norm(face.landmarks - expected.landmarks, axis=1).mean()) < ALIGNED * side


def png(image: np.ndarray) -> bytes:
    """uint8 RGB [h, w, 3] as PNG, packed lightly: it is made anew at every move of a slider."""
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return data.tobytes()


def data_uri(image: np.ndarray, largest: int = 320) -> str:
    """The image for an <img>, as PNG in the page itself and in no file; shrunk to `largest` px a side."""
    h, w = image.shape[:2]
    if max(h, w) > largest:
        ratio = largest / max(h, w)
        image = cv2.resize(image, (max(1, round(w * ratio)), max(1, round(h * ratio))), interpolation=cv2.INTER_AREA)
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()


def save(data: bytes, folder: str | os.PathLike, name: str) -> str:
    """Write `data` to folder/HASH/name and return that path: the same bytes are not stored twice."""
    path = Path(folder) / hashlib.sha256(data).hexdigest() / name
    try:
        os.utime(path)  # the cache deletes by age, and this file is in use again
        return str(path)
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(data)
    os.replace(file.name, path)  # another visitor never reads half a file
    return str(path)


def uploaded(path: str | None, folder: str | os.PathLike) -> str:
    """`path` where it lies in `folder`, links followed, else "", which is answered as a file that is not there.

    Gradio looks at the paths of what calls itself a file; a program can send a path without that word.
    """
    try:
        real = os.path.realpath(path or "")
    except (ValueError, OSError):  # a zero byte, a name that is too long
        return ""
    return real if Path(real).is_relative_to(os.path.realpath(folder)) else ""


def _check_bytes(path: str | os.PathLike | None) -> None:
    if path is None:
        raise ImageError("There is no picture: please choose one.")
    try:
        size = os.path.getsize(path)
    except OSError:
        raise ImageError("The picture is no longer on the server: please upload it again.") from None
    if size > MAX_BYTES:
        raise ImageError(f"This file has {size / 2**20:.0f} MB: please choose one of at most {MAX_BYTES // 2**20} MB.")


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"This picture has {width * height / 1e6:.0f} megapixels: please make it smaller than {MAX_PIXELS // 10**6}."
        )
    if min(width, height) < MIN_SIDE:
        raise ImageError(
            f"This picture has only {width} x {height} pixels: please choose one of at least {MIN_SIDE} x {MIN_SIDE}."
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(f"This picture of {width} x {height} pixels is a strip: please crop it to the face first.")


def _upright(picture: Image.Image) -> Image.Image:
    """Turned as its EXIF says; a damaged EXIF block is no reason to refuse the picture."""
    picture.load()  # the pixels first, so that what fails below is only the EXIF
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:
        return picture


def _to_rgb(picture: Image.Image) -> np.ndarray:
    """Any mode of Pillow's -> uint8 RGB [h, w, 3]; transparent parts show white."""
    if picture.mode.startswith("I"):  # I;16 and its byte orders; older Pillow opens a 16-bit PNG as I
        values = np.asarray(picture).astype(np.int64)  # [h, w]
        if values.min() < 0 or values.max() > 65535:
            raise ImageError("This picture has more than 16 bits a channel: please save it with 8 or 16.")
        return np.repeat(((values * 255 + 32767) // 65535).astype(np.uint8)[..., None], 3, axis=2)
    if picture.mode == "F":
        raise ImageError("This picture holds fractions, not levels: please save it with 8 or 16 bits a channel.")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return np.array(picture.convert("RGB"))
