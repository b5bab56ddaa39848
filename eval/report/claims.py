"""Claims: where a table or a sentence may say that a method is better or worse than the baseline.

`claim` decides it for all tables, sentences and the page; README.md and docs are checked by the tests.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from eval.benchmark.summary import GROUND_TRUTH, SummaryEntry
from eval.methods.registry import method_label
from eval.metrics.registry import METRICS

MIN_PAIRS = 6  # images: fewer differences have the same sign with a probability of 2 * 0.5**5 > 5 % if no method is better
Claim = Literal["better", "worse", ""]
RULE = "Bold: better than {baseline}; italic: worse; only where the paired 95% interval of the difference excludes 0."


def claim(entry: SummaryEntry | None) -> Claim:
    """Return "better" or "worse" if the paired 95% interval of the difference to the baseline excludes 0, else "".

    Nothing is claimed without an interval (Fréchet distances and KID), for fewer than MIN_PAIRS images, and for a method, a
    metric or a baseline that was trained or chosen on images of the run.
    """
    if entry is None or not is_compared(entry):
        return ""
    low, high = entry.diff_low, entry.diff_high
    if low is None or high is None or low <= 0 <= high:
        return ""
    return "better" if (high < 0) == METRICS[entry.metric].lower_better else "worse"


def is_compared(entry: SummaryEntry) -> bool:
    """Whether the entry is a comparison of a method with another baseline, with an interval of the paired difference."""
    n = entry.n if entry.diff_n is None else entry.diff_n
    other = entry.method not in (entry.baseline, GROUND_TRUTH)
    return other and entry.metric in METRICS and entry.diff_low is not None and n >= MIN_PAIRS and not entry.is_known


def comparisons_note(entries: Iterable[SummaryEntry], in_type: bool = True) -> str:
    """How many comparisons a table holds, after the rule of bold and italic type if it is used; "" for none."""
    compared = [entry for entry in entries if is_compared(entry)]
    if not compared:
        return ""
    count, baseline = len(compared), method_label(compared[0].baseline)
    rule = RULE.format(baseline=baseline) + " " if in_type else ""
    return (
        f"{rule}{count} comparison{'s' * (count > 1)} with {baseline} at 95% each, not corrected for their number: if no method "
        f"differed, about {0.05 * count:.2g} of the intervals would exclude 0."
    )


def claim_sentences(entries: Sequence[SummaryEntry], labels: dict[str, str]) -> list[str]:
    """One sentence per method, with the metrics in which it is better or worse than the baseline. labels: names of methods."""
    sentences = []
    for method in dict.fromkeys(entry.method for entry in entries if is_compared(entry)):
        own = [entry for entry in entries if entry.method == method]
        titles = {kind: [METRICS[entry.metric].title for entry in own if claim(entry) == kind] for kind in ("better", "worse")}
        parts = [f"{kind} in {', '.join(names)}" for kind, names in titles.items() if names]
        found = "; ".join(parts) or "no difference whose paired 95% interval excludes 0"
        sentences.append(f"{labels[method]} compared with {method_label(own[0].baseline)}: {found}.")
    return sentences
