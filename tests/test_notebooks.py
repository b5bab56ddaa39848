"""The notebooks have the required parts and saved outputs, and run from top to bottom."""

import re
from pathlib import Path

import nbformat
import pytest

from eval.data.protocols import find_protocol
from gpen.training.data import hub

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
TIMEOUT = 300  # seconds per notebook on two cores
MAX_CELL_LINES = 24
MIB = 2**20

every = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def code(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def test_notebooks_are_numbered_consecutively():
    assert [path.stem[:3] for path in NOTEBOOKS] == [f"{k:02d}-" for k in range(1, 9)]


@every
def test_first_cell_states_goals_and_links_and_last_cell_is_exercises(path):
    first, *_, last = read(path).cells
    assert first.source.startswith(f"# {path.stem[:2]} ") and "You will" in first.source.replace("\n", " ")
    assert f"colab.research.google.com/github/gpen/gpen/blob/main/notebooks/{path.name}" in first.source
    assert "huggingface.co/spaces/gpen/gpen" in first.source
    assert last.source.startswith("## Exercises") and last.source.count("\n") >= 4


@every
def test_parameters_are_in_one_cell_with_full_size_values(path):
    (parameters,) = [cell for cell in code(path) if "parameters" in cell.metadata.get("tags", [])]
    assert "at full size" in parameters.source
    assert parameters is code(path)[1] or parameters.source == code(path)[1].source


@pytest.mark.parametrize("path", NOTEBOOKS[:4], ids=lambda path: path.stem)
def test_faces_at_full_size_are_test_faces_of_at_least_this_size(path):
    (parameters,) = [cell for cell in code(path) if "parameters" in cell.metadata.get("tags", [])]
    name, size = re.search(r'at full size: "([^"]+)", (\d+)', parameters.source).groups()
    known = find_protocol(name.removesuffix("-test"))
    assert name.endswith("-test") and int(size) <= known.size and known.sources[0].startswith(f"hf:{hub.named(name).dataset} ")


@every
def test_outputs_are_saved_small_and_without_errors(path):
    outputs = [output for cell in code(path) for output in cell.outputs]
    assert all(cell.execution_count for cell in code(path))
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert path.stat().st_size < MIB


@every
def test_cells_are_short(path):
    assert max(cell.source.count("\n") for cell in code(path)) < MAX_CELL_LINES


@pytest.mark.slow
@every
def test_notebook_runs(path):
    nbclient = pytest.importorskip("nbclient")
    notebook = read(path)
    nbclient.NotebookClient(notebook, timeout=TIMEOUT, resources={"metadata": {"path": str(FOLDER)}}).execute()
