"""The registry of methods, which restore low-quality faces at full size.

METHODS maps a name to a loader(argument, device) -> Method; "gpen:PATH" calls METHODS["gpen"]("PATH", ...). "LABEL=gpen:PATH" is
the same method, named LABEL in tables. The implementations are in the files imported by the loaders: eval/methods/classical.py,
unet.py, inversion.py, external.py, onnx_file.py.
"""

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import cv2
import numpy as np

import gpen
from eval.data.lq_sets import Sample
from gpen.errors import GPENError
from gpen.models.checkpoints import ASSETS, PUBLISHED_MODELS, find, is_name, local_model, read_metadata
from gpen.restoration import tasks
from gpen.restoration.paste import check_strength

Restore = Callable[[list[Sample], int], list[np.ndarray]]


@dataclass(frozen=True)
class Method:
    """restore(samples, size) -> uint8 RGB [size, size, 3] each.

    A blind method uses only Sample.lq, a non-blind baseline (nonblind-...) also Sample.degradation, an inpainting method also
    Sample.mask. pulse and mganprior use Sample.degradation only for the operator of super-resolution, which their task names.
    """

    restore: Restore
    weights: Path | None = None  # weight file, for the recipe of a run
    settings: str = ""  # options in the name that change the results, such as the range of an ONNX file
    # check(names of the given inputs, or "", by the names of the images) raises GPENError before a run if results are missing
    check: Callable[[Mapping[str, str]], None] = lambda names: None


Loader = Callable[[str, str], Method]


def resize(image: np.ndarray, size: int, interpolation: int) -> np.ndarray:
    """uint8 RGB [h, w, 3] -> [size, size, 3], with an interpolation of OpenCV."""
    return cv2.resize(image, (size, size), interpolation=interpolation)


def inputs(samples: list[Sample], size: int) -> list[np.ndarray]:
    """The inputs of a network: images resized (bilinear) to uint8 RGB [size, size, 3]."""
    return [resize(sample.lq, size, cv2.INTER_LINEAR) for sample in samples]


def resize_to(faces: list[np.ndarray], size: int) -> list[np.ndarray]:
    """Resize results to the size of the ground truth: reduced by area, enlarged bicubically."""
    return [
        face if len(face) == size else resize(face, size, cv2.INTER_AREA if len(face) > size else cv2.INTER_CUBIC)
        for face in faces
    ]


def _interpolation(interpolation: int) -> Loader:
    return lambda argument, device: Method(lambda samples, size: [resize(sample.lq, size, interpolation) for sample in samples])


def _classical(function: str) -> Loader:
    def load(argument: str, device: str) -> Method:
        from eval.methods import classical  # imported here because scikit-image takes time to import

        return Method(lambda samples, size: [getattr(classical, function)(sample, size) for sample in samples])

    return load


def _gpen(argument: str, device: str) -> Method:
    from gpen.restoration.restorer import Restorer

    name, _, options = argument.partition("?")
    path = find(name or None)
    restorer = Restorer(gpen.load(path, device=device), strength=_strength(options))
    return Method(lambda samples, size: resize_to(restorer.faces(inputs(samples, size)), size), path, options)


def _strength(options: str) -> float:
    """The strength in the options of a GPEN method, "" or "strength=0.5"; 1 if it is not given."""
    if not options:
        return 1.0
    match = re.fullmatch(r"strength=(\d*\.?\d+)", options)
    if not match:
        raise GPENError(f"Unknown option {options!r} of the method gpen; write for example gpen:?strength=0.5.")
    return check_strength(float(match[1]))


def _gpen_task(task: str) -> Loader:
    def load(argument: str, device: str) -> Method:
        from gpen.restoration.restorer import Restorer

        path = tasks.find_model(task, argument or None)
        restorer = Restorer(gpen.load(path, device=device))
        return Method(lambda samples, size: resize_to([tasks.run(restorer, task, s.lq, s.mask) for s in samples], size), path)

    return load


def _unet(argument: str, device: str) -> Method:
    from eval.methods.unet import load, restore

    path = Path(argument) if argument else default_weights("unet")
    if path is None:
        raise GPENError(
            f"The method unet needs weights and {ASSETS} contains none; give them as unet:RUN/unet.safetensors,"
            " trained with python -m eval train-unet --data DIR --out RUN."
        )
    net = load(path, device)
    return Method(lambda samples, size: resize_to(restore(net, inputs(samples, net.size)), size), path)


