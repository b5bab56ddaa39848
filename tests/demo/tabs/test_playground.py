"""The API of the running page called by gradio_client, and requests that it must reject."""

import re
import socket

import cv2
import gradio as gr
import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

import app
from demo import components, experiment, images
from demo.server.limits.held import HeldValues
from demo.server.limits.settings import Limits
from demo.server.model_picker import ModelPicker
from demo.tabs import playground
from gpen.degradation.degradation import Degradation
from gpen.errors import GPENError
from tests.demo.conftest import TIMEOUT


@pytest.fixture(scope="module")
def client(server, tmp_path_factory):
    return Client(server, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))


def read_png(path) -> np.ndarray:
    with open(path, "rb") as file:
        data = file.read()
    assert data.startswith(b"\x89PNG")
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_degrade_matches_package(client, files, photo, size):
    path, parameters = client.predict(
        image=handle_file(files["plain.png"]),
        blur_sigma=1.5,
        scale=4,
        noise_sigma=8,
        jpeg_quality=40,
        seed=7,
        api_name="/degrade",
    )
    expected = Degradation(blur_sigma=1.5, scale=4, noise_sigma=8, jpeg_quality=40, seed=7)
    assert Degradation.from_dict(parameters) == expected
    assert (read_png(path) == expected(images.square_crop(photo, size))).all()


def test_degrade_with_defaults_only_crops(client, files, photo, size):
    path, _ = client.predict(image=handle_file(files["plain.png"]), api_name="/degrade")
    assert (read_png(path) == images.square_crop(photo, size)).all()


def test_restore_matches_package(client, files, photo, restorer):
    path = client.predict(image=handle_file(files["plain.png"]), api_name="/restore")
    expected = restorer.face(images.square_crop(photo)).image
    assert np.abs(read_png(path).astype(int) - expected).max() <= 1  # threads may round differently


def test_score_returns_metrics_and_missing_ones(client, files):
    same = client.predict(handle_file(files["plain.png"]), handle_file(files["plain.png"]), api_name="/score")
    assert same["psnr"] == {"value": "infinite", "better": "higher", "seen_in_training": False} and same["ssim"]["value"] == 1
    other = client.predict(handle_file(files["plain.png"]), handle_file(files["grey.png"]), api_name="/score")
    assert 5 < other["psnr"]["value"] < 40
    assert other["lpips_alex"]["better"] == "lower" and "download it with" in other["lpips_alex"]["missing"]


def test_sample_matches_package(client, size):
    drawn = client.predict(preset="gfpgan", seed=5, api_name="/sample")
    expected = Degradation.sample("gfpgan", seed=5, size=size)
    assert Degradation.from_dict(drawn).scale == pytest.approx(expected.scale, abs=0.006)
    assert drawn == client.predict(preset="gfpgan", seed=5, api_name="/sample")


@pytest.mark.parametrize("name", ["text.png", "1x1.png", "bomb.png", "cut-off.jpg", "empty.png"])
def test_unusable_image_returns_its_error_message(client, files, name):
    with pytest.raises(GPENError) as expected:
        images.decode(files[name])
    with pytest.raises(AppError, match=re.escape(str(expected.value).split(":")[0])):
        client.predict(image=handle_file(files[name]), api_name="/restore")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"scale": 0.01}, "at least 0.5"),
        ({"noise_sigma": -1}, "noise_sigma must be"),
        ({"jpeg_quality": 101}, "jpeg_quality must be"),
        ({"kernel_size": 4, "blur_sigma": 1}, "odd"),
        ({"seed": 0.5}, "seed must be"),
        ({"blur_sigma": 1e300}, "blur_sigma must be"),
    ],
)
def test_out_of_range_number_returns_error_message(client, files, values, words):
    with pytest.raises(AppError, match=words):
        client.predict(image=handle_file(files["plain.png"]), api_name="/degrade", **values)


