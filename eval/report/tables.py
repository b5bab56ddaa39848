"""Cells of tables: names of methods and metrics, values with their intervals.

Metrics on the network that the default model was trained with are marked: SEEN_MARK in headings, SEEN_NOTE below the table.
Values measured on images on which the method or the metric was trained or chosen are marked with KNOWN_MARK. Distances between
sets name n.
"""

from collections.abc import Iterable

from eval.benchmark.diversity import RMS
from eval.benchmark.summary import SummaryEntry
from eval.methods.registry import NON_BLIND, method_label, method_order, parse_method
from eval.metrics import niqe
from eval.metrics.registry import METRICS, is_per_image
from eval.report.claims import claim, comparisons_note
from eval.report.document import Bold, Italic

COSTS = {"seconds": "s / image", "images_per_second": "images / s", "memory_mib": "peak memory, MiB",
         "cuda_mib": "peak GPU memory, MiB"}  # fmt: skip
_DECIMALS = {"psnr": 2, "psnr_y": 2, "squeezenet_fd": 1, "fid": 2, "fid_statistics": 2, "niqe": 3, "niqe_fitted": 3,
             "seconds": 4, "images_per_second": 2, "memory_mib": 0, "cuda_mib": 0, RMS: 1}  # default 4  # fmt: skip


SEEN_MARK = "†"  # in the headings of metrics seen in training
SEEN_NOTE = (
    f"{SEEN_MARK} Seen in training: the default model was trained with features of this network, so the metric is not "
    "independent of its training. Compare with the identity metrics and NIQE, which training has not seen."
)


KNOWN_MARK = "‡"  # after values measured on images on which the method or the metric was trained or chosen
KNOWN_NOTE = (
    f"{KNOWN_MARK} No test result: the method, the metric or the baseline was {{uses}} of these images{{ways}}. "
    "Nothing is claimed from it; measure on other images."
)
WAYS = " (weights validated during training, a blend, a fitted pristine model)"  # of choosing


UPSCALED_NOTE = (
    "Not at native size: the ground truth of {upscaled} images is smaller than the size of the run and was enlarged; these "
    "values do not compare with those of images of this size."
)


NON_BLIND_NOTE = "Non-blind: the method uses the true blur kernel, which is unknown in practice."


ENVIRONMENTS_NOTE = (
    "Measured in {environments} environments: the source code, a library, the device or the batch size changed between the calls "
    "of the run, see environments in recipe.json."
)
FEW = 10  # images; fewer say nothing about other faces
FEW_NOTE = "Only {n}: this table shows how an evaluation works, not how well the methods perform on other faces."


def arrow(lower_better: bool) -> str:
    """The symbol for the direction of a metric."""
    return "↓" if lower_better else "↑"


def metric_heading(metric: str, n: int | None = None, reference: str = "") -> str:
    """The heading of a column, for example "PSNR (RGB) ↑"; with SEEN_MARK for a metric seen in training.

    n: number of images, in the headings of distances between sets, which depend on it: "KID (GT), n = 110 ↓". reference: name
    of the given statistics, in the heading of the metric that uses them: "FID (FFHQ) ↓".
    """
    known = METRICS.get(metric)
    if known is None:
        return COSTS.get(metric, metric)
    size = f", n = {n}" if n is not None and not is_per_image(metric) else ""
    title = known.title.replace("given statistics", reference or "given statistics")
    return f"{title}{size} {arrow(known.lower_better)}" + f" {SEEN_MARK}" * known.seen_in_training


def metric_headings(entries: Iterable[SummaryEntry], n: int | None = None) -> dict[str, str]:
    """The headings of the metrics of these entries, in the order of the entries; n as in metric_heading."""
    references: dict[str, str] = {}
    for entry in entries:
        references[entry.metric] = references.get(entry.metric) or entry.reference
    return {metric: metric_heading(metric, n, reference) for metric, reference in references.items()}


def metric_label(metric: str) -> str:
    """The label of an axis, for example "SqueezeNet distance ↓ (seen in training)" or "PSNR (RGB), dB ↑"."""
    heading = metric_heading(metric).replace(SEEN_MARK, "(seen in training)")
    return heading.replace(" ↑", ", dB ↑") if metric.startswith("psnr") else heading


def seen_note(metrics: Iterable[str]) -> str:
    """SEEN_NOTE if one of the metrics was seen in training, else ""."""
    return SEEN_NOTE if any(name in METRICS and METRICS[name].seen_in_training for name in metrics) else ""


def known_note(entries: Iterable[SummaryEntry]) -> str:
    """KNOWN_NOTE if a method, a metric or the baseline was trained or chosen on some of the images, else ""."""
    entries = list(entries)
    trained, chosen = (max((getattr(entry, kind) for entry in entries), default=0) for kind in ("trained", "chosen"))
    uses = " and ".join(f"{verb} on up to {count}" for verb, count in (("trained", trained), ("chosen", chosen)) if count)
    return KNOWN_NOTE.format(uses=uses, ways=WAYS if chosen else "") if uses else ""


def upscaled_note(entries: Iterable[SummaryEntry]) -> str:
    """UPSCALED_NOTE if the ground truth of some images was enlarged, else ""."""
    upscaled = max((entry.upscaled for entry in entries), default=0)
    return UPSCALED_NOTE.format(upscaled=upscaled) if upscaled else ""


def environments_note(entries: Iterable[SummaryEntry]) -> str:
    """ENVIRONMENTS_NOTE if the rows of a task were measured in several environments, else ""."""
    most = max((entry.environments for entry in entries), default=1)
    return ENVIRONMENTS_NOTE.format(environments=most) if most > 1 else ""


