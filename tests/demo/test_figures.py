"""HTML of the playground: formula, steps, error maps and scores."""

import base64
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo import compare, experiment, figures, images
from demo.tabs import playground
from gpen.degradation.degradation import Degradation


@pytest.fixture(scope="module")
def result(restorer, photo, size):
    face = images.square_crop(photo, size)
    return experiment.run(restorer, face, Degradation(blur_sigma=1.0, scale=2, noise_sigma=5, jpeg_quality=50))


def test_formula_colours_enabled_terms():
    text = figures.formula(Degradation(blur_sigma=2.5, scale=4, noise_sigma=8, jpeg_quality=40))
    assert re.findall(r'class="term (\w+)"', text) == ["jpeg", "blur", "scale", "noise"]
    assert "2.5" in text and "↓4" in text and "σ=8" in text and "<sub>40</sub>" in text
    assert '<b class="term scale">↓4 bicubic</b>' in figures.formula(Degradation(scale=4, downsampling="bicubic"))
    assert 'class="term' not in figures.formula(Degradation())


@pytest.mark.parametrize("kind", ["isotropic", "anisotropic", "motion"])
def test_every_blur_kind_is_coloured_in_formula(kind):
    assert 'class="term blur"' in figures.formula(Degradation(blur_sigma=12.25, blur_kind=kind, blur_angle=-33))


def test_steps_are_embedded_as_png(result):
    found = re.findall(r'src="data:image/png;base64,([^"]+)" width="(\d+)"', figures.steps(result, figures.Encoder()))
    assert len(found) == len(result.steps) == 6
    for (data, width), image in zip(found, result.steps.values(), strict=True):
        decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        assert int(width) == image.shape[1] and (decoded[..., ::-1] == image).all()


@given(st.lists(st.booleans(), min_size=4, max_size=4), st.booleans())
def test_steps_that_are_off_keep_their_column_and_are_dimmed(restorer, on, hazy):
    blur, scale, noise, jpeg = on
    degradation = Degradation(
        blur_sigma=1 if blur else None, scale=2 if scale else None, noise_sigma=3 if noise else None,
        jpeg_quality=50 if jpeg else None, haze=0.5 if hazy else None,
    )  # fmt: skip
    face = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    target, degraded = degradation.target(face), degradation.resized(face)
    made = experiment.Experiment(degradation, degradation.steps(face), target, degraded, degraded, {}, 0.0)
    first, *extra = figures.steps(made, figures.Encoder()).split('<div class="strip">')[1:]
    assert re.findall(r'<figure class="(\w*)"', first) == ["", *("" if step else "off" for step in on), ""]
    assert re.findall(r">(∗ k|↓ s|\+ n|JPEG)<", first) == ["∗ k", "↓ s", "+ n", "JPEG"] and len(extra) == hazy


def test_each_image_of_an_update_is_encoded_once(result, monkeypatch, size):
    encoded = []
    png = images.png
    monkeypatch.setattr(images, "png", lambda image: encoded.append(image.tobytes()) or png(image))
    view = compare.view()
    values = playground._views(result, view, False)
    assert len(encoded) == 3 and all(
        f"data:image/png;base64,{base64.b64encode(png(x)).decode()}" in values[0] for x in shown(result)
    )
    encoded.clear()
    playground._views(result, view, True)
    assert len(encoded) == len(set(encoded)) == 3 + 4 + 2  # images compared, steps between original and damaged, error maps


def shown(result) -> tuple:
    return result.degraded, result.restored, result.target


def test_large_images_are_files(result, tmp_path):
    large = [cv2.resize(image, (1024, 1024)) for image in shown(result)]
    made = replace(result, degraded=large[0], restored=large[1], target=large[2])
    value = figures.comparison(made, figures.Encoder(), compare.view())
    assert value.count("gradio_api/file=") == 3 and "base64" not in value


def test_maps_of_invented_detail_are_explained_with_one_sentence_each(restorer, result):
    spread, residual = experiment.spread(restorer, result), experiment.residual(result)
    assert spread.shape == residual.shape == result.target.shape[:2] and spread.min() >= 0
    text = figures.invented(spread, residual, figures.Encoder())
    captions = re.findall(r"</b>, mean [\d.]+<br>([^<]+)</span></figcaption>", text)
    assert len(captions) == 2 and all(caption.count(".") == 1 for caption in captions)


