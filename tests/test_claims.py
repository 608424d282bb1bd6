"""claims: the card, the stored payload, and the gathering of stored notebooks."""

import json
import re

import nbformat
import pytest
from nbclient import NotebookClient

from attnlib import claims

GOOD = {
    "id": "demo-one",
    "claim": "Seven is more than five.",
    "source": "Ghaderi 2022, section 2.2",
    "experiment": "7 - 5, 3 seeds",
    "value": 2.0,
    "spread": 0.123456,
    "verdict": "supported",
}


def call(**changes):
    entry = GOOD | changes
    return claims.record(entry.pop("id"), **entry)


def stored(**changes):
    return GOOD | changes


def notebook(tmp_path, name, *payloads, title="A chapter", source="x = 1"):
    outputs = [{"output_type": "display_data", "data": {claims.MIME: p}, "metadata": {}} for p in payloads]
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["(label)=\n", f"# {title}\n"]},
        {"cell_type": "code", "metadata": {}, "source": [source], "outputs": outputs, "execution_count": 1},
    ]
    path = tmp_path / f"{name}.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}), "utf-8")
    return path


def test_outside_a_notebook_the_plain_text_is_printed(capsys):
    assert call() is None
    assert capsys.readouterr().out == (
        "Claim supported: Seven is more than five. (Ghaderi 2022, section 2.2)\n"
        "Experiment: 7 - 5, 3 seeds\nMeasured: 2 ± 0.123\n"
    )


def test_a_kernel_stores_card_text_and_payload(tmp_path):
    source = (
        "from attnlib import claims\n"
        "claims.record('demo-one', claim='a < b & c', source='us', experiment='e', value={'q': 4, 'p': 0.123456}, "
        "spread=None, verdict='refuted')"
    )
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(book, timeout=120, kernel_name="python3").execute()
    path = tmp_path / "run.ipynb"
    nbformat.write(book, path)
    (output,) = book.cells[0].outputs
    assert set(output.data) == {claims.MIME, "text/html", "text/plain"}
    assert output.data[claims.MIME]["value"] == [["q", 4], ["p", 0.123]]
    assert "Claim refuted" in output.data["text/html"]
    assert "a &lt; b &amp; c" in output.data["text/html"]
    (entry,) = claims.collect([path])
    assert entry.verdict == "refuted"
    assert list(entry.value.items()) == [("q", 4), ("p", 0.123)]  # as they were given, though files sort their keys
    assert entry.notebook == path


def test_the_card_names_the_verdict_in_words_and_sets_no_colour():
    card = claims._card(claims.Claim(**GOOD))
    assert "Claim supported" in card
    assert not re.search(r"(?<!-)\b(color|background)\s*:", card)
    assert 'aria-labelledby="claim-demo-one-verdict"' in card
    assert 'id="claim-demo-one-verdict"' in card


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"verdict": "true"}, ValueError, "verdict must be one of"),
        ({"id": "Demo One"}, ValueError, "id must be lower-case"),
        ({"id": "demo"}, ValueError, "id must be lower-case"),
        ({"claim": " "}, ValueError, "claim must not be empty"),
        ({"source": None}, TypeError, "source must be a str, got NoneType"),
        ({"value": float("nan")}, ValueError, "value must be finite"),
        ({"value": {"a": float("inf")}}, ValueError, r"value\['a'\] must be finite"),
        ({"value": True}, TypeError, "value must be a number, a text or a mapping, got bool"),
        ({"value": {}}, ValueError, "value must not be empty"),
        ({"value": None}, TypeError, "value must be a number"),
        ({"spread": [1.0]}, TypeError, "spread must be a number"),
    ],
)
def test_bad_records_say_what_is_wrong(changes, error, words, unchecked):
    with pytest.raises(error, match=words):
        call(**changes)


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        (0.98765, 0.988),
        (1234.5, 1230.0),
        (7, 7),
        ("two of three", "two of three"),
        ({"a": 1e-9, "b": "none"}, {"a": 1e-9, "b": "none"}),
    ],
)
def test_numbers_are_rounded_to_three_significant_digits(quantity, expected):
    assert claims._rounded(quantity, "value") == expected


