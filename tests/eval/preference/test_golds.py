"""Gold trials: kinds of damage, ground truth, number per session."""

import itertools

import numpy as np
import pytest

from eval.__main__ import main
from eval.metrics.pixel import psnr
from eval.preference.build import StudySettings, build, from_folders
from eval.preference.golds import DAMAGES, damaged, default_gold_every, describe_golds, golds_per_session
from eval.preference.study import BETTER, WORSE
from gpen.errors import GPENError
from gpen.faces.samples import SAMPLES
from gpen.images import read_image
from tests.eval.preference.simulated import write_folders


@pytest.mark.parametrize("size", [64, 176, 512])
def test_every_damage_is_visible_and_different(size):
    face = SAMPLES["astronaut"].load(size)
    images = {name: damaged(face, name) for name in DAMAGES}
    for name, image in images.items():
        assert image.shape == face.shape and psnr(image, face) < 27, name
        assert (damaged(face, name) == image).all()  # reproducible
    different = [np.abs(a.astype(float) - b).mean() for a, b in itertools.combinations(images.values(), 2)]
    assert min(different) > 3


@pytest.mark.slow
def test_gold_trials_differ_in_face_and_damage(studies, folders):
    study = studies(session=24, gold_every=2)
    kinds = [(gold.id.split(",")[0], gold.damage) for gold in (*study.golds, *study.training)]
    assert len(set(kinds)) == len(kinds) == 14 and {damage for _, damage in kinds} == set(DAMAGES)
    assert len({trial.id for trial in study.trials.values() if trial.kind == "gold"}) == 12
    for gold in study.golds:
        better, worse = (read_image(study.image(gold.results[name])) for name in (BETTER, WORSE))
        truth = read_image(folders["truth"] / f"{gold.id.split(',')[0]}.png")
        assert (better == truth).all() and not (worse == better).all()


def test_items_without_truth_cannot_be_gold(tmp_path, capsys):
    folders = write_folders(tmp_path / "in", items=2, methods=("a", "b"))
    sources = from_folders(folders["results"], folders["inputs"])
    message = "Gold and training trials need ground truths, and no item has one; give .*--gold-every 0 --training 0"
    for settings in (StudySettings(), StudySettings(training=0), StudySettings(gold_every=0)):
        with pytest.raises(GPENError, match=message):
            build(sources, tmp_path / "study", settings)
    assert not (tmp_path / "study").exists()
    study = build(sources, tmp_path / "study", StudySettings(gold_every=0, training=0))
    assert study.golds == study.training == () and golds_per_session(study) == 0

    with_truth = from_folders(**folders)
    mixed = [with_truth[0], *sources[1:]]
    study = build(mixed, tmp_path / "mixed", StudySettings(session=2, gold_every=1, training=0))
    assert {gold.id.split(",")[0] for gold in study.golds} == {"face0"}


@pytest.mark.parametrize("session, every, golds", [(40, 5, 8), (200, 25, 8), (30, 3, 10), (6, 3, 2)])
def test_default_number_of_gold_trials(session, every, golds):
    assert default_gold_every(session) == every and session // every == golds


@pytest.mark.slow
def test_build_command_states_the_power(studies, tmp_path, capsys):
    assert "8 gold trials per rater: a rater who answers at random passes with a probability of 3.5%." == describe_golds(
        studies(session=24)
    )
    weak = describe_golds(studies(session=24, gold_every=6))
    assert "passes with a probability of 6.2%; use 8 or more, with a longer --session or a smaller --gold-every." in weak
    folders = write_folders(tmp_path / "in", items=2, methods=("a", "b"))
    results = [f"{name}={folder}" for name, folder in folders["results"].items()]
    command = ["study", "build", "--results", *results, "--truth", str(folders["truth"]), "--out", str(tmp_path / "study")]
    assert main(command) == 0
    assert "gold trials per rater: a rater who answers at random passes with" in capsys.readouterr().out
