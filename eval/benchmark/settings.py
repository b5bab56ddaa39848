"""Settings of a benchmark run."""

from dataclasses import dataclass

from eval.metrics.registry import DEFAULT_METRICS


@dataclass(frozen=True)
class RunSettings:
    """The settings of a run.

    The baseline, the input and, except for wild, the ground truth are always among the methods.
    """

    data: str
    out: str
    methods: tuple[str, ...] = ("bilinear", "gpen")
    tasks: tuple[str, ...] = ("fsr8",)
    metrics: tuple[str, ...] = DEFAULT_METRICS
    size: int = 256  # px, of the ground truth
    limit: int | None = None  # maximum number of images, by name; None: all
    seed: int = 0
    keep: bool = False  # write the restored images
    baseline: str = "bilinear"
    batch: int = 8  # images restored and measured at a time
    device: str = "cpu"
    cache: str | None = None  # folder of restored images by content, shared by runs; None: no cache
