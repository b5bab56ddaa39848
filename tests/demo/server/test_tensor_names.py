"""Names of tensors, read without the tensors."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gpen
from demo.server.tensor_names import holds_restoration_network, read_names
from gpen.models.checkpoints import ASSETS
from gpen.models.published import to_published

RRDB = {"conv_first.weight": torch.zeros(4, 3, 3, 3), "body.0.rdb1.conv1.weight": torch.zeros(4, 4, 3, 3)}  # ESRGAN


@pytest.fixture
def net():
    return gpen.GPEN(gpen.GPENConfig(size=64, narrow=0.0625))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("key", [None, "g_ema"])
def test_names_of_a_pth_file_in_both_formats_of_torch(tmp_path, zipped, key):
    state = {"ecd0.0.0.weight": torch.zeros(2), "generator.input.input": torch.ones(3)}
    torch.save({key: state, "g": 1} if key else state, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert read_names(tmp_path / "a.pth") >= state.keys() and holds_restoration_network(tmp_path / "a.pth")
    torch.save({"params_ema": RRDB}, tmp_path / "b.pth", _use_new_zipfile_serialization=zipped)
    assert read_names(tmp_path / "b.pth") >= RRDB.keys() and not holds_restoration_network(tmp_path / "b.pth")


def test_layout_of_this_package_is_recognised(tmp_path, net):
    gpen.save(net, tmp_path / "a.safetensors")
    torch.save(net.state_dict(), tmp_path / "a.pth")
    assert read_names(tmp_path / "a.safetensors") == net.state_dict().keys() <= read_names(tmp_path / "a.pth")
    assert holds_restoration_network(tmp_path / "a.safetensors") and holds_restoration_network(tmp_path / "a.pth")
    assert not holds_restoration_network(ASSETS / "prior-64.safetensors")


def test_a_published_file_is_recognised(tmp_path, net):
    torch.save(to_published(net), tmp_path / "a.pth")
    assert holds_restoration_network(tmp_path / "a.pth")


def test_code_in_a_pickle_is_not_executed(tmp_path):
    (tmp_path / "a.pth").write_bytes(4 * b"cbuiltins\nexit\n(tR.")
    assert read_names(tmp_path / "a.pth") == {"builtins exit"}


@given(st.one_of(st.binary(), st.tuples(st.sampled_from([b"\x80\x02", b"PK\3\4", b"\x10" + bytes(7) + b"{"]), st.binary())))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.slow
def test_any_other_file_has_no_names_and_raises_nothing(tmp_path, content):
    path = tmp_path / "a.pth"
    path.write_bytes(content if isinstance(content, bytes) else b"".join(content))
    assert not holds_restoration_network(path)


def test_missing_files_and_truncated_archives_have_no_names(tmp_path, net):
    torch.save(net.state_dict(), tmp_path / "a.pth")
    data = (tmp_path / "a.pth").read_bytes()
    (tmp_path / "a.pth").write_bytes(data[: len(data) // 2])
    assert read_names(tmp_path / "a.pth") == set() == read_names(tmp_path / "b.pth")
