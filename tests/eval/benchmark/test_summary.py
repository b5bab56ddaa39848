"""eval.benchmark.summary: number of images of differences, distances between sets of different size, errors of distances."""

from contextlib import closing

import numpy as np
import pytest

from eval.benchmark.known_images import KnownImages
from eval.benchmark.store import RunStore
from eval.benchmark.summary import SummaryEntry, per_image_entry, summarise
from eval.metrics.weights import MetricSettings

EMPTY = SummaryEntry("fsr8", "gpen", "landmarks", None, None, None, 0, "bilinear")


def test_difference_names_its_number_of_images_if_it_has_fewer():
    own = {f"{i}": {"landmarks": 0.1 * i} for i in range(5)}
    base = {f"{i}": {"landmarks": 0.1 if i < 2 else np.nan} for i in range(5)}
    entry = per_image_entry(EMPTY, own, base)
    assert (entry.n, entry.diff_n) == (5, 2) and entry.to_dict()["diff_n"] == 2
    same = per_image_entry(EMPTY, own, own)
    assert same.diff_n is None and not {"diff_n", "chosen", "note"} & same.to_dict().keys()


@pytest.fixture
def store(tmp_path):
    """Features of four images of the ground truth and the baseline, and of three of another method."""
    rng = np.random.default_rng(0)
    with closing(RunStore.open(tmp_path, ["psnr"])) as opened:
        for method, n in (("bilinear", 4), ("ground-truth", 4), ("tv", 3), ("nlm", 4)):
            names = [f"{i}" for i in range(n)]
            opened.features.add("squeezenet", "fsr8", method, names, rng.normal(size=(n, 8)))
            opened.rows.append("fsr8", method, {name: {"psnr": 20.0, "seconds": 1.0} for name in names})
        yield opened


def test_sets_of_different_size_have_no_difference(store):
    entries = summarise(store, "bilinear", ["squeezenet_fd"], MetricSettings(), KnownImages({"nlm": 1}, {"tv": 2}))
    found = {entry.method: entry for entry in entries if entry.metric == "squeezenet_fd"}
    assert found["tv"].n == 3 and found["tv"].mean is not None and found["tv"].diff is None
    assert found["nlm"].diff == pytest.approx(found["nlm"].mean - found["bilinear"].mean)
    assert {entry.method for entry in entries if entry.chosen == 2} == {"tv"}
    assert {entry.method for entry in entries if entry.trained == 1} == {"nlm"}


def test_features_that_are_not_finite_are_a_note(store):
    store.features.add("squeezenet", "fsr8", "tv", ["0"], np.full((1, 8), np.nan))
    entries = summarise(store, "bilinear", ["squeezenet_fd"], MetricSettings(), KnownImages({}, {}))
    (entry,) = [entry for entry in entries if (entry.method, entry.metric) == ("tv", "squeezenet_fd")]
    assert entry.mean is None and "features of 1 of 3 images are not finite" in entry.note
