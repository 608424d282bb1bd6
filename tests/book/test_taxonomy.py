"""The taxonomy against a table written apart from it, its questions and its errors."""

import itertools
import re

import pytest

from attnlib.book import taxonomy
from attnlib.book.taxonomy import CRITERIA, SURVEYS, WORKS, Placed, cells, select
from book._tools import toc

BOOK = toc.ROOT / "book"
# Each work's place, written by hand from the papers: softness; input form; input representation; output representation.
TABLE = """
bahdanau2015   soft global        item-wise      distinctive               single-output
xu2015         soft hard global   item-wise      distinctive               single-output
luong2015      soft global local  item-wise      distinctive               single-output
mnih2014       hard               location-wise  self                      single-output
ba2015         hard               location-wise  self                      single-output
jaderberg2015  soft local         location-wise  self                      single-output
hu2018         soft               item-wise      self                      single-output
lu2016         soft global        item-wise      co-attention hierarchical single-output
fan2018        soft global        item-wise      co-attention              multi-dimensional
wang2016       soft               item-wise      distinctive               single-output
yang2016       soft global        item-wise      self hierarchical         single-output
zhao2018       soft global        item-wise      distinctive hierarchical  single-output
xiao2015       hard               location-wise  self hierarchical         single-output
vaswani2017    soft global        item-wise      distinctive self          multi-head
lin2017        soft global        item-wise      self                      multi-dimensional
du2018         soft global        item-wise      self hierarchical         multi-dimensional
shen2018       soft global        item-wise      self                      multi-dimensional
"""


# -------------------------------------------------------------------------------------------------------- the data


def test_table_2():
    assert {one.name: one.names for one in CRITERIA} == {
        "softness": ("soft", "hard", "global", "local"),
        "input_form": ("item-wise", "location-wise"),
        "input_representation": ("distinctive", "self", "co-attention", "hierarchical"),
        "output_representation": ("single-output", "multi-head", "multi-dimensional"),
    }
    every = [kind for one in CRITERIA for kind in one.types]
    assert len({kind.name for kind in every}) == len(every)  # a name alone says which criterion is meant
    assert all(kind.meaning for kind in every)
    assert all(one.question.endswith("?") for one in CRITERIA)


def test_the_works_stand_where_the_papers_put_them():
    rows = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in TABLE.strip().splitlines())
    assert [work.source for work in WORKS] == list(rows)
    for work in WORKS:
        assert set(work.types) == set(rows[work.source].split()), work.name


def test_a_work_has_a_type_in_every_criterion():
    for work, one in itertools.product(WORKS, CRITERIA):
        assert work.of(one.name), (work.name, one.name)


def test_what_the_types_mean_holds_among_them():
    for work in WORKS:
        averages = set(work.softness) & {"global", "local"}
        assert not averages or "soft" in work.softness, "only an average runs over a window, or over all"
        assert set(work.softness) & {"soft", "hard"}
        assert set(work.input_representation) - {"hierarchical"}, "a level has queries of its own"


def test_the_works_are_in_the_bibliography_under_their_year():
    entries = (BOOK / "references.bib").read_text().split("\n@")
    for work in WORKS:
        (entry,) = [entry for entry in entries if re.match(rf"@?\w+{{{work.source},", entry)]
        year = int(re.search(r"year\s*=\s*\{(\d+)\}", entry)[1])
        assert work.source.endswith(str(work.year))
        assert year == work.year
        first = re.match(r"\w+", work.authors)[0]
        assert first in entry, f"{work.name}: {first} is no author of {work.source}"


def test_names_are_there_once():
    for field in ("name", "source"):
        values = [getattr(work, field) for work in WORKS]
        assert len(set(values)) == len(values)


