"""Fingerprints in weight files: of the training faces, of the files a run starts from, of earlier parts of a resumed run."""

import dataclasses
import shutil

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpen
from gpen.models.checkpoints import read_metadata
from gpen.training.config import FinetuneConfig, PriorConfig
from gpen.training.data.dataset import FacePairs, list_images
from gpen.training.data.fingerprints import CHOSEN_ON, TRAINED_ON, fingerprint, join_notes, split_fingerprints
from gpen.training.finetune import finetune
from gpen.training.prior import train_prior

SETTINGS = {
    "network": gpen.GPENConfig(size=16, narrow=0.0625, style_dim=16, mapping_layers=2),
    "total_images": 8, "batch_size": 4, "workers": 0, "save_interval": 4, "grid_interval": 8,
}  # fmt: skip
DIGITS = st.sets(st.sampled_from([f"{i:016x}" for i in range(6)]))


def trained_on(path):
    return split_fingerprints(read_metadata(path)[TRAINED_ON])


def fingerprints(folder):
    return set(map(fingerprint, list_images(folder)))


@pytest.mark.slow
def test_weights_store_the_training_faces_of_both_stages_and_of_a_resumed_run(faces, tmp_path):
    other, third = tmp_path / "other", tmp_path / "third"
    for k, folder in enumerate((other, third)):
        folder.mkdir()
        cv2.imwrite(str(folder / "a.png"), np.full((24, 24, 3), 60 * k + 60, np.uint8))
    prior = train_prior(faces, tmp_path / "prior", PriorConfig(**SETTINGS, path_length_weight=0.0))
    assert trained_on(prior) == fingerprints(faces) and len(fingerprints(faces)) == 6
    config = FinetuneConfig(**SETTINGS, init_prior=str(prior), adversarial_weight=0.0, feature_matching_weight=0.0)
    model = finetune(other, tmp_path / "gpen", config)
    assert trained_on(model) == fingerprints(faces) | fingerprints(other)
    longer = dataclasses.replace(config, total_images=12)
    assert trained_on(finetune(third, tmp_path / "gpen", longer, resume=True)) == set.union(
        *map(fingerprints, (faces, other, third))
    )


def test_equal_files_have_one_fingerprint(faces):
    shutil.copy(faces / "0.png", faces / "copy.png")
    notes = FacePairs(faces, FinetuneConfig(**SETTINGS)).notes
    assert len(notes[TRAINED_ON].split()) == 6


@given(DIGITS, DIGITS, DIGITS)
def test_notes_are_joined_as_sets(a, b, c):
    parts = [{TRAINED_ON: " ".join(a)}, {TRAINED_ON: " ".join(b), CHOSEN_ON: " ".join(c), "licence": "CC0"}, {}]
    joined = join_notes(*parts)
    assert {key: set(text.split()) for key, text in joined.items()} == {
        key: found for key, found in ((TRAINED_ON, a | b), (CHOSEN_ON, c)) if found
    }
    assert join_notes(*parts[::-1]) == joined == join_notes(joined, joined)
