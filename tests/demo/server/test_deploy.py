"""Deployment as a Space: uploaded files, secrets, error messages; ZeroGPU."""

import subprocess
import sys
import types
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
import yaml

import app
import gpen
from demo import deploy
from demo.server import zerogpu
from demo.tabs import rate
from gpen.errors import GPENError
from gpen.faces.samples import SAMPLES


class Hub:
    """Replacement for huggingface_hub.HfApi that records its calls."""

    def __init__(self, token):
        self.asked = {"token": token, "variables": {}, "secrets": {}}
        Hub.last = self

    def create_repo(self, name, **settings):
        self.asked["space"] = name, settings
        return f"https://huggingface.co/spaces/{name}"

    def add_space_variable(self, space, name, value):
        self.asked["variables"][name] = value

    def add_space_secret(self, space, name, value):
        self.asked["secrets"][name] = value

    def upload_folder(self, folder_path, **settings):
        paths = [path for path in Path(folder_path).rglob("*") if path.is_file()]
        self.asked["files"] = {path.relative_to(folder_path).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture
def hub(monkeypatch):
    for name in ("GPEN_OWNER_TOKEN", "DATABASE_URL", "GPEN_RATINGS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    return Hub


def test_deployment_contains_all_tracked_files_of_its_folders():
    names = deploy.files()
    assert {"app.py", "README.md", "requirements.txt", "packages.txt", "demo/static/rate.js", "gpen/training/config.py"} <= set(
        names
    )
    assert any(name.endswith(".safetensors") for name in names) and "assets/study/study.json" in names
    assert not any(name.startswith(("tests/", "runs/", "notebooks/", "bench/", ".")) or "__pycache__" in name for name in names)
    tracked = subprocess.run(["git", "ls-files"], cwd=deploy.ROOT, capture_output=True, text=True).stdout.split()
    needed = {name for name in tracked if name.split("/")[0] in deploy.FOLDERS and (deploy.ROOT / name).is_file()}
    assert needed <= set(names)


def test_hidden_files_and_links_are_not_uploaded(tmp_path):
    for name in ("gpen/a.py", "gpen/.env", "gpen/__pycache__/a.pyc", "demo/.secrets/key.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "gpen" / "link.py").symlink_to("/etc/passwd")
    assert deploy.files(tmp_path) == [*deploy.FILES, "gpen/a.py"]


def test_space_receives_files_dataset_and_secrets(hub, monkeypatch):
    monkeypatch.setenv("GPEN_OWNER_TOKEN", "owner's")
    monkeypatch.setenv("GPEN_RATINGS_TOKEN", "hf_dataset_only")
    assert deploy.deploy("me/faces", "me/ratings") == "https://huggingface.co/spaces/me/faces"
    asked = hub.last.asked
    assert asked["space"][1]["repo_type"] == "space" and asked["space"][1]["exist_ok"]
    assert asked["variables"] == {"GPEN_VOTES_REPO": "me/ratings"}
    assert asked["secrets"] == {"GPEN_OWNER_TOKEN": "owner's", "HF_TOKEN": "hf_dataset_only"}
    assert set(asked["files"]) == set(deploy.files()) and asked["files"]["LICENSE"] == (deploy.ROOT / "LICENSE").read_bytes()
    preview = yaml.safe_load(asked["files"]["README.md"].decode().split("---\n")[1])["thumbnail"]
    assert preview.startswith("https://huggingface.co/spaces/me/faces/") and preview.rsplit("/main/")[1] in asked["files"]
    deploy.deploy("me/faces")
    assert hub.last.asked["variables"] == {} and hub.last.asked["secrets"] == {"GPEN_OWNER_TOKEN": "owner's"}


def test_dry_run_lists_files_and_variable_names_but_no_secrets(hub, monkeypatch, capsys):
    monkeypatch.setenv("DATABASE_URL", "postgresql://secret-word@host/db")
    monkeypatch.setattr(deploy, "deploy", lambda *_: pytest.fail("a dry run must not deploy"))
    deploy.main(["--space", "me/faces", "--ratings", "me/ratings", "--dry-run"])
    printed = capsys.readouterr().out
    assert "app.py\n" in printed and "GPEN_VOTES_REPO" in printed and "DATABASE_URL" in printed
    assert "secret-word" not in printed and "hf_mine" not in printed


def failing(error):
    def create_repo(self, *arguments, **named):
        raise error

    return create_repo


@pytest.mark.parametrize("case", ["no token", "no network", "bad name"])
def test_user_errors_exit_with_one_line(hub, monkeypatch, capsys, case):
    if case == "no token":
        monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    monkeypatch.setattr(Hub, "create_repo", failing(ConnectionError("no route")))
    with pytest.raises(SystemExit) as caught:
        deploy.main(["--space", "faces" if case == "bad name" else "me/faces"])
    message = capsys.readouterr().err
    assert caught.value.code == 2 and message.startswith("error: ") and message.count("\n") == 1
    assert {"no token": "hf auth login", "no network": "connection", "bad name": "OWNER/NAME"}[case] in message


def test_votes_are_mirrored_if_dataset_is_set(monkeypatch):
    asked = []
    monkeypatch.setattr("eval.preference.mirror.mirror", lambda survey, repo, folder: asked.append((survey, repo)))
    monkeypatch.delenv("GPEN_VOTES_REPO", raising=False)
    rate.start_mirror("survey")
    monkeypatch.setenv("GPEN_VOTES_REPO", "me/ratings")
    rate.start_mirror(None)
    assert not asked
    rate.start_mirror("survey")
    assert asked == [("survey", "me/ratings")]


def test_unreachable_dataset_exits_with_one_line_error(monkeypatch):
    def unreachable(*_):
        raise GPENError("the dataset me/ratings cannot be reached")

    monkeypatch.setenv("GPEN_VOTES_REPO", "me/ratings")
    monkeypatch.setattr("eval.preference.mirror.mirror", unreachable)
    monkeypatch.setattr(rate, "open_survey", lambda: "survey")

    with pytest.raises(SystemExit) as caught:
        app.main([])
    assert caught.value.code == 2


@pytest.mark.parametrize(("installed", "gpu"), [(False, False), (False, True), (True, False)])
def test_without_zerogpu_restorer_is_plain(restorer, monkeypatch, installed, gpu):
    monkeypatch.setitem(sys.modules, "spaces", types.SimpleNamespace(GPU=None) if installed else None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert zerogpu.gpu(len, restorer) is len
    made = zerogpu.make_restorer(restorer.net)
    assert type(made) is gpen.Restorer and next(made.net.parameters()).device.type == "cpu"
    assert zerogpu.startup_restorer(made) is made


@pytest.fixture
def spaces_package(monkeypatch):
    """Replacement for `spaces` on ZeroGPU.

    Records the seconds for which functions had a GPU, and the devices to which networks were moved.
    """
    lent, moved = [], []

    def lend(duration):
        def decorate(function):
            def wrapper(*arguments):
                assert all(x.device.type == "cpu" for x in arguments)
                lent.append(duration(*arguments))
                return function(*arguments)

            return wrapper

        return decorate

    monkeypatch.setitem(sys.modules, "spaces", types.SimpleNamespace(GPU=lend))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(zerogpu, "MAX_CPU_PARAMETERS", 0)
    monkeypatch.setattr(torch.nn.Module, "to", lambda net, device: moved.append(device) or net)
    return lent, moved


def test_zerogpu_runs_network_on_cuda_with_gpu_per_call(restorer, photo, spaces_package):
    lent, moved = spaces_package
    made = zerogpu.make_restorer(restorer.net)
    assert moved == ["cuda"] and not lent
    face = np.ascontiguousarray(photo[:128, :128])
    assert (made.face(face).image == restorer.face(face).image).all() and lent == [zerogpu.seconds(made.net)]


def test_zerogpu_leaves_default_model_on_the_cpu(restorer, spaces_package, monkeypatch):
    lent, moved = spaces_package
    monkeypatch.undo()
    default = sum(parameter.numel() for parameter in gpen.load().parameters())
    smallest = sum(parameter.numel() for parameter in gpen.GPEN(gpen.GPENConfig(size=256, channel_multiplier=1)).parameters())
    assert default < zerogpu.MAX_CPU_PARAMETERS < smallest  # of the published models, GPEN-BFR-256 is the smallest
    monkeypatch.setattr(zerogpu, "_spaces", lambda: object())
    assert type(zerogpu.make_restorer(restorer.net)) is gpen.Restorer and not moved
    assert zerogpu.gpu(len, restorer) is len


@pytest.mark.parametrize(("size", "n", "least", "most"), [(256, 1, 10, 12), (512, 9, 12, 20), (2048, 1, 15, 30)])
def test_zerogpu_reservation_grows_with_images_and_size(size, n, least, most):
    net = types.SimpleNamespace(size=size)
    assert least <= zerogpu.seconds(net, n) <= most < 60  # 60 s is the default of spaces.GPU
    assert zerogpu.seconds(net, n) <= zerogpu.seconds(net, n + 1)


def test_zerogpu_startup_requests_no_gpu(restorer, spaces_package):
    lent, moved = spaces_package
    made = zerogpu.make_restorer(restorer.net)
    assert zerogpu.startup_restorer(made).net is restorer.net and made.net is not restorer.net
    page = app.build(made)
    assert moved == ["cuda"] and not lent
    load = next(function.fn for function in page.fns.values() if function.name == "load_recipe")
    load(b'{"scale": 2}', SAMPLES["astronaut"].load(restorer.net.size), "", False)
    assert len(lent) == 1
