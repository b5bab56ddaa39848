"""eval.data.paired and run paired: names, layouts of published test sets, and values equal to those of the libraries."""

import csv
import json
import unicodedata
import zipfile

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import astronaut
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import gpen
from eval.__main__ import main
from eval.data.paired import NAME, Pairs, _match
from gpen.errors import GPENError
from gpen.images import read_image

SIZE = 64


def face(i, size=SIZE):
    crop = astronaut()[12 * i : 12 * i + 192, 130 + 10 * i : 322 + 10 * i]
    return cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1])


@pytest.fixture(scope="module")
def celeba_test(tmp_path_factory):
    """As CelebA-Test: numbered files, inputs of another size with a suffix in their names."""
    folder = tmp_path_factory.mktemp("celeba-test")
    for i in range(5):
        write(folder / "hq" / f"{i:08d}.png", face(i))
        write(folder / "lq" / f"{i:08d}_00.jpg", face(i, 32))
    return folder


def paired(folder, *arguments, lq="lq", hq="hq"):
    return main(["run", "paired", "--lq", str(folder / lq), "--gt", str(folder / hq), "--match", "{name}_00", *arguments])


def test_values_equal_those_of_the_libraries(celeba_test, tmp_path):
    net = gpen.GPEN(gpen.GPENConfig(size=32, narrow=0.0625, channel_multiplier=1, style_dim=64, mapping_layers=2))
    gpen.save(net, tmp_path / "tiny.safetensors")
    out, results = tmp_path / "run", tmp_path / "results"
    for i in range(5):
        write(results / f"{i:08d}.png", face(i)[:, ::-1])
    methods = ["bicubic", f"gpen:{tmp_path / 'tiny.safetensors'}", f"folder:{results}"]
    assert paired(celeba_test, "--methods", ",".join(methods), "--metrics", "psnr,ssim", "--keep", "--out", str(out)) == 0
    with open(out / "per_image.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert {row["method"] for row in table} == {"bilinear", "ground-truth", *methods} and len(table) == 5 * 5
    for row in table:
        truth, given = read_image(celeba_test / "hq" / f"{row['image']}.png"), celeba_test / "lq" / f"{row['image']}_00.jpg"
        (kept,) = (out / "restored" / "paired").glob(f"{row['method'].partition(':')[0]}*/{row['image']}.png")
        image = read_image(kept)
        if row["method"] == "bilinear":
            np.testing.assert_array_equal(image, cv2.resize(read_image(given), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR))
        if row["method"].startswith("folder"):
            np.testing.assert_array_equal(image, truth[:, ::-1])
        with np.errstate(divide="ignore"):
            assert float(row["psnr"]) == peak_signal_noise_ratio(truth, image, data_range=255)
        windows = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        assert float(row["ssim"]) == structural_similarity(truth, image, channel_axis=2, data_range=255, **windows)
    recipe = json.loads((out / "recipe.json").read_text())
    assert recipe["settings"]["size"] == SIZE and recipe["tasks"]["paired"].startswith("given files")
    assert recipe["data"] == f"5 images of {celeba_test / 'hq'}; inputs: {celeba_test / 'lq'}, {{name}}_00"
    for i in range(5):
        given = read_image(celeba_test / "lq" / f"{i:08d}_00.jpg")
        np.testing.assert_array_equal(read_image(out / "lq" / "paired" / f"{i:08d}.png"), given)


def test_results_have_the_names_of_the_inputs_or_of_the_ground_truth(celeba_test, tmp_path):
    for i in range(5):
        write(tmp_path / "results" / f"{i:08d}{'_00' * (i % 2)}.png", face(i)[:, ::-1])
    out = tmp_path / "run"
    command = ["--methods", f"folder:{tmp_path / 'results'}", "--metrics", "psnr", "--keep", "--out", str(out)]
    assert paired(celeba_test, *command) == 0
    for i in range(5):
        (kept,) = (out / "restored" / "paired").glob(f"folder*/{i:08d}.png")
        np.testing.assert_array_equal(read_image(kept), face(i)[:, ::-1])


def test_smaller_size_reduces_ground_truth_and_inputs(tmp_path):
    write(tmp_path / "hq" / "a.png", face(0))
    write(tmp_path / "lq" / "a_00.png", face(1))
    out = tmp_path / "run"
    command = ["--size", "32", "--methods", "nearest", "--metrics", "psnr", "--out", str(out), "--keep"]
    assert paired(tmp_path, *command) == 0
    for name, i in (("ground-truth", 0), ("bilinear", 1)):
        reduced = cv2.resize(face(i), (32, 32), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(read_image(out / "restored" / "paired" / name / "a.png"), reduced)


def test_other_given_files_are_not_mixed_into_a_run(tmp_path, capsys):
    write(tmp_path / "hq" / "a.png", face(0))
    write(tmp_path / "lq" / "a_00.png", face(0, 32))
    write(tmp_path / "other" / "a_00.png", face(1, 32))
    command = ["--methods", "nearest", "--metrics", "psnr", "--out", str(tmp_path / "run")]
    assert paired(tmp_path, *command) == 0 and paired(tmp_path, *command) == 0
    capsys.readouterr()
    assert paired(tmp_path, *command, lq="other") == 2
    assert "was made from another file" in capsys.readouterr().err


def test_zip_files_and_folders_give_equal_runs(celeba_test, tmp_path):
    for side in ("lq", "hq"):
        with zipfile.ZipFile(tmp_path / f"{side}.zip", "w") as archive:
            for path in (celeba_test / side).iterdir():
                archive.write(path, f"any name/{path.name}")
    command = ["--methods", "nearest", "--metrics", "psnr", "--limit", "3"]
    assert paired(celeba_test, *command, "--out", str(tmp_path / "a")) == 0
    assert paired(tmp_path, *command, "--out", str(tmp_path / "b"), lq="lq.zip", hq="hq.zip") == 0
    a, b = (json.loads((tmp_path / run / "lq" / "paired" / "params.json").read_text())["images"] for run in "ab")
    hashes = ("sha256", "truth_sha256", "file_sha256")
    assert [[a[name][key] for key in hashes] for name in a] == [[b[name][key] for key in hashes] for name in b] and len(a) == 3


def test_two_columns_of_a_dataset(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    columns = {
        name: [{"bytes": cv2.imencode(".png", face(i, size)[..., ::-1])[1].tobytes(), "path": None} for i in range(3)]
        for name, size in (("low", 32), ("high", SIZE))
    }
    table = datasets.Dataset.from_dict(columns)
    for name in columns:
        table = table.cast_column(name, datasets.Image())
    (tmp_path / "set").mkdir()
    table.to_parquet(tmp_path / "set" / "test.parquet")
    source = f"hf:{tmp_path / 'set'}:test"
    pairs = Pairs.open(f"{source}:low", f"{source}:high", limit=2)
    assert pairs.faces.names == ["00000000", "00000001"] and pairs.faces.size == SIZE
    np.testing.assert_array_equal(read_image(pairs.inputs["00000001"]), face(1, 32))
    np.testing.assert_array_equal(pairs.faces.load("00000001"), face(1))
    assert "split test, column high, rows 0 to 1; inputs: " in pairs.faces.description
    with pytest.raises(GPENError, match="are both"):
        Pairs.open(source, source)


# --- names

stems = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/.{}"), min_size=1, max_size=6)


@settings(max_examples=100, deadline=None)
@given(st.sets(stems.map(lambda stem: unicodedata.normalize("NFC", stem)), min_size=1, max_size=5), st.data())
@pytest.mark.slow
def test_forms_of_a_name_match(names, data):
    """Unicode form, spaces, case of the suffix and format do not matter; the pattern and the folder do not either."""
    names = {name.translate({0xA0: " ", 0x202F: " ", 0x2007: " "}) for name in names}
    form = data.draw(st.sampled_from(["NFC", "NFD"]))
    written = {unicodedata.normalize(form, name).replace(" ", "\u202f"): name for name in names}
    suffix = data.draw(st.sampled_from([".png", ".PNG", ".Jpg"]))
    truths = {f"{name}.png": f"gt {name}" for name in names}
    inputs = {f"deep/lq_{alias}_00{suffix}": f"lq {name}" for alias, name in written.items()}
    pairs, problems = _match(inputs, truths, "lq_{name}_00")
    assert not problems and pairs == {name: (f"lq {name}", f"gt {name}") for name in names}


def test_all_missing_and_mismatched_names_are_reported():
    inputs = {name: None for name in ("a.png", "b.png", "x.png")}
    truths = {f"{name}.png": None for name in "abcdefg"}
    assert _match(inputs, truths, NAME)[1] == [
        "5 of --gt without an input (c.png, d.png, e.png, ...)",
        "1 of --lq without a ground truth (x.png)",
    ]
    assert _match({"a.png": None, "a.JPG": None}, {"a.png": None}, NAME)[1] == ["a.png and a.JPG of --lq have the same name"]


def test_a_name_in_two_subfolders_is_matched_by_its_path():
    inputs, truths = (
        {f"{part}/1{suffix}": f"{side}{part}" for part in "pq"} for side, suffix in (("lq", ".jpg"), ("gt", ".png"))
    )
    assert _match(inputs, truths, NAME) == ({"p/1": ("lqp", "gtp"), "q/1": ("lqq", "gtq")}, [])
    assert _match({"p/1_0.jpg": 1, "q/1_0.jpg": 2}, truths, "{name}_0")[0] == {"p/1": (1, "gtp"), "q/1": (2, "gtq")}


@pytest.mark.parametrize(("change", "words"), [
    (["--match", "lq"], "--match lq is not a pattern"), (["--match", "{name}{name}"], "is not a pattern"),
    (["--match", NAME], "5 of --gt without an input"), (["--data", "samples2"], "without --data"),
    (["--size", "16"], "--size 16 is out of range"), (["--size", "128"], "5 of 5 images"),
    (["--methods", "nonblind-rl"], "nonblind-rl needs the degradation"), (["--tasks", "fsr8"], "is not a task of run paired"),
])  # fmt: skip
def test_invalid_arguments(celeba_test, change, words, tmp_path, capsys):
    assert paired(celeba_test, "--metrics", "psnr", "--out", str(tmp_path / "run"), *change) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_options_of_other_families(tmp_path, capsys):
    for command in (["fsr", "--lq", "x"], ["bfr", "--gt", "x"], ["fsr", "--match", "{name}_0"], ["paired", "--lq", "x"]):
        assert main(["run", *command, "--out", str(tmp_path / "run")]) == 2
        assert "--lq" in capsys.readouterr().err


def test_images_that_are_not_square_and_several_sizes(tmp_path, capsys):
    for i in range(4):
        write(tmp_path / "hq" / f"{i}.png", face(i, SIZE if i else 48))
        write(tmp_path / "lq" / f"{i}_00.png", face(i, 32)[: 24 if i > 1 else 32])
    command = ["--metrics", "psnr", "--methods", "nearest", "--out", str(tmp_path / "run")]
    assert paired(tmp_path, *command, "--limit", "2") == 2
    assert "several sizes (1 with 48 px, 1 with 64 px); choose one with --size" in capsys.readouterr().err
    assert paired(tmp_path, *command, "--size", "48") == 2
    error = capsys.readouterr().err
    assert "2 of 4 images of --lq are not square" in error and "2_00.png with 32 x 24 px" in error and "3_00.png" in error
    assert paired(tmp_path, *command, "--size", "48", "--limit", "2") == 0
    write(tmp_path / "hq" / "1.png", face(1)[:60])
    assert paired(tmp_path, *command, "--size", "48", "--limit", "2") == 2
    assert "1 of 2 images of --gt are not square" in capsys.readouterr().err
