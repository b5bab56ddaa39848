"""Benchmark the time by image size, batch size and number of faces in a photo.

    python -m bench.scale           about three minutes on two cores

Writes scale.json and scale.png to bench/results, or --out. Networks of other sizes have the width of the default model and random
weights.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

import gpen
from bench.common.harness import RESULTS, Clock, machine, set_clock, write_results
from eval.benchmark.profiling import peak_memory
from gpen.cli.parsing import Flag, Folder, parse
from gpen.engines.registry import load_engine
from gpen.errors import exit_status
from gpen.faces.alignment import Face
from gpen.faces.samples import SAMPLES
from gpen.images import replace_atomically

FACE_SPACING = 120  # px, distance between neighbouring faces of the photo
POINTS = np.array(
    [(39, 48), (81, 48), (60, 63), (44, 83), (76, 83)], np.float32
)  # landmarks (eyes, nose, mouth) of a face of FACE_SPACING px
MAX_FACES = 200  # of the photo, 10 x 20
REPEATS = 3
LABELS = {"side": "image size, px", "batch": "batch size", "faces": "faces per photo"}


@dataclass(frozen=True)
class Point:
    """One point of a curve: seconds of a call at a value of the variable, and peak memory in MB if it was measured."""

    value: int
    seconds: float
    megabytes: float | None = None

    def to_dict(self, variable: str) -> dict[str, float]:
        """The fields under their names in scale.json; the value has the name of the variable."""
        memory = {} if self.megabytes is None else {"megabytes": self.megabytes}
        return {variable: self.value, "seconds": self.seconds} | memory


def fastest_call(run: Callable[[], object], clock: Clock) -> float:
    """Return the seconds of the fastest of REPEATS calls, after one warm-up call."""
    run()
    times = []
    for _ in range(REPEATS):
        begin = clock()
        run()
        times.append(clock() - begin)
    return min(times)


def by_side(sides: Sequence[int], clock: Clock) -> Iterator[Point]:
    """Restore one image with networks of several sizes."""
    for side in sides:
        net = gpen.GPEN(dataclasses.replace(gpen.load().config, size=side, in_size=side)).requires_grad_(False).eval()
        x = torch.rand(1, 3, side, side) * 2 - 1
        yield Point(side, fastest_call(partial(load_engine(net), x), clock))


def by_batch(batches: Sequence[int], clock: Clock) -> Iterator[Point]:
    """Restore batches of several sizes with the default model."""
    net = gpen.load()
    engine = load_engine(net)
    for n in batches:
        x = torch.rand(n, 3, net.in_size, net.in_size) * 2 - 1
        yield Point(n, fastest_call(partial(engine, x), clock))


def by_faces(counts: Sequence[int], clock: Clock) -> Iterator[Point]:
    """Restore known faces of one photo, so that only restoration and pasting are timed."""
    face = SAMPLES["astronaut"].load(FACE_SPACING)
    photo = np.tile(face, (10, 20, 1))  # MAX_FACES faces
    corners = [(x, y) for y in range(0, photo.shape[0], FACE_SPACING) for x in range(0, photo.shape[1], FACE_SPACING)]
    faces = [Face((x, y, x + FACE_SPACING, y + FACE_SPACING), POINTS + np.array((x, y), np.float32), 1.0) for x, y in corners]
    restorer = gpen.Restorer(gpen.load())
    restorer.photo(photo, faces=faces[:8])
    for n in counts:
        begin = clock()
        restorer.photo(photo, faces=faces[:n])
        yield Point(n, clock() - begin, peak_memory())


def plot(results: dict[str, list[Point]], path: Path) -> None:
    """Plot the seconds by each variable, with a line of proportional growth through the last point."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for axis, (name, label) in zip(axes, LABELS.items(), strict=True):
        x, seconds = [point.value for point in results[name]], [point.seconds for point in results[name]]
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.plot(x, seconds, "o-")
        start = seconds[-1] * (np.array(x) / x[-1]) ** (2 if name == "side" else 1)
        axis.plot(x, start, ":", color="0.5", label="pixels" if name == "side" else "proportional")
        axis.set_xticks(x, x)
        axis.set_xlabel(label)
        axis.set_ylabel("seconds")
        axis.legend(frameon=False)
    with replace_atomically(path) as partial:
        figure.savefig(partial, format="png", dpi=120)
    plt.close(figure)


def table(name: str, points: list[Point]) -> str:
    """Format one curve as a Markdown table."""
    lines = [f"| {name} | " + " | ".join(str(point.value) for point in points) + " |", "| --- |" + " ---: |" * len(points)]
    lines.append("| seconds | " + " | ".join(f"{point.seconds:.2f}" for point in points) + " |")
    memory = [point.megabytes for point in points if point.megabytes is not None]
    if memory:
        lines.append("| peak MB | " + " | ".join(f"{mb:.0f}" for mb in memory) + " |")
    return "\n".join(lines)


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    sides: tuple[int, ...] = (128, 256, 512, 1024, 2048)  # image sizes in px, powers of two from 8
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)  # batch sizes, at least 1
    faces: tuple[int, ...] = (1, 10, 50, 100, 200)  # numbers of faces in the photo, 1 to 200
    cpu_time: Flag = False  # use one thread and measure its CPU time, for machines with other load
    out: Folder = RESULTS  # folder of the results

    def __post_init__(self) -> None:
        if not all(1 <= n <= MAX_FACES for n in self.faces):
            raise gpen.GPENError(f"The photo has 1 to {MAX_FACES} faces; got {' '.join(map(str, self.faces))}.")


def run(options: Options) -> None:
    """Run the benchmark."""
    clock = set_clock(options.cpu_time)
    results = {  # first the case that measures peak memory, which never decreases
        "faces": list(by_faces(options.faces, clock)),
        "side": list(by_side(options.sides, clock)),
        "batch": list(by_batch(options.batches, clock)),
    }
    curves = {name: [point.to_dict(name) for point in points] for name, points in results.items()}
    write_results(options.out / "scale.json", {"machine": machine(options.cpu_time), **curves})
    plot(results, options.out / "scale.png")
    print("\n\n".join(table(name, points) for name, points in results.items()))


def main(argv: list[str] | None = None) -> int:
    return exit_status(lambda: run(parse(Options, argv, "python -m bench.scale", description=__doc__.splitlines()[0])))


if __name__ == "__main__":
    sys.exit(main())
