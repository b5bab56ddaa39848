"""The notebooks have the required parts and saved outputs that agree with the archives, and run from top to bottom."""

import re
import sys
from pathlib import Path

import nbformat
import pytest

from eval.data.protocols import find_protocol
from eval.report import archive
from gpen.training.data import hub

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
SOLUTIONS = FOLDER / "solutions.ipynb"
LESSONS = sorted(FOLDER.glob("0*.ipynb"))
NOTEBOOKS = [*LESSONS, SOLUTIONS]
TIMEOUT = 300  # seconds per notebook on two cores
MAX_CELL_LINES = 24
MIB = 2**20
PARTS = ("You will", "**Goals**", "**Prerequisites**", "**Time**", "**Needs**", "**Terms of this notebook**")
ARCHIVED = re.compile(r'archived\("([\w-]+)"\)')
TABLE = re.compile(r'^(\w+)\.table\("([\w-]+)"\)$')

sys.path.insert(0, str(FOLDER))
import badges  # noqa: E402  # a script of the folder of notebooks, which is no package

every = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def code(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def text(path):
    return "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")


def test_notebooks_are_numbered_consecutively():
    assert [path.stem[:3] for path in LESSONS] == [f"{k:02d}-" for k in range(9)]


@lesson
def test_first_cell_states_goals_prerequisites_time_needs_and_terms(path):
    first = read(path).cells[0].source
    assert first.startswith(f"# {path.stem[:2]} ") and all(part in first for part in PARTS)
    assert re.search(r"\d+ minutes", first) and first.count("\n- *") >= 5


@lesson
def test_three_predictions_come_before_their_folded_answers(path):
    sources = [cell.source for cell in read(path).cells]
    (asked,) = [k for k, source in enumerate(sources) if source.startswith("## Predictions")]
    assert len(re.findall(r"^\d\. ", sources[asked], re.M)) == 3
    for k in range(1, 4):
        (answered,) = [at for at, source in enumerate(sources) if f"<summary>Answer to prediction {k}</summary>" in source]
        assert answered > asked and sources[answered].startswith("<details>") and sources[answered].endswith("</details>")


@lesson
def test_exercises_have_results_minutes_difficulty_and_solutions(path):
    last = read(path).cells[-1].source
    assert last.startswith("## Exercises") and "(solutions.ipynb)" in last
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in last.splitlines() if re.match(r"\| \d", line)]
    assert len(rows) >= 3 and all(len(row) == 5 and row[3].strip().isdigit() and row[4].strip() for row in rows)
    title = read(path).cells[0].source.splitlines()[0][2:]
    (section,) = [part for part in text(SOLUTIONS).split("\n## ") if part.startswith(title[:2])]
    assert all(f"**{k}.**" in section for k in range(1, len(rows) + 1)), f"{title}: an exercise has no solution."


@lesson
def test_library_is_checked_by_assert(path):
    assert sum("assert " in cell.source for cell in code(path)) >= 1


@every
def test_links_to_colab_lead_to_the_repository_or_are_left_out(path):
    address = badges.repository()
    links = re.findall(r"\S*colab\.research\.google\.com\S*", text(path))
    assert links == ([badges.link(address, path.name).strip()] if badges.link(address, path.name) else [])
    assert f'REPOSITORY = "{address}"' in code(path)[0].source


def test_links_are_written_and_removed(tmp_path):
    path = tmp_path / LESSONS[0].name
    path.write_bytes(LESSONS[0].read_bytes())
    badges.write(path, "https://github.com/OWNER/NAME")
    assert f"(https://colab.research.google.com/github/OWNER/NAME/blob/main/notebooks/{path.name})" in text(path)
    assert 'REPOSITORY = "https://github.com/OWNER/NAME"' in code(path)[0].source
    badges.write(path, "")
    assert "colab.research" not in text(path) and 'REPOSITORY = ""' in code(path)[0].source


@every
def test_parameters_are_in_one_cell_with_full_size_values(path):
    (parameters,) = [cell for cell in code(path) if "parameters" in cell.metadata.get("tags", [])]
    assert "at full size" in parameters.source and parameters.source == code(path)[1].source


@pytest.mark.parametrize("path", LESSONS[:5], ids=lambda path: path.stem)
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
def test_saved_tables_have_the_numbers_of_the_archives(path):
    cells, names = code(path), {}
    for cell in cells:
        for line in cell.source.splitlines():
            if found := ARCHIVED.findall(line):
                variables = re.match(r"[\w, ]+(?= = )", line)
                names |= dict(zip(variables.group().split(", "), found, strict=True)) if variables else {}
        if (shown := TABLE.match(cell.source)) and shown[1] in names:
            table = archive.read(archive.RESULTS / f"{names[shown[1]]}.json").table(shown[2])
            (output,) = cell.outputs
            saved = [float(x) for x in re.findall(r"<td>(-?\d+\.\d+)</td>", output["data"]["text/html"])]
            expected = [x for row in table.select_dtypes("float").to_numpy().tolist() for x in row if x == x]
            assert saved == pytest.approx(expected, abs=1e-4), f"{path.name} has old numbers of {names[shown[1]]}: run it again."


def test_super_resolution_and_blind_restoration_show_archived_tables():
    for path in LESSONS[3:5]:
        assert "archived(" in "".join(cell.source for cell in code(path))
        assert sum(bool(TABLE.match(cell.source)) for cell in code(path)) >= 3


def test_readme_lists_every_notebook_with_its_minutes():
    readme = (FOLDER / "README.md").read_text()
    for path in LESSONS:
        minutes = re.search(r"\*\*Time\*\* \| (\d+) minutes", read(path).cells[0].source)[1]
        (row,) = [line for line in readme.splitlines() if line.startswith("| [") and f"({path.name})" in line]
        assert row.split(" | ")[2] == minutes
    assert "two lessons of 90 minutes" in readme


@every
def test_commands_in_notebooks_exist(path):
    sources = "\n".join(cell.source for cell in read(path).cells)
    assert "study build --run" not in sources and not re.search(r"github\.com/gpen/gpen|spaces/gpen/gpen", sources)


@every
def test_cells_are_short(path):
    assert max(cell.source.count("\n") for cell in code(path)) < MAX_CELL_LINES


@pytest.mark.slow
@every
def test_notebook_runs(path):
    nbclient = pytest.importorskip("nbclient")
    notebook = read(path)
    nbclient.NotebookClient(notebook, timeout=TIMEOUT, resources={"metadata": {"path": str(FOLDER)}}).execute()