# --------------------------------------------------------------------------------------------------- bad placements


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: Placed(softness="Aoft"), "unknown type 'Aoft' of softness; it has soft, hard, global, local"),
        (lambda: Placed(input_form="soft"), "unknown type 'soft' of input_form; it has item-wise, location-wise"),
        (lambda: Placed(softness=("soft", "soft")), "softness names a type twice: soft, soft"),
        (lambda: Placed(softness=""), "unknown type '' of softness"),
        (lambda: select(softnes="soft"), "unknown criterion 'softnes'; there are softness, input_form, input_repr"),
        (lambda: select(softness="multi-head"), "unknown type 'multi-head' of softness; it has soft"),
        (lambda: select(softness=("soft", "Soft")), "unknown type 'Soft' of softness"),
        (lambda: taxonomy.criterion("colour"), "unknown criterion 'colour'; there are softness"),
        (lambda: WORKS[0].of("colour"), "unknown criterion 'colour'"),
    ],
)
def test_bad_input_is_refused_and_told_what_exists(act, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        act()


def test_a_placement_cannot_be_changed():
    with pytest.raises(AttributeError):
        WORKS[0].softness = "hard"


# -------------------------------------------------------------------------------------------------------- questions


def check_select(select):
    """Against a plain loop: each way to ask for at most one type a criterion, and each pair of types of one."""
    questions = [
        {one.name: (name,) for one, name in zip(CRITERIA, names, strict=True) if name}
        for names in itertools.product(*((None, *one.names) for one in CRITERIA))
    ]
    questions += [{one.name: pair} for one in CRITERIA for pair in itertools.combinations(one.names, 2)]
    for asked in questions:
        expected = []
        for work in WORKS:
            if all(name in getattr(work, key) for key, names in asked.items() for name in names):
                expected.append(work)
        assert list(select(**asked)) == expected


def test_select_against_a_plain_loop():
    check_select(select)


WRONG = {
    "any type is enough": lambda work, asked: all(set(work.of(key)) & set(names) for key, names in asked.items()),
    "any criterion is enough": lambda work, asked: (
        not asked or any(set(names) <= set(work.of(key)) for key, names in asked.items())
    ),
    "nothing beyond what is asked": lambda work, asked: all(work.of(key) == names for key, names in asked.items()),
    "only the first criterion counts": lambda work, asked: all(
        set(names) <= set(work.of(key)) for key, names in list(asked.items())[:1]
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_select_is_rejected(wrong):
    with pytest.raises(AssertionError):
        check_select(lambda **asked: [work for work in WORKS if WRONG[wrong](work, asked)])


def test_select_several_types_means_all_of_them():
    assert [work.source for work in select(softness=("hard", "soft"))] == ["xu2015"]
    assert [work.source for work in select(input_representation=("self", "hierarchical"))] == [
        "yang2016",
        "xiao2015",
        "du2018",
    ]
    assert select(softness=()) == select() == WORKS
    assert [work.source for work in select(WORKS[:3], softness="hard")] == ["xu2015"]


def test_cells_are_all_ways_to_take_one_type_a_criterion():
    assert len(cells()) == len(set(cells())) == 4 * 2 * 4 * 3
    for work in WORKS:
        found = cells(work)
        assert len(found) == len(set(found))
        assert set(found) == {cell for cell in cells() if set(cell) <= set(work.types)}
    assert cells(Placed(softness="soft")) == ()


def test_surveys_name_our_types_and_leave_known_gaps():
    known = {name for one in CRITERIA for name in one.names}
    for survey in SURVEYS:
        assert {ours for axis in survey.axes.values() for kinds in axis.values() for ours in kinds} <= known
    chaudhari, brauwers = (taxonomy.unmatched(survey) for survey in SURVEYS)
    assert chaudhari == (
        ("item-wise", "location-wise", "single-output", "multi-head"),
        ("single-level", "multi-representational"),
    )
    assert brauwers[0] == ("item-wise", "location-wise")
    assert "multi-hop" in brauwers[1]
    assert "multi-head" not in brauwers[1]


def test_the_chapter_shows_the_surveys_as_they_are_kept():
    page = (BOOK / "taxonomy" / "index.ipynb").read_text()
    for survey in SURVEYS:
        assert f"**{survey.name}**" in page
        for axis, kinds in survey.axes.items():
            ours = dict.fromkeys(name for names in kinds.values() for name in names)
            assert f"| {axis} | {', '.join(kinds)} | {', '.join(ours) or 'none'} |" in page