def non_blind_note(entries: Iterable[SummaryEntry]) -> str:
    """NON_BLIND_NOTE if one of the methods is a non-blind baseline, else ""."""
    return NON_BLIND_NOTE if any(parse_method(entry.method).kind in NON_BLIND for entry in entries) else ""


def few_note(entries: Iterable[SummaryEntry]) -> str:
    """FEW_NOTE if the values are those of fewer than FEW images, else ""."""
    n = max((entry.n for entry in entries), default=FEW)
    return FEW_NOTE.format(n=f"{n} image{'s' * (n != 1)}") if n < FEW else ""


def table_notes(entries: Iterable[SummaryEntry], size: int | None = None, in_type: bool = True) -> list[str]:
    """The notes below a table of these entries. size: of the images, px. in_type: whether the table marks claims by its type.

    The number of comparisons and the rule of bold type, what non-blind means, metrics seen in training, values that are no test
    results, an enlarged ground truth, images without a value, few images, several environments, the number of patches of NIQE,
    and licences of packages that are not free software.
    """
    entries = list(entries)
    metrics = {entry.metric for entry in entries}
    notes = [comparisons_note(entries, in_type), non_blind_note(entries), seen_note(metrics), known_note(entries)]
    notes += [missing_note(entries), few_note(entries), upscaled_note(entries), environments_note(entries)]
    if "niqe" in metrics and size is not None:
        notes.append(niqe.patches_note(size))
    for licence in dict.fromkeys(METRICS[name].licence for name in METRICS if name in metrics and METRICS[name].licence):
        named = [METRICS[name].title for name in METRICS if name in metrics and METRICS[name].licence == licence]
        notes.append(f"{', '.join(named)}: computed by pyiqa, whose licence is {licence}.")
    return [note for note in notes if note]


def missing_note(entries: Iterable[SummaryEntry]) -> str:
    """Which metrics have no value for some images of a row, which their means leave out; "" for none."""
    missing: dict[str, int] = {}
    for n, group in by_size(entries).items():
        for entry in group:
            if entry.n < n:
                missing[entry.metric] = max(missing.get(entry.metric, 0), n - entry.n)
    parts = [f"{METRICS[name].title} has no value for up to {count} images of a row" for name, count in missing.items()]
    return f"{'; '.join(parts)}: its mean is that of the others." if parts else ""


def by_size(entries: Iterable[SummaryEntry]) -> dict[int, list[SummaryEntry]]:
    """The entries by the number of images of their method and task, the largest first: sets of different size do not compare."""
    sizes: dict[tuple[str, str], int] = {}
    entries = list(entries)
    for entry in entries:
        key = (entry.task, entry.method)
        sizes[key] = max(sizes.get(key, 0), entry.n)
    groups: dict[int, list[SummaryEntry]] = {}
    for entry in entries:
        groups.setdefault(sizes[entry.task, entry.method], []).append(entry)
    return dict(sorted(groups.items(), reverse=True))


def in_order(entries: Iterable[SummaryEntry]) -> list[SummaryEntry]:
    """The entries by task, in the order of their first entries, and within a task by method, see registry.method_order."""
    entries = list(entries)
    tasks = list(dict.fromkeys(entry.task for entry in entries))
    return sorted(entries, key=lambda entry: (tasks.index(entry.task), method_order(entry.method)))


def method_labels(methods: Iterable[str]) -> dict[str, str]:
    """Short names of methods.

    "gpen:runs/a/model.pth" becomes "gpen:model" unless another method has the same short name; see registry.method_label.
    """
    short = {method: _short(method) for method in dict.fromkeys(methods)}
    names = list(short.values())
    return {method: name if names.count(name) == 1 else method for method, name in short.items()}


def _short(method: str) -> str:
    return "bilinear (the input)" if method == "bilinear" else method_label(method)


def format_mean(entry: SummaryEntry | None) -> str:
    """The mean with its interval, with KNOWN_MARK if it is no test result.

    "∞" if some images are identical to the ground truth, "none" without values.
    """
    if entry is None:
        return "not measured"
    if entry.mean is None:
        return "∞" if entry.note.startswith("is infinite") else "none"
    return _with_interval(entry.metric, entry.mean, entry.low, entry.high) + f" {KNOWN_MARK}" * entry.is_known


def format_difference(entry: SummaryEntry | None) -> str:
    """The mean difference with its interval, Bold or Italic where `claim` says "better" or "worse"."""
    if entry is None or entry.diff is None:
        return "-"
    text = _with_interval(entry.metric, entry.diff, entry.diff_low, entry.diff_high, "+")
    return emphasised(text + f" {KNOWN_MARK}" * entry.is_known, entry)


def emphasised(text: str, entry: SummaryEntry) -> str:
    """The text in the type of the claim about the entry: Bold for "better", Italic for "worse"."""
    return {"better": Bold, "worse": Italic, "": str}[claim(entry)](text)


def format_value(metric: str, value: float, sign: str = "", fewer: int = 0) -> str:
    """A value with the number of decimals of its metric, or `fewer`; PSNR has at least 2."""
    decimals = _DECIMALS.get(metric, 4)
    return f"{value:{sign}z.{decimals if metric.startswith('psnr') else max(0, decimals - fewer)}f}"


def _with_interval(metric: str, mean: float, low: float | None, high: float | None, sign: str = "") -> str:
    text = format_value(metric, mean, sign)
    if low is None or high is None:
        return text
    return f"{text} [{format_value(metric, low, sign)}, {format_value(metric, high, sign)}]"
