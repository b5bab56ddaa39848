"""Speed of training: images per second of both stages, eager and compiled, and the share of a step spent in each part.

    python -m bench.training --feature-network squeezenet1_1.pth          a few minutes on two cores, with cold compilation
    python -m bench.training --stages finetune --modes eager --rounds 3   one stage without compilation

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
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, get_args
from unittest import mock

import torch
from torch.utils.data import default_collate
from tyro.conf import arg

import gpen.training.finetune
from gpen.cli.parsing import parse
from gpen.errors import GPENError, exit_status
from gpen.training.adversarial.projected import ProjectedDiscriminator
from gpen.training.config import FinetuneConfig, PriorConfig, RunConfig, read_run_config
from gpen.training.data.dataset import FacePairs, Faces
from gpen.training.finetune import Finetune
from gpen.training.losses.squeezenet import SqueezeNet
from gpen.training.prior import Prior
from gpen.training.runtime.memory import keep_freed
from gpen.training.runtime.parallel import Distributed
from gpen.training.smoke import draw_faces

CONFIGS = Path(gpen.training.finetune.__file__).parent / "configs"
IMAGES = 64  # number of synthetic faces

StageName = Literal["prior", "finetune"]
Mode = Literal["eager", "compiled"]
Config = TypeVar("Config", bound=RunConfig)
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Options:
    """Measure the speed of training: images per second of both stages, eager and compiled, and the shares of a step."""

    stages: tuple[StageName, ...] = get_args(StageName)  # stages to measure
    modes: tuple[Mode, ...] = get_args(Mode)  # kinds of steps to measure; the ratio needs both, the shares need eager
    rounds: int = 7  # steps of each kind per stage, at least 1
    batch_size: int | None = None  # images per step, at least 2; None: that of the configuration
    feature_network: Annotated[str | None, arg(metavar="FILE")] = None  # SqueezeNet weights; None: GPEN_SQUEEZENET
    identity_model: Annotated[str | None, arg(metavar="FILE")] = None  # dlib's network; None: no identity loss

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise GPENError(f"rounds is at least 1; got {self.rounds}.")
        if self.batch_size is not None and self.batch_size < 2:
            raise GPENError(f"batch_size is at least 2, as stage 1 reconstructs half of a batch; got {self.batch_size}.")


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

    def timed(self, name: str, function: Callable[P, R]) -> Callable[P, R]:
        """`function`, whose time is added to the part."""

        def run(*arguments: P.args, **named: P.kwargs) -> R:
            with self.part(name):
                return function(*arguments, **named)

        return run


@dataclass(frozen=True)
class Stage:
    """A trainer with one batch."""

    trainer: Finetune | Prior
    step: Callable[[], object]  # train on the batch
    read: Callable[[], object]  # read and degrade the images of a batch


def make_stage(stage: StageName, mode: Mode, options: Options, folder: Path) -> Stage:
    """The trainer of a stage with the settings of its configuration, and a batch of synthetic faces, written to `folder`."""
    if stage == "prior":
        prior_config = _changed(read_run_config(CONFIGS / "prior-64-projected.toml", PriorConfig), mode, options)
        faces = Faces(draw_faces(folder, IMAGES, prior_config.network.size), prior_config)
        prior = Prior(replace(prior_config, init=None), Distributed("cpu"))
        read_faces = partial(_batch, faces, prior_config.batch_size)
        return Stage(prior, partial(prior.step, read_faces()), read_faces)
    config = _changed(read_run_config(CONFIGS / "default-256.toml", FinetuneConfig), mode, options)
    pairs = FacePairs(draw_faces(folder, IMAGES, config.network.size), config)
    weight = config.identity_weight if options.identity_model else 0.0
    config = replace(config, init="identity", identity_model=options.identity_model, identity_weight=weight)
    trainer = Finetune(config, Distributed("cpu"))
    read = partial(_batch, pairs, config.batch_size)
    return Stage(trainer, partial(trainer.step, read()), read)


def _changed(config: Config, mode: Mode, options: Options) -> Config:
    """The settings with all losses from the first step on."""
    projected = replace(config.projected, feature_network=options.feature_network, start_images=0)
    size = options.batch_size or config.batch_size
    return replace(config, compile=mode == "compiled", frozen_images=0, batch_size=size, projected=projected)


def _batch(data: Faces, size: int) -> Any:
    """The first images of the dataset: a tensor [size, ...] for faces, a list of two for pairs."""
    return default_collate([data[k] for k in range(size)])


def shares(stage: Stage) -> dict[str, float]:
    """Forward passes of the network, the feature network and the heads, and the data, as shares of one eager step."""
    timer, trainer = Timer(), stage.trainer
    with timer.part("step"), mock.patch.object(trainer, "forward", timer.timed("network, forward", trainer.forward)):
        with mock.patch.object(SqueezeNet, "forward", timer.timed("feature network, forward", SqueezeNet.forward)):
            heads = timer.timed("heads, forward", ProjectedDiscriminator.forward)
            with mock.patch.object(ProjectedDiscriminator, "forward", heads):
                backward = timer.timed("all, backward", torch.Tensor.backward)
                with mock.patch.object(torch.Tensor, "backward", backward):
                    stage.step()
    with timer.part("data"):
        stage.read()
    whole = timer.seconds.pop("step") + timer.seconds["data"]
    return {name: seconds / whole for name, seconds in timer.seconds.items()}


def measure(name: StageName, options: Options) -> None:
    """Print the figures of a stage."""
    with tempfile.TemporaryDirectory() as folder:
        stages = {mode: make_stage(name, mode, options, Path(folder)) for mode in options.modes}
        seconds: dict[Mode, list[float]] = {mode: [] for mode in stages}
        for mode, stage in stages.items():
            print(f"{name}: first {mode} step {_seconds(stage.step):.1f} s", flush=True)
        for number in range(1, options.rounds + 1):
            for mode, stage in stages.items():
                batch_size = stage.trainer.config.batch_size
                stage.trainer.images_seen = number * batch_size  # not a step that measures gradient norms
                seconds[mode].append(_seconds(stage.step))
        for mode, values in seconds.items():
            print(f"{name}: {mode} {batch_size / statistics.median(values):.1f} images/s")
        if "eager" in seconds and "compiled" in seconds:
            pairs = zip(seconds["eager"], seconds["compiled"], strict=True)
            print(f"{name}: ratio {statistics.median(eager / compiled for eager, compiled in pairs):.2f}")
        if "eager" in stages:
            for part, share in shares(stages["eager"]).items():
                print(f"{name}: {part:26} {share:6.1%} of an eager step")


def _seconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def run(options: Options) -> None:
    """Run the benchmark."""
    keep_freed()
    for stage in options.stages:
        measure(stage, options)


def main(argv: list[str] | None = None) -> int:
    return exit_status(lambda: run(parse(Options, argv, "python -m bench.training")))


if __name__ == "__main__":
    sys.exit(main())
