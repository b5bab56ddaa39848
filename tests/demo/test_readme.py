"""What README.md shows runs as it stands there."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import gpen

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def snippet(heading: str) -> str:
    section = README.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.search(r"```python\n(.*?)```", section, re.S).group(1)


def test_the_space_s_front_matter_fits_the_requirements():
    front = dict(line.split(": ", 1) for line in README.split("---\n")[1].splitlines())
    assert f"gradio[mcp]=={front['sdk_version']}" in (ROOT / "requirements.txt").read_text()
    assert front["sdk"] == "gradio" and (ROOT / front["app_file"]).is_file()
    assert set((ROOT / "packages.txt").read_text().split()) == {"libgl1", "libglib2.0-0"}


def test_the_python_example_runs_with_the_default_model():
    face = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    image = np.full((120, 160, 3), 128, np.uint8)
    names = {"face": face, "image": image, "x": torch.zeros(1, 3, 256, 256)}
    exec(snippet("In Python"), names)
    assert names["y"].shape == (1, 3, 256, 256)
    assert names["result"].faces == [] and (names["result"].image == image).all()


def test_the_api_example_runs(server, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("face.png", cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))
    names = {}
    exec(snippet("From another program").replace("http://127.0.0.1:7860", server), names)
    assert gpen.Degradation.from_dict(names["parameters"]).scale == 4
    assert cv2.imread(names["restored"]) is not None


@pytest.mark.parametrize("picture", re.findall(r"!\[.*?\]\((.*?)\)", README) + re.findall(r"\]\((?!http)([^)#]*)\)", README))
def test_every_picture_and_link_is_there(picture):
    assert (ROOT / picture).exists()
