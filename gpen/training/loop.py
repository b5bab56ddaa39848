"""Training loop of both stages: steps on batches, and at intervals log records, image grids, validation and checkpoints."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import default_collate
from tqdm import tqdm

from gpen.errors import GPENError
from gpen.training.config import RunConfig
from gpen.training.data.dataset import Faces, batches, one_sentence_errors
from gpen.training.data.fingerprints import Notes, join_notes
from gpen.training.monitoring.run_folder import TrainingRun
from gpen.training.runtime.memory import keep_freed
from gpen.training.runtime.parallel import Distributed

LOG_INTERVAL = 400  # images
PREVIEW = range(2**40, 2**40 + 8)  # numbers of items that no step uses


class Trainer(Protocol):
    """Interface of a stage: networks, optimizers, and one step."""

    group: Distributed
    images_seen: int  # over all processes
    notes: Notes  # metadata of the weights: fingerprints of the images that they have seen

    @property
    def config(self) -> RunConfig: ...
    @property
    def net(self) -> nn.Module: ...
    def step(self, batch: Any, /) -> dict[str, Tensor]: ...  # the losses of this process's share of a batch
    def preview(self, batch: Any, /) -> list[Tensor]: ...  # rows of images [n, 3, size, size]
    def validate(self) -> tuple[dict[str, float], dict[str, list[Tensor]]]: ...  # scores, and grids by name; empty without data
    def state(self) -> dict: ...
    def load_state(self, state: dict, /) -> None: ...
    def export(self, folder: Path, /) -> Path: ...  # write the averaged network; returns its file


def train(trainer: Trainer, dataset: Faces, out: str | Path, resume: bool = False) -> Path:
    """Run to the end of the settings; returns the file of the averaged network. Raises GPENError for what a user can correct."""
    config, group = trainer.config, trainer.group
    run = TrainingRun(out, resume, writes=group.rank == 0)
    if group.device.type == "cpu":
        keep_freed()
    state = run.load() or {}
    if state:
        _restore(trainer, state)
    trainer.notes = join_notes(trainer.notes, dataset.notes, state.get("notes", {}))  # a resumed run may have another folder
    loader = batches(dataset, config, trainer.images_seen, group.rank, group.processes)
    with one_sentence_errors():
        preview = default_collate([dataset[i] for i in PREVIEW])
    progress = _Progress(trainer, run)
    quiet = group.rank > 0 or not sys.stderr.isatty()
    total = config.total_images
    with (
        tqdm(total=total, initial=trainer.images_seen, unit="img", disable=quiet, dynamic_ncols=True) as bar,
        one_sentence_errors(),
    ):
        for batch in loader:
            progress.add(trainer.step(batch))
            trainer.images_seen += config.batch_size
            bar.update(config.batch_size)
            last = trainer.images_seen + config.batch_size > total
            saves = last or _passed(trainer, config.save_interval)
            if saves or _passed(trainer, LOG_INTERVAL):
                bar.set_postfix({name: f"{value:.3f}" for name, value in progress.log().items()})
            if last or _passed(trainer, config.grid_interval):
                run.grid(f"{trainer.images_seen:08d}", trainer.preview(preview))
            if last or _passed(trainer, config.validation.interval):
                progress.validate()
            if saves:
                progress.save()
    group.wait()
    if progress.exported is None:
        raise GPENError(f"{out} is at image {trainer.images_seen} of {total}: raise total_images in the settings to continue.")
    return progress.exported


class _Progress:
    """What the loop writes down about a run: means of losses, validation scores, checkpoints."""

    def __init__(self, trainer: Trainer, run: TrainingRun):
        self.trainer, self.run = trainer, run
        self.exported: Path | None = None
        self._restart()

    def _restart(self) -> None:
        self.losses: defaultdict[str, list[Tensor]] = defaultdict(list)
        self.since, self.began = self.trainer.images_seen, time.time()

    def add(self, losses: dict[str, Tensor]) -> None:
        """Keep the losses of a step."""
        for name, value in losses.items():
            self.losses[name].append(value)

    def log(self) -> dict[str, float]:
        """Write the mean losses since the last record, and the images per second."""
        seen = self.trainer.images_seen
        means = _means(self.losses, seen, self.trainer.group)
        speed = (seen - self.since) / (time.time() - self.began)
        self.run.log(images_seen=seen, images_per_second=speed, **means)
        self._restart()
        return means

    def validate(self) -> None:
        """Write the scores on the validation set, and its grids."""
        start = time.time()
        scores, grids = self.trainer.validate()
        if scores:
            self.run.log(images_seen=self.trainer.images_seen, **scores)
        for name, rows in grids.items():
            self.run.grid(f"{name}-{self.trainer.images_seen:08d}", rows)
        self.began += time.time() - start  # the speed is that of training alone

    def save(self) -> None:
        """Write checkpoint, averaged network and curves."""
        trainer = self.trainer
        _check_weights(trainer)
        settings = dataclasses.asdict(trainer.config)
        counts = {"images_seen": trainer.images_seen, "processes": trainer.group.processes}
        state = {"settings": settings, "notes": trainer.notes} | counts
        self.run.save(trainer.state() | state)
        self.exported = self.run.export(trainer.export)
        self.run.plot()


def _restore(trainer: Trainer, state: dict) -> None:
    try:
        trainer.load_state(state)
    except (RuntimeError, ValueError, KeyError):
        raise GPENError(
            "The checkpoint belongs to another network or stage than the settings: resume with the settings of the run."
        ) from None
    trainer.images_seen = state["images_seen"]


def _means(losses: dict[str, list[Tensor]], images_seen: int, group: Distributed) -> dict[str, float]:
    """Mean of each loss over steps and processes. Raises GPENError where one is not finite."""
    means = {name: group.mean(torch.stack(values).float().mean()).item() for name, values in losses.items()}
    if broken := [name for name, value in means.items() if not math.isfinite(value)]:
        raise GPENError(
            f"Training stopped at image {images_seen}: the loss {broken[0]} is not finite. The last checkpoint is intact: "
            "resume with lower learning rates or in float32."
        )
    return means


def _check_weights(trainer: Trainer) -> None:
    if not all(p.isfinite().all() for p in trainer.net.parameters()):
        raise GPENError(
            f"Training stopped at image {trainer.images_seen}: a weight is not finite. The last checkpoint is intact: "
            "resume with lower learning rates or in float32."
        )


def _passed(trainer: Trainer, interval: int) -> bool:
    """Whether the last step passed a multiple of `interval` images."""
    return trainer.images_seen // interval != (trainer.images_seen - trainer.config.batch_size) // interval


@torch.no_grad()
def ema_update(ema: nn.Module, net: nn.Module, batch_size: int, images_seen: int, half_life: int) -> None:
    """Move the averaged weights towards the network's; `half_life` in images, at most half of the images seen so far."""
    keep = 0.5 ** (batch_size / min(half_life, max(1, (images_seen + batch_size) / 2)))
    torch._foreach_lerp_(list(ema.parameters()), list(net.parameters()), 1 - keep)
    for kept, buffer in zip(ema.buffers(), net.buffers(), strict=True):
        kept.copy_(buffer)
