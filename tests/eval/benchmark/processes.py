"""Runs in processes of their own: growth of their memory, and a method at which a run waits to be killed."""

import json
import os
import subprocess
import sys

import cv2
import numpy as np

from tests import ROOT

SIDE = 256  # px, of the images
FEW, MANY = 8, 48  # images of the two runs
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

# A bicubic method that restores `stop` batches and then waits to be killed; 0: it does not wait.
WAITING = """
import itertools, sys, threading
from eval.benchmark.run import run
from eval.benchmark.settings import RunSettings
from eval.methods.registry import METHODS, Method
from eval.metrics.weights import MetricSettings
def wait_after(stop):
    bicubic, number = METHODS["bicubic"], itertools.count(1)
    def waiting(argument, device):
        method = bicubic(argument, device)
        def restore(samples, size):
            if stop and next(number) > stop:
                threading.Event().wait()
            return method.restore(samples, size)
        return Method(restore)
    METHODS["bicubic"] = waiting
"""

GROWTH = """
import json, resource, sys
from dataclasses import replace
from eval.benchmark.run import run
from eval.benchmark.settings import RunSettings
from eval.metrics.weights import MetricSettings
def peak(settings):
    settings = RunSettings(methods=("bicubic",), metrics=("psnr",), size={side}, batch=4, **settings)
    run(replace(settings, tasks=tuple(settings.tasks)), MetricSettings(), quiet=True)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
few, many = json.loads(sys.argv[1])
before = peak(few)
print(peak(many) - before)
"""


def write_noise(folder, count):
    """Write smooth noise images of SIDE x SIDE px; returns the folder."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        cv2.imwrite(str(folder / f"{i}.jpg"), cv2.resize(rng.integers(0, 256, (8, 8, 3), np.uint8), (SIDE, SIDE)))
    return folder


def assert_constant_memory(few, many):
    """Assert that a run of MANY images needs little more memory than one of FEW; both are arguments of RunSettings."""
    done = subprocess.run(
        [sys.executable, "-c", GROWTH.format(side=SIDE), json.dumps([few, many])],
        capture_output=True,
        text=True,
        timeout=250,
        check=True,
        env=ENVIRONMENT,
    )
    images_mib = (MANY - FEW) * 3 * SIDE * SIDE * 3 / 2**20  # MiB of results, ground truth and inputs of the further images
    assert float(done.stdout) < images_mib / 2
