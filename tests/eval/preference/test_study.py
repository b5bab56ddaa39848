"""Studies from runs and folders: content, errors, and information hidden from raters."""

import json
from collections import Counter

import pytest

from eval.__main__ import main
from eval.preference.analysis.quality import golds_needed
from eval.preference.build import StudySettings, build, effective_blur, from_folders, from_run
from eval.preference.golds import golds_per_session
from eval.preference.study import Study
from gpen.errors import GPENError
from gpen.images import encode, read_image, write_atomically
from tests import ROOT
from tests.eval.preference.simulated import METHODS, noise_image, write_folders


def test_study_from_folders_keeps_the_pixels(studies, folders):
    study = studies()
    assert (study.methods, study.answers, study.session) == (METHODS, 18, 30) and len(study.items) == 5
    for item in study.items:
        for method, path in item.results.items():
            assert (read_image(study.image(path)) == read_image(folders["results"][method] / f"{item.id}.png")).all()
        given = read_image(folders["inputs"] / f"{item.id}.png")
        assert (read_image(study.image(item.input)) == given.repeat(4, 0).repeat(4, 1)).all()  # each pixel a square


@pytest.mark.slow
def test_study_from_a_run_has_levels_and_degradations(tmp_path, capsys):
    faces, run_folder = tmp_path / "faces", tmp_path / "run"
    for i in range(6):
        write_atomically(faces / f"f{i}.png", encode(noise_image(i, (64, 64))))
    common = ["--data", str(faces), "--out", str(run_folder), "--methods", "bilinear,bicubic", "--size", "64", "--keep"]
    for family in ("fsr", "bfr"):
        assert main(["run", family, *common, "--metrics", "psnr"]) == 0
    assert main(["study", "build", str(run_folder), "--out", str(tmp_path / "study"), "--answers", "4", "--session", "5"]) == 0
    printed = capsys.readouterr().out
    study = Study.open(tmp_path / "study")
    assert "12 items, bilinear, bicubic; 4 answers per item" in printed
    assert f"Link for raters: ADDRESS/rate?study={study.name} with" in printed and study.name.startswith("study-")
    assert Counter(study.levels.values()) == {"fsr8 (bicubic, antialiased)": 6, "bfr mild": 2, "bfr medium": 2, "bfr severe": 2}
    by_level = {
        level: [effective_blur(item.degradation) for item in study.items if item.level == f"bfr {level}"]
        for level in ("mild", "medium", "severe")
    }
    assert max(by_level["mild"]) < min(by_level["medium"]) < max(by_level["medium"]) < min(by_level["severe"])
    assert study.items[-1].id == "fsr8/f5" and study.items[-1].degradation["scale"] == 8

    params = run_folder / "lq" / "bfr" / "params.json"  # as for wild, without degradations
    content = json.loads(params.read_text())
    for entry in content["images"].values():
        entry["degradation"] = None
    params.write_text(json.dumps(content))
    assert {source.level for source in from_run(run_folder, ("bfr",))} == {"bfr"}


def test_study_from_folders_reads_the_degradations_of_a_run(tmp_path):
    folders = write_folders(tmp_path, items=2)
    assert from_folders(**folders)[0].degradation is None
    images = {"face0": {"degradation": {"scale": 4.0}}, "other": {"degradation": {"scale": 2.0}}}
    (folders["inputs"] / "params.json").write_text(json.dumps({"images": images}))
    study = build(from_folders(**folders), tmp_path / "study", StudySettings())
    assert study.degradations == {"face0": {"scale": 4.0}}


def test_run_without_images(tmp_path, capsys):
    assert main(["study", "build", str(tmp_path), "--out", str(tmp_path / "study")]) == 2
    assert "has no restored images; create it with python -m eval run ... --keep" in capsys.readouterr().err


def changed(tmp_path, change):
    """Arguments of the command for new folders after `change(root)`."""
    folders = write_folders(tmp_path / "in", items=2, methods=("a", "b"))
    change(tmp_path / "in")
    results = [f"{name}={folder}" for name, folder in folders["results"].items()]
    return ["study", "build", "--results", *results, "--inputs", str(folders["inputs"]), "--truth", str(folders["truth"]),
            "--out", str(tmp_path / "study")]  # fmt: skip


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda root: (root / "b" / "face1.png").unlink(), "b has no image named 'face1', but "),
        (lambda root: (root / "b" / "face1.png").rename(root / "b" / "face2.png"), "b has no image named 'face1', but "),
        (lambda root: write_atomically(root / "b" / "face1.png", encode(noise_image(1, (32, 40)))), "has 40 x 32 px, but "),
        (
            lambda root: write_atomically(root / "inputs" / "face0.png", encode(noise_image(1, (8, 16)))),
            "not the aspect ratio of the results",
        ),
        (lambda root: write_atomically(root / "b" / "face1.png", b"not an image"), "cannot be read as an image"),
    ],
)
def test_invalid_images(change, message, tmp_path, capsys):
    assert main(changed(tmp_path, change)) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and error.startswith("error: ") and "\n" not in error
    assert not (tmp_path / "study" / "study.json").exists()


@pytest.mark.parametrize(
    "more, message",
    [
        (["--protocol", "pairs"], "Unknown protocol 'pairs'; choose from pairwise, rating, ranking"),
        (["--repeats", "0.9"], "--repeats 0.9 is out of range"),
        (["--gold-every", "-1"], "--gold-every -1 is out of range; choose 0 or more"),
        (["--limit", "0"], "--limit 0 selects no image"),
        (["--results", "a"], "--results needs NAME=DIR"),
    ],
)
def test_invalid_settings(more, message, tmp_path, capsys):
    assert main(changed(tmp_path, lambda root: None) + more) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error


def test_existing_and_incomplete_studies(tmp_path, capsys):
    command = changed(tmp_path, lambda root: None)
    assert main(command) == 0 and main(command) == 2
    assert "already contains a study" in capsys.readouterr().err
    study = Study.open(tmp_path / "study")
    study.image(study.items[0].results["a"]).unlink()
    with pytest.raises(GPENError, match="image images/.* is missing"):
        Study.open(tmp_path / "study")
    (tmp_path / "study" / "study.json").write_text('{"format": 1}')
    with pytest.raises(GPENError, match="damaged"):
        Study.open(tmp_path / "study")
    with pytest.raises(GPENError, match="is not a study"):
        Study.open(tmp_path)


def test_ranking_of_too_many_methods(tmp_path):
    with pytest.raises(GPENError, match="at most 6"):
        build(from_folders(**write_folders(tmp_path / "in", 1, "abcdefg")), tmp_path / "study", StudySettings(protocol="ranking"))


def test_rating_has_a_hidden_reference(studies):
    study = studies(protocol="rating")
    assert study.reference == "ground-truth" and study.methods == (*METHODS, "ground-truth") and len(study.method_sets) == 5


def test_consent_version_depends_on_the_text(studies):
    assert studies(consent="Yes?").consent_version != studies().consent_version


def test_sample_study():
    folder = ROOT / "assets" / "study"
    study = Study.open(folder)
    assert {"bilinear", "gpen"} <= set(study.methods) and len(set(study.levels.values())) > 1
    assert golds_per_session(study) >= golds_needed() and len({gold.damage for gold in study.golds}) > 2
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")} == study.image_paths
