"""eval.report.prose: the figures in the sentences of README.md, docs and the model card agree with archives and benchmarks."""

import re
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpen
from eval.report.compact import page_name, write_tables
from eval.report.prose import FIGURES, covered, sentences, with_figures
from gpen.errors import GPENError
from tests import ROOT

DESCRIBED = [sentence["page"] for sentence in tomllib.loads(FIGURES.read_text())["sentence"]]
LICENCES = {"2.0", "4.0"}
OTHERS = {  # decimal fractions that no archive contains
    "README.md": LICENCES | {"7.7"},  # parameters, see the test below
    "docs/results.md": {"0.05"},  # the weight of a loss
    "assets/MODEL_CARD.md": LICENCES | {"0.08", "0.15", "1.1", "2.0"},  # settings and the version of SqueezeNet
}
START = '[[sentence]]\npage = "a.md"\n'


def prose(text):
    """The text with spaces in place of front matter, code, tables and links, at the same positions."""
    parts = r"\A---\n.*?\n---\n|```.*?```|<!-- table.*?<!-- /table -->|^    .*$|^\|.*$|`[^`]*`|\]\([^)]*\)"
    return re.sub(parts, lambda match: " " * len(match[0]), text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", sorted(set(DESCRIBED)))
def test_sentences_have_the_figures_of_the_archives(page):
    text = (ROOT / page).read_text()
    assert page_name(ROOT / page) == page
    assert with_figures(text, sentences(page)) == text, f"run python -m eval tables {page}"


@pytest.mark.parametrize("page", OTHERS)
def test_decimal_fractions_in_prose_are_checked(page):
    """Every measured value in prose has an entry in docs/figures.toml."""
    text = (ROOT / page).read_text()
    spans = covered(text, sentences(page))
    found = {match[0]: match.start() for match in re.finditer(r"(?<![\w.])\d+\.\d+(?![\w.])", prose(text))}
    unknown = {value for value, at in found.items() if not any(start <= at < end for start, end in spans)}
    assert unknown - OTHERS[page] == set()


def test_readme_has_the_number_of_parameters_of_the_default_model():
    millions = sum(parameter.numel() for parameter in gpen.load().parameters()) / 1e6
    assert f"{millions:.1f} million parameters" in (ROOT / "README.md").read_text()


@given(st.floats(0.01, 99), st.floats(0.01, 99), st.sampled_from([" ", "\n", "  \n"]))
def test_figures_are_replaced_across_line_breaks(tmp_path_factory, old, new, gap):
    root = tmp_path_factory.mktemp("root")
    (root / "a.json").write_text(f'{{"rows": [{{"x": {new}}}]}}')
    figure = {"file": "a.json", "key": "rows.0.x", "decimals": 2}
    sentence = {"page": "a.md", "text": "It takes {} s at most.", "figures": [figure]}
    text = f"First 1.5. It takes{gap}{old:.2f} s{gap}at most. Then 2.5."
    written = with_figures(text, [sentence], root)
    assert written == text.replace(f"{old:.2f} s", f"{new:.2f} s") and with_figures(written, [sentence], root) == written
    ((start, end),) = covered(written, [sentence])
    assert written[start:end] == f"{new:.2f}"


@pytest.mark.parametrize(("change", "message"), [
    ({"text": "It takes {} h."}, "contains this sentence 0 times"),
    ({"text": "{} s"}, "contains this sentence 2 times"),
    ({"figures": []}, "has 1 figures, not 0"),
    ({"figures": [{"file": "none.json", "key": "x"}]}, "no value for the figure"),
    ({"figures": [{"runs": ["ffhq-fsr"], "tasks": ["fsr8"], "metric": "psnr", "methods": ["none"]}]}, "no value for the figure"),
    ({"figures": [{"runs": ["ffhq-fsr"], "tasks": ["fsr8"], "metric": "psnr", "methods": ["gpen", "tv"]}]}, "has 2 values"),
])  # fmt: skip
def test_sentences_and_values_that_do_not_exist_are_errors(change, message):
    sentence = {"page": "a.md", "text": "It takes {} s.", "figures": [{"runs": ["ffhq-fsr"], "of": "images"}]}
    with pytest.raises(GPENError, match=message):
        with_figures("It takes 5 s. Or 6 s.", [sentence | change])


def test_command_writes_the_figures_of_a_page(tmp_path, monkeypatch):
    described = START + 'text = "{} photographs"\nfigures = [{runs = ["ffhq-fsr"], of = "images"}]\n'
    (tmp_path / "figures.toml").write_text(described)
    page = tmp_path / "a.md"
    page.write_text("Over 7\nphotographs.")
    monkeypatch.setattr("eval.report.compact.ROOT", tmp_path)
    monkeypatch.setattr("eval.report.compact.sentences", lambda name: sentences(name, tmp_path / "figures.toml"))
    assert write_tables(page).read_text() == "Over 110\nphotographs."
