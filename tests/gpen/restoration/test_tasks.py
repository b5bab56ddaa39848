"""Tasks: preserved parts of the input, input of the network, training pairs."""

import dataclasses
import json
import tracemalloc

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import gpen
from gpen.cli import main
from gpen.faces.samples import SAMPLES
from gpen.images import to_image
from gpen.restoration import tasks
from gpen.restoration.task_inputs import strokes
from gpen.training.config import FinetuneConfig
from gpen.training.data.dataset import FacePairs
from gpen.training.finetune import finetune

NETWORK = gpen.GPENConfig(size=32, narrow=0.0625, channel_multiplier=1, style_dim=16, mapping_layers=2)
LABELS = len(tasks.PALETTE)


class RecordingNetwork(torch.nn.Module):
    """Network that records its input and returns it, or a constant colour."""

    def __init__(self, size: int = 32, output: tuple[float, float, float] | None = None):
        super().__init__()
        self.size = self.in_size = size
        self.config, self.output, self.scale = None, output, torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        self.given = x
        return x if self.output is None else torch.tensor(self.output).view(1, 3, 1, 1).expand_as(x)


@pytest.fixture(scope="module")
def restorer() -> gpen.Restorer:
    torch.manual_seed(0)
    return gpen.Restorer(gpen.GPEN(NETWORK))


