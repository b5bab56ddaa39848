"""Face embeddings by an ONNX network of ArcFace's form (Deng et al., CVPR 2019), such as EdgeFace.

Its input is RGB faces of 112 px, aligned to ArcFace's five points, as x / 127.5 - 1; its output is [n, d].
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from gpen.errors import GPENError
from gpen.faces.alignment import ARCFACE_POINTS, ARCFACE_SIZE, fit_similarity, template


class FaceEmbedding:
    """Callable: FFHQ-aligned faces, uint8 RGB [s, s, 3] each -> embeddings of unit length, float64 [n, d].

    path: the ONNX file, run by onnxruntime where that is installed, else by OpenCV.
    Raises GPENError where the file is missing or neither can run it.
    """

    def __init__(self, path: str | Path):
        if not Path(path).is_file():
            raise GPENError(f"There is no face embedding {path}: name an ONNX file, such as EdgeFace's.")
        self._run = _onnx_runner(str(path))

    def __call__(self, images: list[np.ndarray]) -> np.ndarray:
        crops = np.stack([arcface_crop(image) for image in images])  # [n, 112, 112, 3]
        x = crops.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1  # [n, 3, 112, 112]
        y = self._run(np.ascontiguousarray(x)).astype(np.float64)  # [n, d]
        return y / np.linalg.norm(y, axis=1, keepdims=True)


def arcface_transform(size: int) -> np.ndarray:
    """Similarity transform [2, 3] from an FFHQ-aligned face of `size` px to ArcFace's crop, by least squares over five points."""
    return fit_similarity(template(size), ARCFACE_POINTS)[0]


def arcface_crop(
    image: np.ndarray,  # uint8 RGB [s, s, 3], FFHQ-aligned
) -> np.ndarray:
    """ArcFace's crop, uint8 RGB [112, 112, 3], warped at a multiple of its size and averaged, against aliasing."""
    matrix = arcface_transform(image.shape[0])
    times = max(1, int(np.ceil(1 / np.hypot(matrix[0, 0], matrix[1, 0]))))
    large = times * matrix
    large[:, 2] += (times - 1) / 2  # pixel centres: (x + 0.5) * times - 0.5
    big = (times * ARCFACE_SIZE,) * 2
    crop = cv2.warpAffine(image, large, big, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cv2.resize(crop, (ARCFACE_SIZE, ARCFACE_SIZE), interpolation=cv2.INTER_AREA)


def _onnx_runner(path: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function x [n, 3, 112, 112] -> [n, d]. Images are run one by one: some exports fix the batch at 1."""
    try:
        import onnxruntime
    except ImportError:
        return _opencv_runner(path)
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        session.run(None, {name: np.zeros((1, 3, ARCFACE_SIZE, ARCFACE_SIZE), np.float32)})
    except Exception as error:  # onnxruntime's exception classes are not public
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise GPENError(f"{path} is not an ONNX model of {ARCFACE_SIZE} px RGB faces ({reason}): name another file.") from None
    return lambda x: np.concatenate([session.run(None, {name: x[i : i + 1]})[0] for i in range(len(x))])


def _opencv_runner(path: str) -> Callable[[np.ndarray], np.ndarray]:
    try:
        net = cv2.dnn.readNetFromONNX(path)
    except cv2.error:
        raise GPENError(f'OpenCV cannot run {path}; onnxruntime may be able to: pip install "gpen[onnx]".') from None

    def run(x: np.ndarray) -> np.ndarray:
        out = []
        for i in range(len(x)):
            net.setInput(x[i : i + 1])
            out.append(net.forward().reshape(1, -1))
        return np.concatenate(out)

    return run
