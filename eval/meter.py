"""What a method costs: seconds, and the most memory that it took."""

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

MIB = 2**20


@dataclass(frozen=True)
class Cost:
    """seconds of wall time; peaks in MiB: "memory_mib" of the whole process, "cuda_mib" of tensors on the GPU."""

    seconds: float
    peaks: dict[str, float]


def measure(function: Callable[[], Any], device: str) -> tuple[Any, Cost]:
    """(what the function returns, what it cost). A GPU is waited for before and after."""
    cuda = torch.device(device).type == "cuda"
    _reset_peak()
    if cuda:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    start = time.perf_counter()
    result = function()
    if cuda:
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - start
    peaks = {"memory_mib": peak()} | ({"cuda_mib": torch.cuda.max_memory_allocated(device) / MIB} if cuda else {})
    return result, Cost(seconds, {name: mib for name, mib in peaks.items() if mib})


def memory(field: str, process: int | str = "self") -> float | None:
    """MiB of a process as Linux counts them: VmRSS, what it holds in RAM, or VmHWM, the most it held; None elsewhere."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:")), None)


def peak() -> float | None:
    """MiB, the most that the process held since the last reset, or else since it began; None where the system does not say."""
    if held := memory("VmHWM"):
        return held
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / MIB if sys.platform == "darwin" else most / 1024


def _reset_peak() -> None:
    """Set the process's peak of resident memory to what it holds now, where the system offers that."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