def test_every_text_of_the_page_can_be_translated(restorer, result):
    spread, residual, encoder = experiment.spread(restorer, result), experiment.residual(result), figures.Encoder()
    made = figures.comparison(result, encoder, compare.view()) + figures.summary(result) + figures.steps(result, encoder)
    made += figures.errors(result, encoder) + figures.table(result) + figures.invented(spread, residual, encoder)
    named = re.findall(r'(?<![-\w])(?:alt|aria-label)="[^"]+"(?! data-text-)', made)
    left = re.sub(r'<(\w+) data-text="[^"]+"[^>]*>.*?</\1>', "", made)
    assert not named and set(re.findall(r"[A-Za-z]{3,}", re.sub("<[^>]*>", " ", left))) <= {
        "JPEG",
        "PSNR",
        "SSIM",
        *experiment.METHODS,
    }


def test_residual_of_the_original_is_zero(result):
    assert experiment.residual(replace(result, restored=result.target)).max() == 0


def test_every_step_has_a_caption(restorer, photo, size):
    degradation = Degradation(1.0, scale=2, noise_sigma=5, jpeg_quality=50, grey=True, shift=(1, 1), haze=0.9, brightness=0.7)
    made = figures.steps(experiment.run(restorer, images.square_crop(photo, size), degradation), figures.Encoder())
    assert made.count("<figure") == 10 and made.count('class="off"') == 0 and "colours changed" in made


@given(st.integers(0, 255), st.integers(0, 255))
def test_error_map_is_monotonic(a, b):
    low, high = sorted((a, b))
    dark, light = figures.error_map(np.array([[low, high]], np.float32))[0].astype(int).sum(axis=1)
    assert dark <= light
    if high >= figures.ERROR_SCALE:
        assert light == figures.error_map(np.array([[255]], np.float32)).astype(int).sum()


def test_error_of_identical_images_is_black(result):
    error = figures.absolute_error(result.target, result.target)
    assert error.max() == 0 and figures.error_map(error).max() < 5


@pytest.mark.parametrize(
    ("bilinear", "gpen", "winners"),  # of psnr, ssim, lpips_alex
    [
        ((20.0, 0.5, 0.4), (25.0, 0.4, 0.2), ["25.00", "0.5000", "0.2000"]),
        ((20.0, 0.5, 0.1), (20.0, 0.5, 0.2), ["0.1000"]),
        ((float("inf"), 1.0, "no file"), (9.0, 0.2, "no file"), ["∞", "1.0000"]),
    ],
)
def test_better_method_is_bold_unless_tied(result, bilinear, gpen, winners):
    bilinear, gpen = (dict(zip(experiment.METRICS, values, strict=True)) for values in (bilinear, gpen))
    table = figures.table(replace(result, scores={"Bilinear": bilinear, "GPEN": gpen}))
    assert sorted(re.findall(r'<td class="best"><b>([^<]+)</b>', table)) == sorted(winners)
    assert table.count("higher is better") == 2 and table.count("lower is better") == isinstance(gpen["lpips_alex"], float)


def test_metric_without_values_has_no_column_and_no_path_is_shown(result):
    scores = {"psnr": 1.0, "ssim": 0.1, "lpips_alex": "LPIPS needs the file /root/.cache/torch/alexnet.pth; download it."}
    table = figures.table(replace(result, scores={"Bilinear": scores, "GPEN": scores}))
    assert "LPIPS (AlexNet) is not shown: its weights are not installed on this server." in table
    assert table.count('scope="col"') == 2 and "/root" not in table


def test_metric_seen_in_training_is_marked_with_a_note(result, monkeypatch):
    scores = {"psnr": 1.0, "ssim": 0.1, "lpips_alex": 0.3}
    result = replace(result, scores={"Bilinear": scores, "GPEN": scores})
    assert "Seen in training" not in figures.table(result)
    seen = replace(figures.METRICS["lpips_alex"], seen_in_training=True)
    monkeypatch.setitem(figures.METRICS, "lpips_alex", seen)
    table = figures.table(result)
    assert "LPIPS †" in table and "PSNR †" not in table and table.count("† Seen in training: ") == 1
