"""The loop of both stages: batches in, steps, then now and then a line of log, a grid of samples, a checkpoint."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate
from tqdm import tqdm

from ..errors import GPENError
from .config import RunConfig
from .data import batches
from .memory import keep_freed
from .parallel import Group
from .run import Run

LOG_EVERY = 400  # images
PREVIEW = range(2**40, 2**40 + 6)  # numbers of items that no step uses


class Trainer(Protocol):
    """What a stage is: networks, optimizers, and one step."""

    group: Group
    shown: int  # images so far, over all processes

    @property
    def config(self) -> RunConfig: ...
    @property
    def net(self) -> nn.Module: ...
    def step(self, batch, /) -> dict[str, Tensor]: ...  # the losses of this process's share of a batch
    def preview(self, batch, /) -> list[Tensor]: ...  # rows of images [n, 3, size, size]
    def state(self) -> dict: ...
    def load_state(self, state: dict, /) -> None: ...
    def export(self, folder: Path, /) -> Path: ...  # write the averaged network; returns its file


def train(trainer: Trainer, dataset: Dataset, out: str | Path, resume: bool = False) -> Path:
    """Run to the end of the settings; returns the file of the averaged network. Raises GPENError where a user can mend it."""
    config, group = trainer.config, trainer.group
    run = Run(out, resume, writes=group.rank == 0)
    if group.device.type == "cpu":
        keep_freed()
    if state := run.load():
        _restore(trainer, state)
    loader = batches(dataset, config, trainer.shown, group.rank, group.processes)
    preview = default_collate([dataset[i] for i in PREVIEW])
    sums, since, began, exported = defaultdict(list), trainer.shown, time.time(), None
    quiet = group.rank > 0 or not sys.stderr.isatty()
    with tqdm(total=config.images, initial=trainer.shown, unit="img", disable=quiet, dynamic_ncols=True) as bar:
        for batch in loader:
            losses = trainer.step(batch)
            trainer.shown += config.batch
            for name, value in losses.items():
                sums[name].append(value)
            bar.update(config.batch)
            last = trainer.shown + config.batch > config.images
            saves = last or _passed(trainer.shown, config.save_every, config.batch)
            if saves or _passed(trainer.shown, LOG_EVERY, config.batch):
                means = _means(sums, trainer.shown, group)
                bar.set_postfix({name: f"{value:.3f}" for name, value in means.items()})
                run.log(shown=trainer.shown, rate=(trainer.shown - since) / (time.time() - began), **means)
                sums, since, began = defaultdict(list), trainer.shown, time.time()
            if last or _passed(trainer.shown, config.grid_every, config.batch):
                run.grid(f"{trainer.shown:08d}", trainer.preview(preview))
            if saves:
                _check_weights(trainer)
                progress = {"shown": trainer.shown, "processes": group.processes, "settings": dataclasses.asdict(config)}
                run.save(trainer.state() | progress)
                exported = run.export(trainer.export)
                run.plot()
    group.wait()
    if exported is None:
        raise GPENError(f"{out} is at image {trainer.shown} of {config.images}: raise images in the settings to go on.")
    return exported


def _restore(trainer: Trainer, state: dict) -> None:
    try:
        trainer.load_state(state)
    except (RuntimeError, ValueError, KeyError):
        raise GPENError("The checkpoint is of another network or stage than the settings': resume with its own.") from None
    trainer.shown = state["shown"]


def _means(sums: dict[str, list[Tensor]], shown: int, group: Group) -> dict[str, float]:
    """The mean of each loss since the last look, over all processes. Raises GPENError where one is no finite number."""
    means = {name: group.mean(torch.stack(values).float().mean()).item() for name, values in sums.items()}
    if broken := [name for name, value in means.items() if not math.isfinite(value)]:
        raise GPENError(
            f"Training stopped at image {shown}: {broken[0]} is no longer a finite number; the last checkpoint stands. "
            "Resume with lower learning rates or in float32."
        )
    return means


def _check_weights(trainer: Trainer) -> None:
    if not all(p.isfinite().all() for p in trainer.net.parameters()):
        raise GPENError(f"Training stopped at image {trainer.shown}: a weight is no finite number; the last checkpoint stands.")


def _passed(shown: int, every: int, batch: int) -> bool:
    """Whether the step that ended at `shown` passed a multiple of `every`."""
    return shown // every != (shown - batch) // every


@torch.no_grad()
def follow(mean: nn.Module, net: nn.Module, batch: int, shown: int, half_life: int) -> None:
    """Move the averaged weights towards the network's. Early on the average follows fast: half of what was shown so far."""
    keep = 0.5 ** (batch / min(half_life, max(1, (shown + batch) / 2)))
    for average, value in zip(mean.parameters(), net.parameters(), strict=True):
        average.lerp_(value, 1 - keep)
    for kept, buffer in zip(mean.buffers(), net.buffers(), strict=True):
        kept.copy_(buffer)
