"""Speed of training: images per second of both stages, eager and compiled, and the share of a step spent in each part.

    python -m bench.training --feature-network squeezenet1_1.pth          a few minutes on two cores, with cold compilation
    python -m bench.training --stages finetune --rounds 3

Eager and compiled steps alternate, so that a change of the machine's speed affects both; figures are medians over the rounds. The
identity loss is included where --identity-model names its file. Data are synthetic faces, read and degraded as in a run.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal
from unittest import mock

import torch
from torch.utils.data import default_collate
from tyro.conf import arg

import gpen.training.finetune
import gpen.training.prior
from gpen.cli.parsing import parse
from gpen.errors import exit_status
from gpen.training.adversarial.projected import ProjectedDiscriminator
from gpen.training.config import FinetuneConfig, PriorConfig, read_run_config
from gpen.training.data.dataset import FacePairs, Faces
from gpen.training.finetune import Finetune
from gpen.training.losses.squeezenet import SqueezeNet
from gpen.training.prior import Prior
from gpen.training.runtime.memory import keep_freed
from gpen.training.runtime.parallel import Distributed
from gpen.training.smoke import draw_faces

CONFIGS = Path(gpen.training.finetune.__file__).parent / "configs"
STAGES = {"prior": "prior-64-projected.toml", "finetune": "default-256.toml"}


@dataclass(frozen=True)
class Options:
    """Measure the speed of training: images per second of both stages, eager and compiled, and the shares of a step."""

    stages: tuple[Literal["prior", "finetune"], ...] = ("prior", "finetune")  # stages to measure
    rounds: int = 7  # pairs of an eager and a compiled step per stage, at least 1
    feature_network: Annotated[str | None, arg(metavar="FILE")] = None  # SqueezeNet weights; None: GPEN_SQUEEZENET
    identity_model: Annotated[str | None, arg(metavar="FILE")] = None  # dlib's network; None: no identity loss


class Timer:
    """Seconds by part of a step."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time of a block to the part."""
        start = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - start

    def timed(self, name: str, function: Callable) -> Callable:
        """`function`, whose time is added to the part."""

        def run(*arguments, **named):
            with self.part(name):
                return function(*arguments, **named)

        return run


def make_trainer(stage: str, compiled: bool, options: Options) -> Finetune | Prior:
    """The trainer of a stage with the settings of its configuration."""
    kind = PriorConfig if stage == "prior" else FinetuneConfig
    config = read_run_config(CONFIGS / STAGES[stage], kind)
    changes = {"compile": compiled, "init": None, "frozen_images": 0}
    changes["projected"] = replace(config.projected, feature_network=options.feature_network, start_images=0)
    if stage == "prior":
        return Prior(replace(config, **changes), Distributed("cpu"))
    changes |= {"identity_model": options.identity_model, "init": "identity"}
    changes |= {} if options.identity_model else {"identity_weight": 0.0}
    return Finetune(replace(config, **changes), Distributed("cpu"))


def shares(trainer: Finetune | Prior, data: Faces, batch: object) -> dict[str, float]:
    """Forward passes of the network, the feature network and the heads, and the data, as shares of one eager step."""
    timer, size = Timer(), trainer.config.batch_size
    with timer.part("step"), mock.patch.object(trainer, "forward", timer.timed("network, forward", trainer.forward)):
        with mock.patch.object(SqueezeNet, "forward", timer.timed("feature network, forward", SqueezeNet.forward)):
            heads = timer.timed("heads, forward", ProjectedDiscriminator.forward)
            with mock.patch.object(ProjectedDiscriminator, "forward", heads):
                backward = timer.timed("all, backward", torch.Tensor.backward)
                with mock.patch.object(torch.Tensor, "backward", backward):
                    trainer.step(batch)
    with timer.part("data"):
        default_collate([data[k] for k in range(size)])
    whole = timer.seconds.pop("step") + timer.seconds["data"]
    return {name: seconds / whole for name, seconds in timer.seconds.items()}


def measure(stage: str, options: Options) -> None:
    """Print the figures of a stage."""
    trainers = {"eager": make_trainer(stage, False, options), "compiled": make_trainer(stage, True, options)}
    config = trainers["eager"].config
    with tempfile.TemporaryDirectory() as folder:
        faces = draw_faces(Path(folder), count=64, size=config.network.size)
        data = Faces(faces, config) if isinstance(config, PriorConfig) else FacePairs(faces, config)
        batch = default_collate([data[k] for k in range(config.batch_size)])
        seconds: dict[str, list[float]] = {name: [] for name in trainers}
        for name, trainer in trainers.items():
            start = time.perf_counter()
            trainer.step(batch)
            print(f"{stage}: first {name} step {time.perf_counter() - start:.1f} s", flush=True)
        for number in range(1, options.rounds + 1):
            for name, trainer in trainers.items():
                trainer.images_seen = number * config.batch_size  # not a step that measures gradient norms
                start = time.perf_counter()
                trainer.step(batch)
                seconds[name].append(time.perf_counter() - start)
        speeds = {name: config.batch_size / statistics.median(values) for name, values in seconds.items()}
        ratio = statistics.median(a / b for a, b in zip(seconds["eager"], seconds["compiled"], strict=True))
        print(f"{stage}: eager {speeds['eager']:.1f}, compiled {speeds['compiled']:.1f} images/s, ratio {ratio:.2f}")
        for name, share in shares(trainers["eager"], data, batch).items():
            print(f"{stage}: {name:26} {share:6.1%} of an eager step")


def main() -> int:
    """Run the benchmark; returns the exit status."""
    options = parse(Options, None, "python -m bench.training")

    def run() -> None:
        keep_freed()
        for stage in options.stages:
            measure(stage, options)

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
