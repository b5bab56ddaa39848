"""The sample study in assets/study: real faces, methods that differ, and few bytes."""

import itertools
from collections import defaultdict

import numpy as np

from eval.preference.sample import METHODS, SEEDS, SIZE, TASKS
from eval.preference.storage.votes import face_of
from eval.preference.study import BETTER, Study
from gpen.faces.samples import SAMPLES
from gpen.images import read_image
from gpen.models.checkpoints import ASSETS

MAX_BYTES = 4_000_000
STUDY = Study.open(ASSETS / "study")


def test_items_are_the_sample_faces():
    assert STUDY.methods == tuple(METHODS) and len(STUDY.items) == len(SAMPLES) * len(TASKS) * len(SEEDS)
    assert {face_of(item.id) for item in STUDY.items} == set(SAMPLES)
    assert sum(path.stat().st_size for path in STUDY.folder.rglob("*.*")) < MAX_BYTES


def test_methods_differ_visibly():
    differences = defaultdict(list)
    for item in STUDY.items:
        images = {name: read_image(STUDY.image(path)).astype(float) for name, path in item.results.items()}
        assert all(image.shape == (SIZE, SIZE, 3) for image in images.values())
        for first, second in itertools.combinations(images, 2):
            differences[first, second].append(np.abs(images[first] - images[second]).mean())
    assert min(map(np.mean, differences.values())) > 1  # levels, 0-255; a light degradation leaves some methods nothing to do


def test_gold_trials_show_the_sample_faces():
    truths = [face.load(SIZE) for face in SAMPLES.values()]
    for gold in (*STUDY.golds, *STUDY.training):
        better = read_image(STUDY.image(gold.results[BETTER]))
        assert min(np.abs(better.astype(int) - truth).max() for truth in truths) == 0
