"""The notebooks: what each must have, and that they run from top to bottom."""

from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SECONDS = 300  # that one may take on two cores
MIB = 2**20

every = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def code(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def test_they_are_numbered_without_a_gap():
    assert [path.stem[:3] for path in NOTEBOOKS] == [f"{k:02d}-" for k in range(1, 9)]


@every
def test_it_opens_with_what_you_learn_and_links_and_ends_with_exercises(path):
    first, *_, last = read(path).cells
    assert first.source.startswith(f"# {path.stem[:2]} ") and "You will" in first.source.replace("\n", " ")
    assert f"colab.research.google.com/github/gpen/gpen/blob/main/notebooks/{path.name}" in first.source
    assert "huggingface.co/spaces/gpen/gpen" in first.source
    assert last.source.startswith("## Exercises") and last.source.count("\n") >= 4


@every
def test_its_parameters_stand_in_one_cell_with_those_of_full_size(path):
    (parameters,) = [cell for cell in code(path) if "parameters" in cell.metadata.get("tags", [])]
    assert "at full size" in parameters.source
    assert parameters is code(path)[1] or parameters.source == code(path)[1].source


@every
def test_its_outputs_are_saved_small_and_without_errors(path):
    outputs = [output for cell in code(path) for output in cell.outputs]
    assert all(cell.execution_count for cell in code(path))
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert path.stat().st_size < MIB


@every
def test_its_cells_are_short(path):
    assert max(cell.source.count("\n") for cell in code(path)) < 20


@every
def test_it_runs(path):
    nbclient = pytest.importorskip("nbclient")
    notebook = read(path)
    nbclient.NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": str(FOLDER)}}).execute()
