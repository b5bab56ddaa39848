"""eval.metrics.iqa: metrics of pyiqa through its public interface, with a stand-in for the package."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from eval.benchmark.summary import SummaryEntry
from eval.metrics import registry
from eval.metrics.registry import DEFAULT_METRICS, METRICS, compare, load_metrics
from eval.metrics.weights import MetricSettings
from eval.report.tables import table_notes

NAMES = {"dists": ("dists", "FR", True), "musiq": ("musiq", "NR", False), "maniqa": ("maniqa", "NR", False),
         "clipiqa": ("clipiqa", "NR", False), "topiq_face": ("topiq_nr-face", "NR", False)}  # fmt: skip


class StandIn:
    """A metric of pyiqa: the mean of the image, minus that of the reference for a full-reference metric."""

    def __init__(self, name, device):
        _, self.metric_mode, self.lower_better = next(entry for entry in NAMES.values() if entry[0] == name)
        self.device = device

    def __call__(self, target, ref=None):
        assert target.ndim == 4 and target.shape[:2] == (1, 3) and 0 <= target.min() and target.max() <= 1
        assert (ref is None) == (self.metric_mode == "NR") and target.device == self.device
        return (target.mean() - (0 if ref is None else ref.mean())).reshape(1, 1)


@pytest.fixture
def pyiqa(monkeypatch):
    module = SimpleNamespace(create_metric=StandIn)
    monkeypatch.setitem(sys.modules, "pyiqa", module)
    registry._load.cache_clear()
    yield module
    registry._load.cache_clear()


def test_metrics_are_those_of_the_package(pyiqa):
    rng = np.random.default_rng(0)
    image, truth = rng.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    values = compare(image, truth, NAMES, MetricSettings())
    mean, reference = image.mean() / 255, truth.mean() / 255
    assert values.pop("dists") == pytest.approx(mean - reference, abs=1e-6)
    assert values == {name: pytest.approx(mean, abs=1e-6) for name in NAMES if name != "dists"}
    assert {name: (METRICS[name].mode, METRICS[name].lower_better) for name in NAMES} == {k: v[1:] for k, v in NAMES.items()}
    assert not set(NAMES) & set(DEFAULT_METRICS)


def test_missing_package_names_the_extra_and_the_licence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    _, missing = load_metrics(NAMES, MetricSettings())
    assert set(missing) == set(NAMES)
    assert all('pip install "gpen[iqa]"' in message and "non-commercial use only" in message for message in missing.values())


def test_weights_that_cannot_be_loaded_and_another_version(pyiqa, monkeypatch):
    def offline(name, device):
        raise OSError("no route to host\nmore lines")

    monkeypatch.setattr(pyiqa, "create_metric", offline)
    _, missing = load_metrics(["musiq"], MetricSettings())
    assert "pyiqa cannot load musiq (no route to host)" in missing["musiq"] and "\n" not in missing["musiq"]
    monkeypatch.setattr(pyiqa, "create_metric", lambda name, device: SimpleNamespace(metric_mode="NR", lower_better=True))
    _, missing = load_metrics(["musiq"], MetricSettings())
    assert "another mode or direction" in missing["musiq"]


def test_tables_state_the_licence():
    entries = [SummaryEntry("fsr8", "gpen", metric, 1.0, None, None, 9) for metric in ("psnr", "dists", "musiq")]
    (note,) = [note for note in table_notes(entries) if "pyiqa" in note]
    assert note.startswith("DISTS, MUSIQ: ") and "non-commercial use only" in note and note.endswith(".")
    assert not any("pyiqa" in note for note in table_notes(entries[:1]))
