"""gpen degrade: one image, and the images of folders and patterns as an LQ set."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import gpen
from gpen.cli import main
from gpen.images import read_image


def test_degrade_matches_degradation(tmp_path, capsys):
    face = tmp_path / "face.png"
    cv2.imwrite(str(face), cv2.resize(np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8), (48, 48)))
    arguments = "--blur-sigma 2 --scale 3.3 --noise-sigma 10 --jpeg-quality 40 --seed 5".split()
    main(["degrade", str(face), *arguments, "--out", str(tmp_path / "low.png")])
    image = read_image(face)
    degradation = gpen.Degradation(blur_sigma=2, scale=3.3, noise_sigma=10, jpeg_quality=40, seed=5)
    assert np.array_equal(read_image(tmp_path / "low.png"), degradation(image))
    assert capsys.readouterr().out.strip() == degradation.formula()
    options = ["--scale", "4", "--downsampling", "bicubic", "--resized"]
    main(["degrade", str(face), *options, "--out", str(tmp_path / "c.png")])
    assert np.array_equal(read_image(tmp_path / "c.png"), gpen.Degradation(scale=4, downsampling="bicubic").resized(image))
    main(["degrade", str(face), "--preset", "gpen-release", "--seed", "5", "--resized", "--out", str(tmp_path / "b.png")])
    assert np.array_equal(read_image(tmp_path / "b.png"), gpen.Degradation.sample("gpen-release", 5, 48).resized(image))


@pytest.fixture
def set_of_images(tmp_path):
    """Folder with images of two formats, one in a subfolder."""
    folder = tmp_path / "hq"
    (folder / "deeper").mkdir(parents=True)
    for k, name in enumerate(("a.png", "b.jpg", "deeper/José.PNG")):
        cv2.imwrite(str(folder / name), np.random.default_rng(k).integers(0, 256, (20 + k, 24, 3), dtype=np.uint8))
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_degrade_writes_a_folder_with_the_parameters_of_each_image(set_of_images, tmp_path, capsys):
    out = tmp_path / "lq"
    command = ["degrade", str(set_of_images), "--recursive", "--preset", "gpen-release", "--seed", "3"]
    main([*command, "--out", str(out)])
    assert capsys.readouterr().out == "3 degraded\n"
    report = json.loads((out / "degradations.json").read_text())
    assert report["preset"] == "gpen-release" and report["seed"] == 3
    assert [row["image"] for row in report["images"]] == ["a.png", "b.png", "deeper/José.png"]
    for row in report["images"]:
        degradation = gpen.Degradation.from_dict(row["degradation"])
        assert np.array_equal(read_image(out / row["image"]), degradation(read_image(row["source"])))
    assert len({row["degradation"]["seed"] for row in report["images"]}) == 3
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == ["José.png", "a.png", "b.png", "degradations.json"]


def test_degraded_images_do_not_depend_on_the_order_or_on_other_images(set_of_images, tmp_path):
    options = ["--noise-sigma", "20", "--scale", "2", "--seed", "5"]
    main(["degrade", str(set_of_images), "--recursive", *options, "--out", str(tmp_path / "all")])
    some = [set_of_images / "b.jpg", set_of_images / "a.png"]
    main(["degrade", *map(str, some), *options, "--out", str(tmp_path / "some")])
    main(["degrade", str(set_of_images / "*.jpg"), *options, "--out", str(tmp_path / "one")])
    main(["degrade", str(set_of_images / "b.jpg"), *options, "--out", str(tmp_path / "alone")])
    for folder, names in {"some": ["a.png", "b.png"], "one": ["b.png"], "alone": ["b.png"]}.items():
        for name in names:
            assert (tmp_path / folder / name).read_bytes() == (tmp_path / "all" / name).read_bytes()


def test_a_damaged_image_does_not_stop_the_degradation_of_a_set(set_of_images, tmp_path, capsys):
    (set_of_images / "c.png").write_bytes(b"not an image")
    (set_of_images / "clip.mp4").write_bytes(b"")
    with pytest.raises(SystemExit) as stop:
        main(["degrade", str(set_of_images), "--scale", "2", "--out", str(tmp_path / "lq")])
    printed = capsys.readouterr()
    assert stop.value.code == 1 and printed.out == "2 degraded, 1 failed\n"
    assert "c.png" in printed.err and "clip.mp4: not an image" in printed.err


@pytest.mark.parametrize(
    ("names", "out", "words"),
    [
        (["hq", "hq/a.png"], "lq.png", "give a folder"),
        (["hq/a.png", "hq/a.jpg"], "lq", "would both be written to"),
        (["hq"], "hq", "the input itself"),
        (["hq/deeper/x"], "lq", "no file or folder"),
        ([], "lq", "nothing to degrade"),
    ],
)
def test_unusable_sets_are_an_error(names, out, words, set_of_images, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("hq/a.jpg", np.zeros((8, 8, 3), np.uint8)) if "hq/a.jpg" in names else None
    with pytest.raises(SystemExit) as stop:
        main(["degrade", *names, "--scale", "2", "--out", out])
    assert stop.value.code == 2 and words in capsys.readouterr().err and not Path("lq").exists()
