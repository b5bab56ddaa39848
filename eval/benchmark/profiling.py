"""Cost of a method: wall time and peak memory."""

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
    """Wall time in seconds; peaks in MiB: "memory_mib" of the process, "cuda_mib" of tensors on the GPU."""

    seconds: float
    peaks: dict[str, float]


def measure(function: Callable[[], Any], device: str) -> tuple[Any, Cost]:
    """Call a function and measure it: (result, cost). A GPU is synchronised before and after."""
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
    peaks = {"memory_mib": peak_memory()} | ({"cuda_mib": torch.cuda.max_memory_allocated(device) / MIB} if cuda else {})
    return result, Cost(seconds, {name: mib for name, mib in peaks.items() if mib})


def process_memory(field: str, process: int | str = "self") -> float | None:
    """Memory of a process in MiB on Linux; None on other systems.

    field: VmRSS, the resident memory, or VmHWM, its peak.
    """
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:")), None)


def peak_memory() -> float | None:
    """Peak memory of the process in MiB since the last reset or its start.

    None if the system does not report it.
    """
    if mib := process_memory("VmHWM"):
        return mib
    try:
        import resource
    except ImportError:  # Windows
        return None
    maximum = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return maximum / MIB if sys.platform == "darwin" else maximum / 1024


def _reset_peak() -> None:
    """Reset the peak of the resident memory to its current value, if the system supports it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
