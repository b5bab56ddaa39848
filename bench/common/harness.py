"""Common parts of the benchmarks: clock, description of the machine, free port, and files of results."""

from __future__ import annotations

import dataclasses
import json
import platform
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gpen.images import write_atomically

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results"
PORTS = (20_000, 32_000)  # below the range of outgoing connections

Clock = Callable[[], float]  # seconds


def set_clock(cpu_time: bool, threads: int | None = None) -> Clock:
    """Set the number of threads of PyTorch and return the clock of the benchmark.

    cpu_time: one thread, and the CPU time of the process; otherwise the wall time. threads: None: chosen by PyTorch.
    """
    if cpu_time:
        threads = 1
    if threads is not None:
        torch.set_num_threads(threads)
    return time.process_time if cpu_time else time.perf_counter


def machine(cpu_time: bool) -> dict[str, str | int]:
    """Describe the processor, the number of threads, the version of PyTorch and the clock."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")] or [platform.processor()]
    clock = "cpu" if cpu_time else "wall"
    return {"processor": names[0], "threads": torch.get_num_threads(), "torch": torch.__version__, "clock": clock}


def free_port() -> int:
    """Return a free port below the range of outgoing connections.

    A client that polls a port inside that range can connect to itself and block the port for the server.
    """
    while True:
        port = random.SystemRandom().randrange(*PORTS)  # processes with the same seed choose different ports
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def write_results(path: Path, content: object) -> None:
    """Write results as JSON; dataclasses become objects without the fields that are None."""
    write_atomically(path, (json.dumps(content, indent=1, default=_without_none) + "\n").encode())


def _without_none(row: Any) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(row).items() if value is not None}