def call(server: str, name: str, *data) -> str:
    """Return the response to a plain HTTP call, without the file handling of gradio_client."""
    started = httpx.post(f"{server}gradio_api/call/{name}", json={"data": data}, timeout=TIMEOUT)
    if started.status_code != 200:
        return started.text
    return httpx.get(f"{server}gradio_api/call/{name}/{started.json()['event_id']}", timeout=TIMEOUT).text


@pytest.mark.parametrize("path", ["/etc/passwd", str(app.ROOT / "assets" / "playground.png"), "../" * 20 + "etc/passwd"])
def test_server_files_cannot_be_read(server, client, files, path):
    answer = call(server, "restore", {"path": path, "meta": {"_type": "gradio.FileData"}})
    assert "event: complete" not in answer and "root:" not in answer
    upload = {"files": files["plain.png"].read_bytes()}
    (uploaded,) = httpx.post(f"{server}gradio_api/upload", files=upload, timeout=TIMEOUT).json()
    assert "event: complete" in call(server, "restore", {"path": uploaded, "meta": {"_type": "gradio.FileData"}})


def test_endpoints_are_documented_and_events_private(client):
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    tasks = {"/colorize", "/inpaint", "/seg2face"}
    assert set(endpoints) == {"/degrade", "/sample", "/restore", "/score", "/photo", "/variations"} | tasks
    assert not client.view_api(return_format="dict")["unnamed_endpoints"]
    for endpoint in endpoints.values():
        assert len(endpoint["description"]) > 60
        assert all(parameter["parameter_name"] for parameter in endpoint["parameters"])


@pytest.mark.parametrize(("count", "words"), [(0, "No face was found"), (1, "Your photo"), (5, "This photo has 5 faces")])
def test_note_says_how_many_faces_a_photo_has(count, words):
    note = playground._face_note(count)
    assert words in note and ('href="?tab=photo"' in note) == (count > 1)


def test_preset_without_new_values_says_why(restorer, photo, size, monkeypatch):
    with gr.Blocks() as page:
        playground.tab(ModelPicker(restorer), HeldValues(Limits()))
    sample = next(function.fn for function in page.fns.values() if function.name == "sample_preset")
    said = []
    monkeypatch.setattr(playground.gr, "Info", lambda message, duration: said.append(message))
    sampled = experiment.within_sliders(experiment.sample("codeformer-2", 3, size))
    *updates, keep, extras = components.write(sampled)
    values = [update["value"] for update in updates]
    sample("codeformer-2", images.square_crop(photo, size), "", False, extras, keep["value"], *values)
    assert said == ["codeformer-2 gives the same values for the seed 3: change the seed to see others."]
    sample("severe", images.square_crop(photo, size), "", False, extras, keep["value"], *values)
    assert len([message for message in said if "same values" in message]) == 1


def test_missing_model_exits_with_one_line_error(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("GPEN_MODEL", str(tmp_path / "none.safetensors"))
    with pytest.raises(SystemExit) as caught:
        app.main([])
    message = capsys.readouterr().err
    assert caught.value.code == 2 and message.startswith("error: ") and message.count("\n") == 1


@pytest.mark.parametrize(("port", "words"), [("busy", "is in use"), ("http", "from 1 to 65535"), ("70000", "from 1 to 65535")])
def test_unavailable_port_exits_with_one_line_error(monkeypatch, capsys, tmp_path, port, words):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with gr.Blocks() as page:
        gr.Markdown("empty")
    monkeypatch.setattr(app, "build", lambda *_, **settings: page)
    monkeypatch.setattr(app.rate, "open_survey", lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("GRADIO_SERVER_PORT", str(listener.getsockname()[1]) if port == "busy" else port)
        with pytest.raises(SystemExit) as caught:
            app.main([])
    message = capsys.readouterr().err
    assert caught.value.code == 2
    assert words in message and message.startswith("error: ") and message.count("\n") == 1
    assert not list(tmp_path.iterdir())  # the folder of temporary files is deleted