def test_tensors_and_numpy_numbers_become_plain_floats():
    import numpy
    import torch

    for number in (torch.tensor(0.98765), numpy.float32(0.98765)):
        assert type(claims._rounded(number, "value")) is float
        assert claims._rounded(number, "value") == 0.988


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (2.0, None, "2"),
        (0.5, 0.25, "0.5 ± 0.25"),
        ({"a": 1, "b": 0.5}, {"a": 0.1, "b": 0.2}, "a 1 ± 0.1; b 0.5 ± 0.2"),
        ({"a": 1}, "range over 5 seeds: 0 to 2", "a 1 (spread: range over 5 seeds: 0 to 2)"),
        ("all", None, "all"),
    ],
)
def test_a_measurement_reads_as_one_line(value, spread, text):
    assert claims._measured(claims.Claim(**stored(value=value, spread=spread))) == text


def test_collect_keeps_the_order_of_paths_and_cells(tmp_path):
    first = notebook(tmp_path, "b", stored(id="b-two"), stored(id="b-one"), title="Second letter")
    second = notebook(tmp_path, "a", stored(id="a-one", verdict="mixed"))
    found = claims.collect([first, second])
    assert [entry.id for entry in found] == ["b-two", "b-one", "a-one"]
    assert found[0].title == "Second letter"
    assert found[0].notebook == first
    assert claims.counts(found) == {"supported": 2, "mixed": 1, "refuted": 0}


def test_collect_refuses_an_id_used_twice(tmp_path):
    paths = [notebook(tmp_path, name, stored()) for name in ("a", "b")]
    with pytest.raises(ValueError, match=r"b\.ipynb, cell 1: id 'demo-one' is already used in .*a\.ipynb"):
        claims.collect(paths)


@pytest.mark.parametrize(
    "payload",
    [None, {"id": "demo-one"}, stored(verdict="?"), stored(value=None), stored(value=[1, 2]), stored() | {"x": 1}],
)
def test_collect_refuses_a_malformed_claim(tmp_path, payload):
    with pytest.raises(ValueError, match=r"a\.ipynb, cell 1: malformed claim"):
        claims.collect([notebook(tmp_path, "a", payload)])


def test_collect_refuses_a_recording_cell_without_output(tmp_path):
    with pytest.raises(ValueError, match="execute the notebook"):
        claims.collect([notebook(tmp_path, "a", source="claims.record('x-y')")])


def test_chapters_follow_the_table_of_contents(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("deep/two", "deep/one"):
        (tmp_path / f"{name}.ipynb").write_text("{}")
    toc = tmp_path / "_toc.yml"
    toc.write_text(
        "format: jb-book\nroot: index\nparts:\n- caption: P\n  chapters:\n  - file: deep/two.ipynb\n"
        "    sections:\n    - file: 'deep/one'  # last\n  - file: absent\n"
    )
    assert claims.chapters(toc) == [tmp_path / "deep/two.ipynb", tmp_path / "deep/one.ipynb"]


def test_the_table_links_each_chapter_and_escapes_markdown(tmp_path):
    (tmp_path / "deep").mkdir()
    path = notebook(tmp_path / "deep", "one", stored(claim="a|b costs $3 for *x*"), title="Scores")
    text = claims.table(claims.collect([path]), relative_to=tmp_path / "appendix")
    assert text.startswith("**[Scores](../deep/one.ipynb)**\n\n| The claim")
    assert r"a\|b costs \$3 for \*x\*" in text
    assert "**supported**" in text
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in text.splitlines()[2:])


def test_no_claims_give_an_empty_table_and_zero_counts():
    assert claims.table([]) == ""
    assert claims.counts([]) == {"supported": 0, "mixed": 0, "refuted": 0}
