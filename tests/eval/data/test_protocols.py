"""eval.data.protocols: the descriptions of published test sets, and the comparison of a folder with one."""

import hashlib
from dataclasses import replace

import cv2
import numpy as np
import pytest

from eval.__main__ import main
from eval.data import protocols
from eval.data.protocols import CONTENT, find_protocol
from eval.metrics.registry import METRICS
from gpen.errors import GPENError

COUNTS = {
    "celeba-test": [3000], "lfw-test": [1711], "webphoto-test": [407, 469], "celebchild-test": [180], "wider-test": [970],
    "ffhq": [70000], "celeba-hq": [30000],
}  # fmt: skip


def test_descriptions_are_complete():
    assert {name: protocol.images for name, protocol in protocols.protocols().items()} == COUNTS
    for protocol in protocols.protocols().values():
        assert protocol.content in CONTENT and protocol.size in (512, 1024)
        assert protocol.licence and protocol.sources and all("http" in source or "hf:" in source for source in protocol.sources)
        assert protocol.metrics and set(protocol.metrics) <= METRICS.keys()
        assert protocol.conventions and all(sentence.endswith(".") for sentence in protocol.conventions)


def test_list(capsys):
    assert main(["protocol", "list"]) == 0
    text = capsys.readouterr().out
    assert all(f"{name}: " in text for name in COUNTS) and "407 or 469 images of 512 px" in text
    assert text.count("hashes     not known") == len(COUNTS)
    assert main(["protocol", "list", "--name", "ffhq"]) == 0
    assert capsys.readouterr().out.startswith("ffhq: FFHQ, 70,000 images of 1024 px, sharp faces\n")


@pytest.fixture
def test_set(tmp_path, monkeypatch):
    """A folder with three images and its protocol "small"."""
    folder = tmp_path / "set"
    folder.mkdir()
    for i in range(3):
        cv2.imwrite(str(folder / f"{i:05d}.png"), np.full((48, 48, 3), i, np.uint8))
    small = replace(find_protocol("ffhq"), name="small", title="Small", images=[3], size=48)
    monkeypatch.setattr(protocols, "protocols", lambda: {"small": small})
    return folder


def verify(folder, capsys, *arguments):
    status = main(["protocol", "verify", str(folder), *arguments])
    printed = capsys.readouterr()
    return status, printed.out + printed.err


def test_verify(test_set, capsys):
    for arguments in ([], ["--name", "small"]):
        status, text = verify(test_set, capsys, *arguments)
        assert status == 0 and "agrees with Small: 3 images, 48 px, names; no hashes of this set are known" in text
    cv2.imwrite(str(test_set / "other.png"), np.zeros((32, 40, 3), np.uint8))
    status, text = verify(test_set, capsys, "--name", "small")
    assert status == 2 and "4 images, not 3; 1 images not of 48 px, such as 40 x 32; 1 unknown names, such as other.png" in text
    status, text = verify(test_set, capsys)
    assert status == 2 and "agrees with no protocol (small)" in text


def test_hashes(test_set, capsys, monkeypatch):
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in test_set.iterdir()}
    small = replace(find_protocol("small"), sha256=hashes)
    monkeypatch.setattr(protocols, "protocols", lambda: {"small": small})
    assert "the hashes of 3 files agree" in verify(test_set, capsys)[1]
    (test_set / "00001.png").write_bytes((test_set / "00000.png").read_bytes())
    status, text = verify(test_set, capsys, "--name", "small")
    assert status == 2 and "1 files with another content, such as 00001.png" in text


def test_invalid_arguments(capsys):
    for arguments, words in ((["verify"], "protocol verify DIR"), (["list", "x"], "list has none"),
                             (["list", "--name", "x"], "Unknown protocol 'x'")):  # fmt: skip
        assert main(["protocol", *arguments]) == 2
        assert words in capsys.readouterr().err


def test_protocol_of_a_run(faces_folder, tmp_path, capsys):
    pack = find_protocol("celeba-test")
    pack.check_run(3000, 512, ("paired",))
    for count, size, tasks, words in (
        (3000, 512, ("bfr",), "has given inputs; run it with: python -m eval run paired"),
        (2999, 512, ("paired",), "2,999 images and --size 512, the protocol celeba-test 3,000 images of 512 px"),
        (3000, 256, ("paired",), "--size 256"),
    ):
        with pytest.raises(GPENError, match=words):
            pack.check_run(count, size, tasks)
    command = [
        "run",
        "wild",
        "--data",
        str(faces_folder),
        "--out",
        str(tmp_path / "run"),
        "--size",
        "64",
        "--metrics",
        "niqe_fitted",
    ]
    assert main([*command, "--protocol", "lfw-test"]) == 2
    assert "the protocol lfw-test 1,711 images of 512 px" in capsys.readouterr().err
    assert main([*command, "--protocol", "lfw"]) == 2 and "Unknown protocol 'lfw'" in capsys.readouterr().err