def make_image(side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_restore_task_is_the_restorer(restorer):
    assert np.array_equal(tasks.run(restorer, "restore", make_image(40)), restorer.face(make_image(40)).image)


@settings(max_examples=30, deadline=None)
@given(side=st.integers(8, 70), seed=st.integers(0, 9))
def test_colorize_keeps_the_luma_of_the_input(restorer, side, seed):
    image = make_image(side, seed)
    coloured = tasks.run(restorer, "colorize", image)
    assert coloured.shape == image.shape
    assert np.abs(tasks.luma(coloured) - tasks.luma(image)).max() <= 0.501  # the rounding to 8 bits
    again = tasks.run(restorer, "colorize", tasks.grey(image))  # colours of the input have no effect except for rounding
    assert np.abs(again.astype(int) - coloured).mean() < 1


@settings(deadline=None)
@given(arrays(np.uint8, (3, 4, 3)), arrays(np.uint8, (3, 4, 3)))
def test_with_chroma(first, second):
    result = tasks.with_chroma(tasks.luma(first), second)
    assert np.abs(tasks.luma(result) - tasks.luma(first)).max() <= 0.501
    wanted = second - tasks.luma(second)[..., None] + tasks.luma(first)[..., None]
    fits = ((wanted >= 0) & (wanted <= 255)).all(2)
    assert np.abs(result - wanted)[fits].max(initial=0) <= 0.501
    assert np.array_equal(tasks.with_chroma(tasks.luma(first), first), first)


def test_colorize_input_is_grey_and_chroma_is_that_of_the_output():
    red = RecordingNetwork(output=(1.0, -1.0, -1.0))
    image = np.full((48, 48, 3), 100, np.uint8)
    coloured = tasks.run(gpen.Restorer(red), "colorize", image)
    assert torch.equal(red.given[:, 0], red.given[:, 1]) and torch.equal(red.given[:, 0], red.given[:, 2])
    assert (coloured[..., 0] > coloured[..., 1] + 100).all() and np.array_equal(coloured[..., 1], coloured[..., 2])


@settings(max_examples=30, deadline=None)
@given(side=st.integers(8, 70), seed=st.integers(0, 9))
@pytest.mark.slow
def test_inpaint_keeps_unmasked_pixels(restorer, side, seed):
    image, mask = make_image(side, seed), strokes(side, np.random.default_rng(seed))
    filled = tasks.run(restorer, "inpaint", image, mask)
    assert np.array_equal(filled[~mask], image[~mask])
    assert np.array_equal(tasks.run(restorer, "inpaint", image, np.zeros_like(mask)), image)


@pytest.mark.parametrize("side", [32, 50, 20])
def test_inpaint_input_does_not_depend_on_masked_pixels(side):
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : side // 2, 3:9] = 200
    seen = []
    for secret in (0, 90):
        image = np.full((side, side, 3), 50, np.uint8)
        image[mask > 0] = secret
        net = RecordingNetwork()
        tasks.run(gpen.Restorer(net), "inpaint", image, mask)
        seen.append(net.given)
    white = (seen[0] == 1).all(1)
    assert white.any() and torch.equal(seen[0][:, :, white[0]], seen[1][:, :, white[0]])
    if side == 32:  # not resized: exactly the mask
        assert torch.equal(white[0], torch.from_numpy(mask > 0)) and torch.equal(seen[0], seen[1])


def test_palette_has_19_distinct_colours():
    assert LABELS == 19 == len(set(tasks.PALETTE.values()))
    assert [list(tasks.PALETTE)[k] for k in (0, 1, 13, 18)] == ["background", "skin", "hair", "cloth"]


def test_image_of_unique_colours_is_rejected_with_little_memory():
    colours = np.arange(512 * 512, dtype=np.uint32).reshape(512, 512)
    image = np.stack([colours >> 10, colours >> 2 & 255, colours & 3], axis=2).astype(np.uint8)
    tracemalloc.start()
    with pytest.raises(gpen.GPENError, match="not a segmentation map"):
        tasks.to_labels(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * colours.size  # bytes; the distances to all classes at once would take 500 a pixel


@settings(deadline=None)
@given(arrays(np.uint8, (5, 6), elements=st.integers(0, LABELS - 1)), st.integers(0, 10))
def test_to_labels_inverts_to_palette_with_noise(labels, noise):
    colours = tasks.to_palette(labels)
    shaken = colours.astype(int) + np.random.default_rng(0).integers(-noise, noise + 1, colours.shape)
    assert np.array_equal(tasks.to_labels(shaken.clip(0, 255).astype(np.uint8)), labels)
    assert np.array_equal(tasks.to_labels(np.repeat(labels[..., None], 3, 2)), labels)  # grey image of labels


def test_seg2face_value_range():
    labels = np.kron(np.array([[0, 1], [13, 18]], np.uint8), np.ones((24, 24), np.uint8))  # [48, 48]
    for given_as in (labels, tasks.to_palette(labels)):
        net = RecordingNetwork()
        face = tasks.run(gpen.Restorer(net), "seg2face", given_as)
        assert net.given.min() == 0 and net.given.max() == pytest.approx(0.8)  # 204 of 255
        assert np.array_equal(face, tasks.to_palette(labels[::3, ::3].repeat(2, 0).repeat(2, 1)))


@pytest.mark.parametrize(
    ("task", "image", "mask", "words"),
    [
        ("paint", make_image(8), None, "no task 'paint': choose one of restore"),
        ("inpaint", make_image(8), None, "needs a mask"),
        ("colorize", make_image(8), np.ones((8, 8)), "no other task has a mask"),
        ("inpaint", make_image(8), np.ones((9, 8)), "resize the mask"),
        ("inpaint", make_image(8)[:5], np.ones((5, 8)), "square"),
        ("colorize", make_image(8)[:5], None, "square"),
        ("colorize", make_image(8)[..., 0], None, "RGB"),
        ("seg2face", np.full((8, 8), 19, np.uint8), None, "must be 0 to 18; got 19"),
        ("seg2face", np.zeros((8, 9), np.uint8), None, "square"),
        ("seg2face", make_image(32), None, "not a segmentation map"),
        ("seg2face", np.zeros((8, 8)), None, "uint8"),
    ],
)
def test_invalid_arguments_raise_an_error(restorer, task, image, mask, words):
    with pytest.raises(gpen.GPENError, match=words):
        tasks.run(restorer, task, image, mask)


def test_strength_of_other_tasks_raises_an_error(restorer):
    with pytest.raises(gpen.GPENError, match="strength"):
        tasks.run(gpen.Restorer(restorer.net, strength=0.5), "colorize", make_image(8))


def test_find_model(restorer, tmp_path, monkeypatch):
    monkeypatch.setenv("GPEN_MODELS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GPEN_DOWNLOAD_URL", "")  # downloads off
    monkeypatch.setattr("gpen.models.checkpoints.ASSETS", tmp_path / "assets")
    assert tasks.find_model("restore") == gpen.models.checkpoints.DEFAULT_MODEL
    assert tasks.local_model("seg2face") is None
    with pytest.raises(gpen.GPENError, match="GPEN-Inpainting-1024.*or train your own") as caught:
        tasks.find_model("inpaint")
    assert "\n" not in str(caught.value)
    for name in ("gpen-inpaint.safetensors", "GPEN-Inpainting-1024.pth"):  # the published model has priority
        (tmp_path / name).touch()
        assert tasks.find_model("inpaint") == tmp_path / name
    assert tasks.find_model("inpaint", tmp_path / "mine.pth") == tmp_path / "mine.pth"


def test_included_colorize_model_reduces_the_colour_error():
    face = SAMPLES["astronaut"].load(256)  # not in the training data
    coloured = tasks.run(gpen.Restorer(gpen.load("gpen-colorize")), "colorize", tasks.grey(face))
    off = [np.abs(image.astype(float) - face)[64:192, 64:192].mean() for image in (coloured, tasks.grey(face))]
    assert off[0] < 0.8 * off[1]


def test_restore_command_with_tasks(restorer, tmp_path, capsys):
    model, image, mask = tmp_path / "net.safetensors", make_image(40), strokes(40, np.random.default_rng(1))
    gpen.save(restorer.net, model)
    (tmp_path / "masks").mkdir()
    cv2.imwrite(str(tmp_path / "face.png"), image[..., ::-1])
    cv2.imwrite(str(tmp_path / "masks" / "face.png"), mask * np.uint8(255))
    common = ["restore", str(tmp_path / "face.png"), "--aligned", "--model", str(model)]
    for task, more in (("colorize", []), ("inpaint", ["--mask", str(tmp_path / "masks")])):
        main([*common, "--task", task, *more, "--out", str(tmp_path / task)])
        expected = tasks.run(gpen.Restorer(gpen.load(model)), task, image, mask if more else None)
        assert np.array_equal(cv2.imread(str(tmp_path / task / "face.png"))[..., ::-1], expected)
    with pytest.raises(SystemExit):
        main([*common, "--task", "inpaint", "--out", str(tmp_path / "x")])
    assert "needs a mask" in capsys.readouterr().err


TINY = FinetuneConfig(
    network=NETWORK, discriminator_narrow=0.0625, total_images=16, batch_size=4, workers=0, save_interval=16, ema_half_life=16,
    allow_upscaled=True,
)  # fmt: skip


@pytest.mark.parametrize("task", ["colorize", "inpaint"])
def test_training_pairs_of_a_task(faces, task):
    config = dataclasses.replace(TINY, task=task)
    pairs = FacePairs(faces, config)
    masks = []
    for i in range(4):
        given, target = pairs[i]
        again = pairs[i]
        assert torch.equal(given, again[0]) and torch.equal(target, again[1])
        masks.append((given == 1).all(0))
        if task == "colorize":
            assert np.array_equal(to_image(given), tasks.grey(to_image(target)))
        else:
            assert masks[-1].any() and torch.equal(given[:, ~masks[-1]], target[:, ~masks[-1]])
    if task == "inpaint":
        assert not torch.equal(masks[0], masks[1])
    narrower = dataclasses.replace(NETWORK, in_size=16)
    given, target = FacePairs(faces, dataclasses.replace(config, network=narrower))[0]
    assert given.shape == (3, 16, 16) and target.shape == (3, 32, 32)


def test_strokes_cover_part_of_the_image():
    shares = [strokes(64, np.random.default_rng(k)).mean() for k in range(200)]
    assert 0.001 < min(shares) and max(shares) < 0.7 and 0.08 < np.mean(shares) < 0.3


@pytest.mark.parametrize("task", ["colorize", "inpaint"])
def test_task_can_be_trained(faces, tmp_path, task):
    config = tmp_path / "tiny.toml"
    config.write_text(
        "total_images = 16\nbatch_size = 4\nworkers = 0\ndiscriminator_narrow = 0.0625\nallow_upscaled = true\n"
        "[network]\nsize = 32\nnarrow = 0.0625\nchannel_multiplier = 1\nstyle_dim = 16\nmapping_layers = 2\n"
    )
    run = tmp_path / "run"
    where = ["--data", str(faces), "--config", str(config), "--out", str(run), "--device", "cpu"]
    main(["train", "finetune", "--task", task, *where])
    assert torch.load(run / "checkpoint.pt", weights_only=True)["settings"]["task"] == task
    restorer = gpen.Restorer(gpen.load(run / "gpen.safetensors"))
    mask = np.ones((40, 40), bool) if task == "inpaint" else None
    assert tasks.run(restorer, task, make_image(40), mask).shape == (40, 40, 3)


@pytest.mark.slow
def test_colorize_training_reduces_the_loss(faces, tmp_path):
    """Six images, seen a hundred times each."""
    config = dataclasses.replace(
        TINY, task="colorize", total_images=600, batch_size=4, adversarial_weight=0.0, feature_matching_weight=0.0,
        beta1=0.9, lr_encoder=3e-3, lr_decoder=3e-3, lr_scales=5.0, grad_clip=1.0, save_interval=600, grid_interval=600,
        network=dataclasses.replace(NETWORK, size=16, in_size=16),
    )  # fmt: skip
    finetune(faces, tmp_path / "run", config)
    content = [json.loads(line)["content"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert content[-1] < 0.7 * content[0]


def test_invalid_training_tasks_raise_an_error(capsys, tmp_path):
    with pytest.raises(gpen.GPENError, match="restore, colorize or inpaint; got 'seg2face'"):
        FinetuneConfig(task="seg2face")
    with pytest.raises(SystemExit):
        main(["train", "prior", "--task", "inpaint", "--data", str(tmp_path), "--out", str(tmp_path / "run")])
    assert "Unrecognized options: --task" in capsys.readouterr().err