def _inversion(function: str) -> Loader:
    """A search returns a face of the size of its prior, which is enlarged if the ground truth is larger."""

    def load(argument: str, device: str) -> Method:
        from eval.methods import inversion

        path = find(argument) if argument else default_weights("prior")
        if path is None:
            raise GPENError(
                f"The method {function} needs a GAN prior and {ASSETS} contains none; give it as {function}:prior.safetensors,"
                " trained with python -m gpen train prior."
            )
        prior, invert = gpen.load_prior(path, device=device), getattr(inversion, function)
        return Method(lambda samples, size: resize_to(invert(prior, samples, size), size), path)

    return load


def default_weights(kind: str) -> Path | None:
    """The largest of assets/KIND-SIZE.safetensors, KIND being prior or unet; None if there is none."""
    found = sorted(ASSETS.glob(f"{kind}-*.safetensors"), key=lambda path: (len(path.name), path.name))
    return found[-1] if found else None


def _spandrel(argument: str, device: str) -> Method:
    from eval.methods.external import load_spandrel

    path = Path(argument)
    net = load_spandrel(path, device)
    return Method(lambda samples, size: resize_to(net(inputs(samples, net.size)), size), path)


def _onnx(argument: str, device: str) -> Method:
    from eval.methods.onnx_file import OnnxRestorer

    path, _, options = argument.partition("?")
    net = OnnxRestorer.open(Path(path), options)
    return Method(lambda samples, size: resize_to(net(inputs(samples, net.size)), size), Path(path), options)


def _folder(argument: str, device: str) -> Method:
    from eval.methods.external import ResultFolder

    results = ResultFolder.open(argument)
    return Method(
        lambda samples, size: resize_to([results.load(sample.name, sample.file_name) for sample in samples], size),
        check=results.check,
    )


def _ground_truth(argument: str, device: str) -> Method:
    return Method(lambda samples, size: [cast(np.ndarray, sample.truth) for sample in samples])


METHODS: dict[str, Loader] = {  # in the order of tables: the input, interpolation, classical, learned, GPEN, the ground truth
    "bilinear": _interpolation(cv2.INTER_LINEAR),
    "nearest": _interpolation(cv2.INTER_NEAREST),
    "bicubic": _interpolation(cv2.INTER_CUBIC),
    "lanczos": _interpolation(cv2.INTER_LANCZOS4),
    "nlm": _classical("non_local_means"),
    "tv": _classical("total_variation"),
    "telea": _classical("telea"),
    "nonblind-wiener": _classical("nonblind_wiener"),
    "nonblind-rl": _classical("nonblind_richardson_lucy"),
    "folder": _folder,
    "onnx": _onnx,
    "spandrel": _spandrel,
    "unet": _unet,
    "pulse": _inversion("pulse"),
    "mganprior": _inversion("mganprior"),
    "gpen-inpaint": _gpen_task("inpaint"),
    "gpen-colorize": _gpen_task("colorize"),
    "gpen": _gpen,
    "ground-truth": _ground_truth,
}
DESCRIPTIONS = {  # for the help of the command line: a line each, which fits into 80 columns with the name
    "bilinear": "bilinear: the input of networks",
    "nearest": "nearest-neighbour interpolation",
    "bicubic": "bicubic interpolation",
    "lanczos": "Lanczos interpolation, 8 x 8 px",
    "nlm": "non-local means, then bicubic",
    "tv": "total variation, then bicubic",
    "telea": "inpainting of Telea (OpenCV)",
    "nonblind-wiener": "non-blind: Wiener, true blur kernel",
    "nonblind-rl": "non-blind Richardson-Lucy, true kernel",
    "folder": "results of another program",
    "onnx": "ONNX file of a face restorer**",
    "spandrel": "GFPGAN, CodeFormer, ... by spandrel",
    "unet": "U-Net of train-unet, no GAN prior*",
    "pulse": "PULSE-like inversion of an own prior*",
    "mganprior": "mGANprior-like, of an own prior*",
    "gpen-inpaint": "GPEN for inpainting",
    "gpen-colorize": "GPEN for colorization",
    "gpen": "GPEN: the default, a name or a file",
    "ground-truth": "the ground truth itself",
}
NOTES = (  # below the list
    "* unet is not trained as GPEN: its loss is L1 (with train-unet --adversarial also a GAN loss), its degradations are those of"
    " gpen-release, its images are not augmented; docs/evaluation.md compares it with the default model.",
    "* pulse and mganprior search as their releases do, but in the prior of this project unless PRIOR is given. They invert the"
    " downsampling of super-resolution; for other tasks, antialiased bicubic resizing.",
    "** Size and layout are read from the file; the range is -1,1 unless given, as in onnx:FILE?range=0,1&size=512&layout=nhwc.",
    "LABEL=METHOD names a method in tables, such as GFPGAN=spandrel:GFPGANv1.4.pth.",
)
LABELS = {"pulse": "PULSE-like", "mganprior": "mGANprior-like"}  # of methods with a GAN prior, in tables
NON_BLIND = {  # labels of the non-blind baselines, in tables
    "nonblind-wiener": "Wiener (non-blind)",
    "nonblind-rl": "Richardson-Lucy (non-blind)",
}
INPAINTING_METHODS = ("gpen-inpaint", "telea")  # methods that need Sample.mask
WITH_ARGUMENT = {  # the argument after the colon and whether it is required
    "unet": ("PATH", False),
    "pulse": ("PRIOR", False),
    "mganprior": ("PRIOR", False),
    "gpen": ("PATH[?strength=S]", False),
    "gpen-colorize": ("PATH", False),
    "gpen-inpaint": ("PATH", False),
    "spandrel": ("PATH", True),
    "onnx": ("FILE[?OPTIONS]", True),
    "folder": ("DIR", True),
}


