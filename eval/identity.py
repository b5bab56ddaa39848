"""Identity score: the angle between face embeddings of the restored and of the true image.

The embedding is an ONNX model that the user names, of ArcFace's form (J. Deng et al., CVPR 2019; EdgeFace and
the like): RGB face crops of 112 px, aligned to ArcFace's five points, x / 127.5 - 1, in; [n, d] out.
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from eval.cache import VectorCache
from gpen.faces import fit_similarity, template, warp

# Left eye, right eye, nose, left and right mouth corner, in pixels
ARCFACE_POINTS = np.array(  # of an ArcFace crop
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
ARCFACE_SIZE = 112


class Identity:
    """Cosine and angle between embeddings of FFHQ-aligned faces.

    path: the ONNX model; onnxruntime runs it where installed, else OpenCV's own engine.
    Raises FileNotFoundError where it is absent, ValueError where neither engine can run it.
    """

    def __init__(self, path: str | Path):
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path} is not a file")
        self._run = _onnx_runner(str(path))
        self._cache = VectorCache()

    def cosine(self, images: list[np.ndarray], truths: list[np.ndarray]) -> list[float]:
        """Cosine in [-1, 1] of each pair of uint8 RGB faces [s, s, 3]; 1 is the same embedding."""
        a, b = self.embed(images), self.embed(truths)
        return np.clip((a * b).sum(axis=1), -1, 1).tolist()

    def angle(self, images: list[np.ndarray], truths: list[np.ndarray]) -> list[float]:
        """Angle of each pair in radians, 0 to pi."""
        a, b = self.embed(images), self.embed(truths)
        sine, cosine = np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1)  # of its half, twice
        return (2 * np.arctan2(sine, cosine)).tolist()  # exact for small angles, where arccos is not

    def embed(self, images: list[np.ndarray]) -> np.ndarray:
        """Embeddings of length one, float64 [n, d]."""
        return self._cache.get(images, self._embed)

    def _embed(self, images: list[np.ndarray]) -> np.ndarray:
        crops = np.stack([arcface_crop(image) for image in images])  # [n, 112, 112, 3]
        x = crops.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1  # [n, 3, 112, 112]
        y = self._run(np.ascontiguousarray(x)).astype(np.float64)  # [n, d]
        return y / np.linalg.norm(y, axis=1, keepdims=True)


def arcface_transform(size: int) -> np.ndarray:
    """The similarity [2, 3] from pixels of an FFHQ-aligned face at size px to those of ArcFace's 112 px crop.

    Least squares over the five points.
    """
    return fit_similarity(template(size), ARCFACE_POINTS)[0]


def arcface_crop(
    image: np.ndarray,  # uint8 RGB [s, s, 3], FFHQ-aligned
) -> np.ndarray:
    """Crop of ArcFace, uint8 RGB [112, 112, 3], antialiased."""
    return warp(image, arcface_transform(image.shape[0]), (ARCFACE_SIZE, ARCFACE_SIZE), cv2.BORDER_REPLICATE)


def _onnx_runner(path: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function x [n, 3, 112, 112] -> [n, d]. Images go in one by one: some exports fix the batch at 1."""
    try:
        import onnxruntime
    except ImportError:
        return _opencv_runner(path)
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        session.run(None, {name: np.zeros((1, 3, ARCFACE_SIZE, ARCFACE_SIZE), np.float32)})
    except Exception as error:  # onnxruntime has an exception class per failure, none of them public
        raise ValueError(f"{path} is not an ONNX model of 112 px RGB faces ({_first_line(error)})") from error
    return lambda x: np.concatenate([session.run(None, {name: x[i : i + 1]})[0] for i in range(len(x))])


def _opencv_runner(path: str) -> Callable[[np.ndarray], np.ndarray]:
    try:
        net = cv2.dnn.readNetFromONNX(path)
    except cv2.error as error:
        raise ValueError(f"OpenCV cannot run {path}; pip install onnxruntime") from error

    def run(x: np.ndarray) -> np.ndarray:
        out = []
        for i in range(len(x)):
            net.setInput(x[i : i + 1])
            out.append(net.forward().reshape(1, -1))
        return np.concatenate(out)

    return run


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
