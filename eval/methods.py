"""The registry of methods: how a low-quality face becomes a face of full size.

METHODS maps a name to a loader(argument, device) -> Method; "gpen:PATH" calls METHODS["gpen"]("PATH", ...). A method lives in
the file that its loader imports: eval/classical.py, unet.py, inversion.py, external.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np

import gpen
from eval.frozen import Sample
from gpen import tasks
from gpen.checkpoints import ASSETS, find
from gpen.errors import GPENError

Restore = Callable[[list[Sample], int], list[np.ndarray]]


@dataclass(frozen=True)
class Method:
    """restore(samples, size) -> uint8 RGB [size, size, 3] each.

    A restoration looks at Sample.lq alone; an oracle, which says so in its name, at Sample.degradation too; what fills in, at
    Sample.mask.
    """

    restore: Restore
    weights: Path | None = None  # the file it stands on, for the record of a run


Loader = Callable[[str, str], Method]


def resize(image: np.ndarray, size: int, how: int) -> np.ndarray:
    """uint8 RGB [h, w, 3] -> [size, size, 3], with one of OpenCV's interpolations."""
    return cv2.resize(image, (size, size), interpolation=how)


def inputs(samples: list[Sample], size: int) -> list[np.ndarray]:
    """What a network is given: the low-quality images resized back, bilinear, uint8 RGB [size, size, 3]."""
    return [resize(sample.lq, size, cv2.INTER_LINEAR) for sample in samples]


def fitted(faces: list[np.ndarray], size: int) -> list[np.ndarray]:
    """Results of a network of another size, brought to the truth's as the field does: shrunk by area, enlarged bicubically."""
    return [
        face if len(face) == size else resize(face, size, cv2.INTER_AREA if len(face) > size else cv2.INTER_CUBIC)
        for face in faces
    ]


def _interpolation(how: int) -> Loader:
    return lambda argument, device: Method(lambda samples, size: [resize(sample.lq, size, how) for sample in samples])


def _classical(function: str) -> Loader:
    def load(argument: str, device: str) -> Method:
        from eval import classical  # late: it imports scikit-image's restoration

        return Method(lambda samples, size: [getattr(classical, function)(sample, size) for sample in samples])

    return load


def _gpen(argument: str, device: str) -> Method:
    from gpen.restore import Restorer

    path = find(argument or None)
    restorer = Restorer(gpen.load(path, device=device))
    return Method(lambda samples, size: fitted(restorer.faces(inputs(samples, size)), size), path)


def _gpen_task(task: str) -> Loader:
    def load(argument: str, device: str) -> Method:
        from gpen.restore import Restorer

        path = tasks.find_model(task, argument or None)
        restorer = Restorer(gpen.load(path, device=device))
        return Method(lambda samples, size: fitted([tasks.run(restorer, task, s.lq, s.mask) for s in samples], size), path)

    return load


def _unet(argument: str, device: str) -> Method:
    from eval.unet import load, restore

    path = Path(argument) if argument else shipped("unet")
    if path is None:
        raise GPENError(
            f"unet needs a trained network and {ASSETS} holds none; name one, unet:RUN/unet.safetensors,"
            " made with python -m eval.unet --data DIR --out RUN"
        )
    net = load(path, device)
    return Method(lambda samples, size: fitted(restore(net, inputs(samples, net.size)), size), path)


def _inversion(function: str) -> Loader:
    """A search gives a face of its prior's size, which may be smaller than the truth: it is then enlarged, bicubically."""

    def load(argument: str, device: str) -> Method:
        from eval import inversion

        path = find(argument) if argument else shipped("prior")
        if path is None:
            raise GPENError(
                f"{function} searches in a GAN prior and {ASSETS} holds none; name one, {function}:prior.safetensors,"
                " made with python -m gpen train prior"
            )
        prior, invert = gpen.load_prior(path, device=device), getattr(inversion, function)
        return Method(lambda samples, size: fitted(invert(prior, [sample.lq for sample in samples]), size), path)

    return load


def shipped(kind: str) -> Path | None:
    """The largest of assets/KIND-SIZE.safetensors, KIND being prior or unet, if there is one."""
    found = sorted(ASSETS.glob(f"{kind}-*.safetensors"), key=lambda path: (len(path.name), path.name))
    return found[-1] if found else None


def _spandrel(argument: str, device: str) -> Method:
    from eval.external import load_spandrel

    path = Path(argument)
    net = load_spandrel(path, device)
    return Method(lambda samples, size: fitted(net(inputs(samples, net.size)), size), path)


def _folder(argument: str, device: str) -> Method:
    from eval.external import Results

    results = Results.open(argument)
    return Method(lambda samples, size: [results.load(sample.name, size) for sample in samples])


def _ground_truth(argument: str, device: str) -> Method:
    return Method(lambda samples, size: [cast(np.ndarray, sample.truth) for sample in samples])


METHODS: dict[str, Loader] = {
    "input": _interpolation(cv2.INTER_LINEAR),  # what a network is given: the same picture as bilinear
    "nearest": _interpolation(cv2.INTER_NEAREST),
    "bilinear": _interpolation(cv2.INTER_LINEAR),
    "bicubic": _interpolation(cv2.INTER_CUBIC),
    "lanczos": _interpolation(cv2.INTER_LANCZOS4),
    "nlm": _classical("non_local_means"),
    "tv": _classical("total_variation"),
    "oracle-wiener": _classical("oracle_wiener"),
    "oracle-rl": _classical("oracle_richardson_lucy"),
    "unet": _unet,
    "pulse": _inversion("pulse"),
    "mganprior": _inversion("mganprior"),
    "gpen": _gpen,
    "gpen-colorize": _gpen_task("colorize"),
    "gpen-inpaint": _gpen_task("inpaint"),
    "telea": _classical("telea"),
    "spandrel": _spandrel,
    "folder": _folder,
    "ground-truth": _ground_truth,
}
FILLERS = ("gpen-inpaint", "telea")  # methods that need Sample.mask
WITH_ARGUMENT = {  # what may follow the colon, and whether it must
    "unet": ("PATH", False),
    "pulse": ("PRIOR", False),
    "mganprior": ("PRIOR", False),
    "gpen": ("PATH", False),
    "gpen-colorize": ("PATH", False),
    "gpen-inpaint": ("PATH", False),
    "spandrel": ("PATH", True),
    "folder": ("DIR", True),
}


def load_method(name: str, device: str = "cpu") -> Method:
    """The method called `name`, "bilinear" or "gpen:PATH_OR_MODEL". Raises GPENError for an unknown one."""
    kind, _, argument = name.partition(":")
    if kind not in METHODS or (argument and kind not in WITH_ARGUMENT):
        raise GPENError(f"there is no method {name!r}; choose from {', '.join(_forms())}")
    what, needed = WITH_ARGUMENT.get(kind, ("", False))
    if needed and not argument:
        raise GPENError(f"the method {kind} needs a {'folder' if what == 'DIR' else 'file'}: write {kind}:{what}")
    return METHODS[kind](argument, device)


def _forms() -> list[str]:
    """How each method is written: "bilinear", "gpen[:PATH]", "unet:PATH"."""
    forms = {kind: f"{kind}:{what}" if needed else f"{kind}[:{what}]" for kind, (what, needed) in WITH_ARGUMENT.items()}
    return [forms.get(kind, kind) for kind in METHODS]
