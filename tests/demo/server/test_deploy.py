"""A running Space: the copy of the votes, ZeroGPU."""

import sys
import types

import numpy as np
import pytest
import torch

import app
import gpen
from demo.server import zerogpu
from demo.tabs import rate
from eval.preference.storage.store import VoteStore
from eval.preference.study import Study
from eval.preference.survey import Survey
from gpen.errors import GPENError
from gpen.faces.samples import SAMPLES


def test_votes_are_mirrored_if_dataset_is_set(study, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr("eval.preference.mirror.hub.Mirror.start", lambda mirror: started.append(mirror.repo))
    monkeypatch.delenv("GPEN_VOTES_REPO", raising=False)
    survey = Survey(Study.open(study), VoteStore.open(tmp_path / "votes.sqlite"))
    rate.start_mirror(survey)
    monkeypatch.setenv("GPEN_VOTES_REPO", "me/ratings")
    rate.start_mirror(None)
    assert not started and survey.mirror is None
    rate.start_mirror(survey)
    assert started == ["me/ratings"] and survey.mirror.repo == "me/ratings"
    survey.store.close()


def test_unreachable_dataset_exits_with_one_line_error(study, tmp_path, monkeypatch):
    def unreachable(*_):
        raise GPENError("the dataset me/ratings cannot be reached")

    monkeypatch.setenv("GPEN_VOTES_REPO", "me/ratings")
    monkeypatch.setattr("eval.preference.mirror.hub.Mirror.start", unreachable)
    monkeypatch.setenv("GPEN_STUDY", str(study))
    monkeypatch.setenv("GPEN_VOTES", str(tmp_path / "votes.sqlite"))

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


@pytest.mark.slow
def test_zerogpu_startup_requests_no_gpu(restorer, spaces_package):
    lent, moved = spaces_package
    made = zerogpu.make_restorer(restorer.net)
    assert zerogpu.startup_restorer(made).net is restorer.net and made.net is not restorer.net
    page = app.build(made)
    assert moved == ["cuda"] and not lent
    load = next(function.fn for function in page.fns.values() if function.name == "load_recipe")
    load(b'{"scale": 2}', SAMPLES["astronaut"].load(restorer.net.size), "", False)
    assert len(lent) == 1
