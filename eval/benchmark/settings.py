"""The settings of a run, which are also the options of python -m eval run."""

from dataclasses import dataclass
from typing import Annotated

from eval.data.lq_sets import TASKS
from eval.data.paired import NAME
from eval.methods.registry import method_help
from eval.metrics.registry import DEFAULT_METRICS, NOT_DEFAULT, metric_help
from eval.options import Names, option


@dataclass(frozen=True)
class RunSettings:
    """The settings of a run.

    The baseline, the input and, except for wild, the ground truth are always among the methods.
    """

    data: Annotated[str, option("DIR", "samples")]
    """aligned faces: a folder, a zip file, celeba-hq-test, celeba-hq, ffhq, hf:OWNER/NAME[:SPLIT[:COLUMN]], or samples, those
    of this package; not for paired"""
    out: Annotated[str, option("RUN")]
    """folder of the run; a run that it contains is resumed or extended"""
    methods: Annotated[
        Names,
        option(
            text=f"methods, for example bilinear,gpen:PATH; [:PATH] is optional:\n{method_help()}\n",
            default="bilinear,gpen; for colorize bilinear,gpen-colorize; for inpaint bilinear,telea,gpen-inpaint",
        ),
    ] = ("bilinear", "gpen")
    tasks: Annotated[
        Names,
        option(
            text=f"tasks of the family: {', '.join(TASKS)}",
            default="fsr8 for fsr, bfr-gpen-release-scaled,bfr-codeformer-2 for ablation, else the task named like the family",
        ),
    ] = ("fsr8",)
    metrics: Annotated[
        Names,
        option(
            text=f"metrics: ↑ higher, ↓ lower is better; FR with, NR without a reference image, set of all images; † seen in "
            f"training, * needs a file or a package, and is skipped without it:\n{metric_help()}\n",
            default=f"all except {','.join(NOT_DEFAULT)}",
        ),
    ] = DEFAULT_METRICS
    size: Annotated[int, option("PX", "256; for ablation the size of the networks, for paired that of the ground truth")] = 256
    """size of the ground truth, 32 to 4096 px"""
    limit: Annotated[int | None, option("N", "all")] = None
    """maximum number of images, by name, 1 or more"""
    seed: int = 0
    """seed of the degradations, an integer"""
    keep: bool = False
    """write the restored images to RUN/restored"""
    baseline: Annotated[str, option("METHOD")] = "bilinear"
    """method to which the differences of the others are computed, or its label"""
    batch: Annotated[int, option("N")] = 8
    """images restored and measured at a time, 1 or more"""
    device: str = "cpu"
    """device of the networks: cpu, cuda, or cuda:N"""
    cache: Annotated[str | None, option("DIR", "no cache")] = None
    """folder of a cache of restored images, shared by runs"""
    lq: Annotated[str | None, option("DIR", "none; required by paired")] = None
    """given low-quality images, only for paired: a folder, a zip file, or hf:OWNER/NAME:SPLIT:COLUMN"""
    match: Annotated[str, option("PATTERN")] = NAME
    """name of an input in --lq, with {name} for that of its ground truth, for example "{name}_00\""""
    protocol: Annotated[str, option("NAME", "none")] = ""
    """published test set that the images are, as in python -m eval protocol list; their number and --size are checked"""
    allow_upscaled: bool = False
    """enlarge a ground truth that is smaller than --size, which is an error otherwise, and say so below every table"""
