"""Identity metrics: cosine and angle between the face embeddings of a result and the ground truth.

The embedding is an ONNX model given by the user, in the form of ArcFace (J. Deng et al., CVPR 2019; also EdgeFace): input RGB
face crops of 112 px, aligned to the five points of ArcFace, x / 127.5 - 1; output [n, d].
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from eval.cache import VectorCache
from gpen.faces import FFHQ_POINTS_512

# Left eye, right eye, nose, left and right mouth corner, in pixels
ARCFACE_POINTS = np.array(  # of an ArcFace crop
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
ARCFACE_SIZE = 112


class Identity:
    """Cosine and angle between embeddings of FFHQ-aligned faces.

    path: the ONNX model, run by onnxruntime if it is installed, else by OpenCV.
    Raises FileNotFoundError for a missing file, ValueError if neither library can run the model.
    """

    def __init__(self, path: str | Path):
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path} is not a file; check the path.")
        self._run = _onnx_runner(str(path))
        self._cache = VectorCache()

    def cosine(self, images: list[np.ndarray], targets: list[np.ndarray]) -> list[float]:
        """Cosine in [-1, 1] of each pair of faces, uint8 RGB [s, s, 3]; 1 for equal embeddings."""
        a, b = self.embed(images), self.embed(targets)
        return np.clip((a * b).sum(axis=1), -1, 1).tolist()

    def angle(self, images: list[np.ndarray], targets: list[np.ndarray]) -> list[float]:
        """Angle of each pair in radians, 0 to pi."""
        a, b = self.embed(images), self.embed(targets)
        sine, cosine = np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1)  # 2 sin and 2 cos of half the angle
        return (2 * np.arctan2(sine, cosine)).tolist()  # accurate for small angles, unlike arccos

    def embed(self, images: list[np.ndarray]) -> np.ndarray:
        """Embeddings of unit length, float64 [n, d]."""
        return self._cache.get(images, self._embed)

    def _embed(self, images: list[np.ndarray]) -> np.ndarray:
        crops = np.stack([arcface_crop(image) for image in images])  # [n, 112, 112, 3]
        x = crops.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1  # [n, 3, 112, 112]
        y = self._run(np.ascontiguousarray(x)).astype(np.float64)  # [n, d]
        return y / np.linalg.norm(y, axis=1, keepdims=True)


def arcface_transform(size: int) -> np.ndarray:
    """Similarity transform [2, 3] from an FFHQ-aligned face of size px to the 112 px ArcFace crop.

    Least squares over the five points, as complex numbers: target = a * source + b. Points refer to the corner of the image when
    the size changes, so that the centre of a pixel is at +0.5.
    """
    source = (FFHQ_POINTS_512 + 0.5) * (size / 512) - 0.5  # [5, 2]
    design = np.stack([source @ [1, 1j], np.ones(5)], axis=1)  # [5, 2]
    (a, b), *_ = np.linalg.lstsq(design, ARCFACE_POINTS @ [1, 1j], rcond=None)
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def arcface_crop(
    image: np.ndarray,  # uint8 RGB [s, s, 3], FFHQ-aligned
) -> np.ndarray:
    """Crop a face as for ArcFace, uint8 RGB [112, 112, 3]; supersampled and averaged against aliasing."""
    matrix = arcface_transform(image.shape[0])
    factor = max(1, int(np.ceil(1 / np.hypot(matrix[0, 0], matrix[1, 0]))))
    large = factor * matrix
    large[:, 2] += (factor - 1) / 2  # pixel centres: (x + 0.5) * factor - 0.5
    large_size = (factor * ARCFACE_SIZE,) * 2
    crop = cv2.warpAffine(image, large, large_size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cv2.resize(crop, (ARCFACE_SIZE, ARCFACE_SIZE), interpolation=cv2.INTER_AREA)


def _onnx_runner(path: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function x [n, 3, 112, 112] -> [n, d].

    One image at a time, because some models have a fixed batch size of 1.
    """
    try:
        import onnxruntime
    except ImportError:
        return _opencv_runner(path)
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        session.run(None, {name: np.zeros((1, 3, ARCFACE_SIZE, ARCFACE_SIZE), np.float32)})
    except Exception as error:  # the exception classes of onnxruntime are not public
        raise ValueError(f"{path} is not an ONNX model of 112 px faces ({_first_line(error)}); give a face embedding.") from error
    return lambda x: np.concatenate([session.run(None, {name: x[i : i + 1]})[0] for i in range(len(x))])


def _opencv_runner(path: str) -> Callable[[np.ndarray], np.ndarray]:
    try:
        net = cv2.dnn.readNetFromONNX(path)
    except cv2.error as error:
        raise ValueError(f"{path} cannot be run by OpenCV; run pip install onnxruntime.") from error

    def run(x: np.ndarray) -> np.ndarray:
        out = []
        for i in range(len(x)):
            net.setInput(x[i : i + 1])
            out.append(net.forward().reshape(1, -1))
        return np.concatenate(out)

    return run


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
