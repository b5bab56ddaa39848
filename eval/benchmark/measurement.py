"""Restoring and measuring the images of a run, batch by batch: what RUN does not contain yet."""

from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import numpy as np

from eval.benchmark.plan import Plan
from eval.benchmark.profiling import measure as measure_cost
from eval.benchmark.restoration_cache import RestorationCache
from eval.benchmark.store import SECONDS, Row, RunStore
from eval.data.lq_sets import Sample
from eval.methods.registry import Method, load_method, parse_method
from gpen.images import write_image

NETWORKS = ("gpen", "unet", "spandrel", "onnx")  # methods with a warm-up pass before the time is measured


@dataclass
class Missing:
    """What RUN does not contain yet of one image, task and method."""

    columns: set[str] = field(default_factory=set)  # of per_image.csv
    networks: set[str] = field(default_factory=set)  # whose features are missing
    file: bool = False  # the restored image

    def __bool__(self) -> bool:
        return bool(self.columns or self.networks or self.file)


def measure(plan: Plan) -> None:
    """Restore and measure the images of this process that RUN does not contain yet."""
    group = plan.group
    with ExitStack() as stack:
        done = stack.enter_context(closing(RunStore.open(plan.out, plan.columns)))
        part = done
        if group.processes > 1:
            part = stack.enter_context(closing(RunStore.open(plan.out / "parts" / str(group.rank), plan.columns)))
        for task in plan.lq_sets:
            for name in plan.methods(task):
                MethodRun(plan, task, name, done, part).measure()


@dataclass(frozen=True)
class MethodRun:
    """One method on one task.

    done is the content of RUN, part the store of this process; for one process they are the same.
    """

    plan: Plan
    task: str
    name: str
    done: RunStore
    part: RunStore

    def measure(self) -> None:
        """Restore, measure and store the images of this process that are not complete."""
        lq_set, group, size = self.plan.lq_sets[self.task], self.plan.group, self.plan.settings.size
        names, missing = lq_set.faces.names, self._missing()
        # complete batches even if some of their images are done: the last digits of a network's output depend on the batch
        batches = [batch for batch in _batches(names, self.plan.settings.batch) if any(missing[name] for name in batch)]
        batches = batches[group.rank :: group.processes]
        if not batches:
            return
        method = load_method(self.name, self.plan.device)
        cache = RestorationCache.open(self.plan.settings.cache, self.name, method)
        if parse_method(self.name).kind in NETWORKS:
            method.restore(list(lq_set.samples(names[:1])), size)
        for batch in self.plan.bar(f"{self.task}: {self.name}")(batches):
            self._measure_batch(method, cache, list(lq_set.samples(batch)), [missing[name] for name in batch])

    def _missing(self) -> dict[str, Missing]:
        """What is missing of each image."""
        metrics, rows = self.plan.metrics[self.task], self.done.rows.get(self.task, self.name)
        stored = {network: self.done.features.images(network, self.task, self.name) for network in metrics.networks}
        return {
            name: Missing(
                {column for column in (*metrics.per_image, SECONDS) if column not in rows.get(name, {})},
                {network for network, images in stored.items() if name not in images},
                self.plan.settings.keep and not self._file(name).is_file(),
            )
            for name in self.plan.lq_sets[self.task].faces.names
        }

    def _file(self, image: str) -> Path:
        # quoted, because the name of a method can contain a path
        return self.plan.out / "restored" / self.task / quote(self.name, safe="") / f"{image}.png"

    def _measure_batch(self, method: Method, cache: RestorationCache, samples: list[Sample], missing: list[Missing]) -> None:
        images, seconds = self._restore(method, cache, samples)
        metrics, names = self.plan.metrics[self.task], [sample.name for sample in samples]
        columns = set().union(*(m.columns for m in missing))
        networks = set().union(*(m.networks for m in missing))
        values = {metric: metrics.score(metric, images, samples) for metric in metrics.per_image if metric in columns}
        values[SECONDS] = seconds
        features = {network: extract(images) for network, extract in metrics.networks.items() if network in networks}

        for name, image, m in zip(names, images, missing, strict=True):
            if m.file:
                write_image(self._file(name), image)
        for network, vectors in features.items():
            new = [i for i, m in enumerate(missing) if network in m.networks]
            self.part.features.add(network, self.task, self.name, [names[i] for i in new], vectors[new])
        old = self.done.rows.get(self.task, self.name)
        rows = {name: _row(values, i, old.get(name, {})) for i, name in enumerate(names) if missing[i]}
        self.part.rows.append(self.task, self.name, rows)  # last: a row implies that the features of the image are stored

    def _restore(self, method: Method, cache: RestorationCache, samples: list[Sample]) -> tuple[list[np.ndarray], list[float]]:
        """(results, seconds of each), from the cache if it contains the complete batch."""
        size = self.plan.settings.size
        if found := cache.get(samples, size):
            return found
        images, cost = measure_cost(lambda: method.restore(samples, size), self.plan.device)
        seconds = cost.seconds / len(samples)
        cache.put(samples, images, seconds)
        self.part.features.update_peaks(self.task, self.name, cost.peaks)
        return images, [seconds] * len(samples)


def _row(values: dict[str, list[float]], i: int, old: Row) -> Row:
    """The values of image i; those of the old row have priority."""
    return {column: of_images[i] for column, of_images in values.items()} | old


def _batches(names: list[str], size: int) -> list[list[str]]:
    return [names[start : start + size] for start in range(0, len(names), size)]
