"""eval.benchmark.known_images and provenance: images that a method knows are marked, changed definitions refused."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import gpen
from eval.__main__ import main
from eval.benchmark.known_images import KnownImages, count_known_images, known_sentences
from eval.benchmark.run import run
from eval.benchmark.settings import RunSettings
from eval.data.faces import Faces
from eval.metrics import niqe
from eval.metrics.weights import MetricSettings
from eval.report.report import report
from eval.report.tables import KNOWN_MARK
from gpen.errors import GPENError
from gpen.training.data.fingerprints import CHOSEN_ON, TRAINED_ON, fingerprint, join_fingerprints, split_fingerprints

TINY = gpen.GPENConfig(size=64, narrow=0.03125, channel_multiplier=1, style_dim=16, mapping_layers=2)


@pytest.fixture
def weights(faces_folder, tmp_path):
    """A model that was chosen on three of the faces and on another image, and one without a record."""
    files = sorted(faces_folder.iterdir())[:3]
    gpen.save(gpen.GPEN(TINY), tmp_path / "chosen.safetensors", None, **{CHOSEN_ON: join_fingerprints(files, "0123456789abcdef")})
    gpen.save(gpen.GPEN(TINY), tmp_path / "other.safetensors")
    return tmp_path


@pytest.mark.slow
def test_values_on_the_images_of_the_choice_are_marked(faces_folder, weights):
    chosen, other = (f"gpen:{weights / name}.safetensors" for name in ("chosen", "other"))
    settings = RunSettings(str(faces_folder), str(weights / "run"), (chosen, other), ("fsr8",), ("psnr",), size=64)
    run(settings, MetricSettings(), quiet=True)
    assert json.loads((weights / "run" / "recipe.json").read_text())["chosen"] == {chosen: 3}
    entries = json.loads((weights / "run" / "summary.json").read_text())
    assert {entry["method"] for entry in entries if "chosen" in entry} == {chosen}
    text = report([weights / "run"])
    means, differences = text.split("| difference to")[0], text.split("| difference to")[1].split("| cost")[0]
    for table in (means, differences):
        rows = {line.split("|")[1].strip(): line for line in table.splitlines() if "gpen:" in line}
        assert KNOWN_MARK in rows["gpen:chosen"] and KNOWN_MARK not in rows["gpen:other"]
    assert "up to 3 of these images" in text and "1 comparison with bilinear" in text  # that of the other model

    run(replace(settings, methods=("bicubic",)), MetricSettings(), quiet=True)  # the record stays
    assert json.loads((weights / "run" / "recipe.json").read_text())["chosen"] == {chosen: 3}
    marked = replace(settings, out=str(weights / "base"), baseline=chosen)
    run(marked, MetricSettings(), quiet=True)
    assert "comparison" not in report([weights / "base"])  # the baseline was chosen on these images


def test_choice_on_other_images_is_not_marked(faces_folder, weights):
    faces = Faces.open(faces_folder, 64)
    found = count_known_images({"a": [weights / "chosen.safetensors"], "b": [weights / "other.safetensors"]}, faces)
    assert found == KnownImages({}, {"a": 3})
    assert count_known_images({"a": [weights / "chosen.safetensors"]}, Faces.open("samples", 64)) == KnownImages({}, {})


def test_run_names_the_methods_that_were_trained_on_its_images(faces_folder, tmp_path, capsys):
    files = sorted(faces_folder.iterdir())
    notes = {TRAINED_ON: join_fingerprints(files[1:6]), CHOSEN_ON: join_fingerprints(files[:2])}
    gpen.save(gpen.GPEN(TINY), tmp_path / "own.safetensors", None, **notes)
    command = ["run", "fsr", "--data", str(faces_folder), "--size", "64", "--metrics", "psnr", "--out", str(tmp_path / "run")]
    assert main([*command, "--methods", f"own=gpen:{tmp_path / 'own.safetensors'}"]) == 0
    printed = capsys.readouterr()
    name = f"own=gpen:{tmp_path / 'own.safetensors'}"
    sentence = f"{name} was trained on 5 and chosen on 2 of these 7 images: its values are no test results"
    assert printed.err.count(sentence) == 1
    assert f"{KNOWN_MARK} No test result: the method, the metric or the baseline was trained on up to 5" in printed.out
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["trained"] == {name: 5}
    rows = [line for line in printed.out.splitlines() if KNOWN_MARK in line and line.startswith("|")]
    assert rows and all("own" in row for row in rows)


def test_sentences_name_what_a_method_knows():
    sentences = known_sentences(KnownImages({"a": 3}, {"fid": 1_000}), 1_000)
    assert [sentence.partition(":")[0] for sentence in sentences] == [
        "a was trained on 3 of these 1,000 images", "fid was chosen on 1,000 of these 1,000 images",
    ]  # fmt: skip


def test_pristine_model_of_the_measured_faces_is_marked(faces_folder, tmp_path):
    model = niqe.read_model(MetricSettings().niqe_faces)
    niqe.save_model(model, tmp_path / "own.npz", "a test", sorted(faces_folder.iterdir()))
    settings = RunSettings(str(faces_folder), str(tmp_path / "run"), ("bilinear",), ("fsr8",), ("psnr", "niqe_fitted"), size=64)
    run(settings, MetricSettings(niqe_faces=str(tmp_path / "own.npz")), quiet=True)
    entries = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert {entry["metric"] for entry in entries if entry.get("chosen") == 7} == {"niqe_fitted"}


def test_fit_niqe_stores_the_fingerprints(tmp_path, capsys):
    folder = tmp_path / "faces"
    folder.mkdir()
    source = Faces.open("samples", 256)
    for i, name in enumerate(source.names * 6):
        shutil.copy(source.files[name], folder / f"{i}.png")
    assert main(["fit-niqe", "--data", str(folder), "--out", str(tmp_path / "own.npz")]) == 0
    with np.load(tmp_path / "own.npz") as archive:
        assert split_fingerprints(str(archive[CHOSEN_ON])) == {fingerprint(path) for path in source.files.values()}


def test_run_with_another_definition_of_a_metric_is_an_error(faces_folder, tmp_path):
    settings = RunSettings(str(faces_folder), str(tmp_path), ("bilinear",), ("fsr8",), ("ssim",), size=64, limit=2)
    run(settings, MetricSettings(), quiet=True)
    path = tmp_path / "recipe.json"
    recipe = json.loads(path.read_text())
    recipe["metrics"]["ssim"]["library"] = "scikit-image, 7 px uniform window"
    path.write_text(json.dumps(recipe))
    with pytest.raises(GPENError, match=r"measured with another ssim \(scikit-image, 7 px uniform window, now"):
        run(settings, MetricSettings(), quiet=True)