class MethodName(NamedTuple):
    """The parts of "LABEL=KIND:ARGUMENT"; label and argument are "" if they are not given."""

    label: str
    kind: str
    argument: str


def parse_method(name: str) -> MethodName:
    """Split the name of a method. A label contains no colon, so that paths may contain "="."""
    label, spec = match.groups() if (match := re.fullmatch(r"([^:=]+)=(.+)", name)) else ("", name)
    kind, _, argument = spec.partition(":")
    return MethodName(label.strip(), kind, argument)


def method_order(name: str) -> tuple[int, bool]:
    """The key by which tables sort methods: the order of METHODS, the default weights of a kind after other weights of it.

    Methods that this version does not know are last.
    """
    _, kind, argument = parse_method(name)
    return (list(METHODS).index(kind) if kind in METHODS else len(METHODS)), not argument


def load_method(name: str, device: str = "cpu") -> Method:
    """Load the method `name`, for example "bilinear", "gpen:PATH_OR_MODEL" or "LABEL=spandrel:PATH".

    Raises GPENError for an unknown name.
    """
    _, kind, argument = parse_method(name)
    if kind not in METHODS or (argument and kind not in WITH_ARGUMENT):
        raise GPENError(f"Unknown method {name!r}; choose from {', '.join(_forms().values())}.")
    placeholder, required = WITH_ARGUMENT.get(kind, ("", False))
    if required and not argument:
        what = "folder" if placeholder == "DIR" else "file"
        raise GPENError(f"The method {kind} needs a {what}; write {kind}:{placeholder.partition('[')[0]}.")
    return METHODS[kind](argument, device)


def method_help() -> str:
    """A line for each method, its syntax and its description, and NOTES."""
    lines = [f" {form:21} {DESCRIPTIONS.get(kind, '')}".rstrip() for kind, form in _forms().items()]
    return "\n".join([*lines, *NOTES])


def method_label(name: str) -> str:
    """The name of a method in tables: its label, or its name without folders: "gpen:model", "PULSE-like, own prior of 64 px".

    The size is read from the file of the prior. A file that this package did not write, or that is not on this machine, is named.
    """
    label, kind, argument = parse_method(name)
    if label or kind in NON_BLIND:
        return label or NON_BLIND[kind]
    if kind not in LABELS:
        path, _, options = argument.partition("?")
        strength = f"?{options}" if kind == "gpen" and options else ""
        return f"{kind}:{Path(path).stem}{strength}" if argument else kind
    return f"{LABELS[kind]}, {_prior_label(argument)}"


@functools.cache
def _prior_label(argument: str) -> str:
    path = default_weights("prior") if not argument else local_model(argument) if is_name(argument) else Path(argument)
    try:
        size = path and json.loads(read_metadata(path)["config"])["size"]
    except (GPENError, KeyError, ValueError):
        size = None
    if size and path and path.stem not in PUBLISHED_MODELS:
        return f"own prior of {size} px"
    return f"prior {Path(argument).stem}" if argument else "own prior"


def _forms() -> dict[str, str]:
    """The syntax of each method: "bilinear", "gpen[:PATH]", "spandrel:PATH"."""
    forms = {kind: f"{kind}:{name}" if required else f"{kind}[:{name}]" for kind, (name, required) in WITH_ARGUMENT.items()}
    return {kind: forms.get(kind, kind) for kind in METHODS}
