"""The examples in README.md and docs/ run as written, and all links exist."""

import re

import cv2
import numpy as np
import pytest
import torch
import yaml

import gpen
from demo.languages import english
from eval.metrics.registry import METRICS
from gpen.models import checkpoints
from gpen.training.data import hub
from tests import ROOT

README = (ROOT / "README.md").read_text()
API = (ROOT / "docs" / "api.md").read_text()
CARD = (ROOT / "assets" / "MODEL_CARD.md").read_text()
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "assets/MODEL_CARD.md", "notebooks/README.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))


def snippet(text: str, heading: str) -> str:
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.search(r"```python\n(.*?)```", section, re.S).group(1)


def test_space_front_matter_matches_requirements():
    front = yaml.safe_load(README.split("---\n")[1])
    assert f"gradio[mcp]=={front['sdk_version']}" in (ROOT / "requirements.txt").read_text()
    assert front["sdk"] == "gradio" and (ROOT / front["app_file"]).is_file()
    assert set((ROOT / "packages.txt").read_text().split()) == {"libgl1", "libglib2.0-0"}


def test_space_front_matter_describes_the_space():
    front = yaml.safe_load(README.split("---\n")[1])
    assert front["title"] == english("page.title") and len(front["short_description"]) <= 60  # characters, the limit of the Hub
    assert front["suggested_hardware"] == "cpu-basic" and "face-restoration" in front["tags"]
    assert front["datasets"] == [hub.named(name).dataset for name in ("ffhq", "celeba-hq")]
    assert "OWNER/NAME" in front["thumbnail"] and (ROOT / front["thumbnail"].rsplit("/main/")[1]).is_file()


def test_model_card_front_matter_agrees_with_the_weights():
    front = yaml.safe_load(CARD.split("---\n")[1])
    licence = checkpoints.read_metadata(checkpoints.find("gpen-256"))["licence"]
    assert front["license"] == licence.lower().replace(" ", "-") and f"under [{licence}]" in " ".join(CARD.split())
    assert front["datasets"] == [hub.named("ffhq").dataset] and front["pipeline_tag"] == "image-to-image"
    assert set(front["metrics"]) <= set(METRICS)


@pytest.mark.parametrize("file", sorted((ROOT / "assets").glob("*.safetensors")), ids=lambda path: path.stem)
def test_every_weight_file_has_a_model_card_with_its_licence(file):
    (section,) = [part for part in re.split(r"^# ", CARD, flags=re.M) if part.startswith(f"{file.stem}: model card")]
    entry = checkpoints.read_metadata(file).get("licence", "research, teaching and demonstration")
    assert f"assets/{file.name}" in section and entry in " ".join(section.split()) and file.stem in README


@pytest.mark.slow
def test_quick_start_runs_as_pasted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(snippet(README, "Quick start"), {})
    low, restored, face = np.split(cv2.imread("comparison.png").astype(float), 3, axis=1)
    sharpness_low, sharpness_restored = (cv2.Laplacian(image, cv2.CV_64F).std() for image in (low, restored))
    assert sharpness_restored > 2 * sharpness_low and np.abs(restored - face).mean() < 8


@pytest.mark.slow
def test_python_example_runs_with_default_model():
    face = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    image = np.full((120, 160, 3), 128, np.uint8)
    names = {"face": face, "image": image, "x": torch.zeros(1, 3, 256, 256)}
    exec(snippet(API, "Python"), names)
    assert names["y"].shape == (1, 3, 256, 256)
    assert names["result"].faces == [] and (names["result"].image == image).all()


@pytest.mark.slow
def test_api_example_runs(server, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("face.png", cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))
    names = {}
    exec(snippet(API, "HTTP and MCP").replace("http://127.0.0.1:7860", server), names)
    assert gpen.Degradation.from_dict(names["parameters"]).scale == 4
    assert cv2.imread(names["restored"]) is not None


def anchors(page):
    """The anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_all_links_and_their_headings_exist(page):
    for link, heading in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", page.read_text()):
        target = page.parent / link if link else page
        assert target.exists() and (not heading or heading in anchors(target)), f"{link}#{heading}"


def test_front_matter_of_the_model_card_describes_the_model():
    front = yaml.safe_load(CARD.split("---\n")[1])
    assert front["license"] == "cc-by-nc-sa-4.0" and front["datasets"] == [hub.named("ffhq").dataset]
    assert front["pipeline_tag"] == "image-to-image" and {"psnr", "ssim"} <= set(front["metrics"])


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_readme_links_every_page_of_docs(page):
    assert f"(docs/{page.name})" in README
