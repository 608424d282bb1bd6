"""Pairs, splits, vocabularies, batches, the tasks with a known alignment, and the loaders on tiny samples of ours."""

import datetime
import itertools
import json
import pickle
import random
from collections import Counter

import pytest
import torch
from data_samples import messages, scripture, wheel

from attnlib.data import (
    DataError,
    Pair,
    Vocabulary,
    catalogues,
    collate,
    new_testament,
    split,
    tasks,
)


@pytest.fixture
def sample(tmp_path):
    """A folder, and a function that builds a wheel in it and gives its path."""

    def build(files):
        return tmp_path / wheel(tmp_path, "sample", "1.0", files).file

    return build


# --- pairs ------------------------------------------------------------------------------------------------------------


def test_a_pair_is_a_tuple_of_tuples_whatever_it_was_made_from():
    pair = Pair("k", iter(["a", "b"]), ["c"], [(0, 1), (0, 1)])
    assert pair == ("k", ("a", "b"), ("c",), frozenset({(0, 1)}))
    assert hash(pair) == hash(Pair(*pair))
    assert pickle.loads(pickle.dumps(pair)) == pair
    assert Pair("k", [], []).links == frozenset()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("link", [(2, 0), (0, 3), (-1, 0), (0, -1), (0,), (0, 1, 1)])
def test_a_link_outside_of_the_sentences_is_refused(link):
    with pytest.raises(ValueError, match=r"links of 'k'.*target position below 2, source position below 3"):
        Pair("k", ["a", "b", "c"], ["d", "e"], [link])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["source", "target"])
def test_a_sentence_that_is_one_text_is_refused(name):
    with pytest.raises(TypeError, match=rf"{name} of 'k'.*got the str 'ab'"):
        Pair("k", **({"source": ["a"], "target": ["b"]} | {name: "ab"}))


# --- splits -----------------------------------------------------------------------------------------------------------


def numbered(count):
    return [Pair(str(number), ["a"], ["b"]) for number in range(count)]


def parts_of(items, **options):
    """The part of each key."""
    return {item.key: name for name, part in split(items, **options)._asdict().items() for item in part}


def test_a_split_depends_on_nothing_but_the_key():
    items = numbered(2000)
    whole = parts_of(items)
    assert len(whole) == len(items)
    shuffled = random.Random(0).sample(items, 700)
    assert parts_of(shuffled) == {item.key: whole[item.key] for item in shuffled}
    assert parts_of([*items, *items]) == whole  # no key in two parts
    assert [int(item.key) for item in split(items).train] == sorted(int(item.key) for item in split(items).train)
    assert parts_of(items, salt="other") != whole


def test_a_split_is_the_same_on_every_machine():
    parts = split(numbered(100))
    assert [[int(pair.key) for pair in part] for part in (parts.dev, parts.test)] == [
        [46, 50, 91],
        [9, 39, 49, 51, 55, 65],
    ]


def test_a_split_has_about_the_shares_asked_for_and_test_does_not_depend_on_dev():
    items = numbered(5000)
    for dev, test in ((0.05, 0.1), (0.0, 0.2), (0.3, 0.0)):
        parts = split(items, dev=dev, test=test)
        for part, share in ((parts.dev, dev), (parts.test, test)):
            assert abs(len(part) / 5000 - share) <= 4 * (share * (1 - share) / 5000) ** 0.5
    assert split(items, dev=0.3).test == split(items).test


@pytest.mark.parametrize(("dev", "test"), [(-0.1, 0.1), (0.1, -0.1), (0.5, 0.5), (float("nan"), 0.1)])
def test_shares_that_leave_nothing_are_refused(dev, test):
    with pytest.raises(ValueError, match=f"dev and test must be shares.*got {dev} and {test}"):
        split(numbered(3), dev=dev, test=test)


# --- vocabulary and batches -------------------------------------------------------------------------------------------


def test_a_vocabulary_is_ordered_by_count_then_by_character_and_cut_from_its_end():
    sentences = [["b", "a", "c"], ["a", "c", "d"], ["a"]]
    assert Vocabulary.build(sentences).words[4:] == ["a", "c", "b", "d"]
    assert Vocabulary.build(sentences, least=2).words[4:] == ["a", "c"]
    assert Vocabulary.build(sentences, most=3).words[4:] == ["a", "c", "b"]
    assert Vocabulary.build(sentences, most=0).words == ["<pad>", "<bos>", "<eos>", "<unk>"]
    assert Vocabulary.build(sentences[::-1]) == Vocabulary.build(sentences)
    assert len(Vocabulary.build([])) == 4


def test_encode_and_decode_are_inverse_on_known_words():
    vocabulary = Vocabulary.build([["a", "b", "c"]])
    assert vocabulary.decode(vocabulary.encode(["c", "a", "b", "a"])) == ["c", "a", "b", "a"]
    assert vocabulary.decode(torch.tensor([1, 4, 2, 5])) == ["a"]
    assert vocabulary.encode(["never", "<eos>", "<pad>", "<unk>"]) == [3, 3, 3, 3]
    assert Vocabulary(vocabulary.words) == vocabulary
    assert "a" in vocabulary
    assert "never" not in vocabulary


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Vocabulary(["a"]), ValueError, "words must begin with <pad>, <bos>, <eos>, <unk>, got"),
        (lambda: Vocabulary([*Vocabulary.build([]).words, "a", "a"]), ValueError, "words must .*got 'a' twice"),
        (lambda: Vocabulary.build([["a"]], least=0), ValueError, "least must be at least 1, got 0"),
        (lambda: Vocabulary.build([["a"]], most=-1), ValueError, "most must be at least 0 or None, got -1"),
        (lambda: Vocabulary.build(["abc"]), TypeError, "sentences must .*got the str 'abc'"),
        (lambda: Vocabulary.build([["<eos>"]]), ValueError, "sentences must .*got <eos>"),
        (lambda: Vocabulary.build([]).encode("abc"), TypeError, "words must .*got the str 'abc'"),
        (lambda: Vocabulary.build([["a"]]).decode([5]), IndexError, "indices must be numbers from 0 to 4, got 5"),
        (lambda: Vocabulary.build([["a"]]).decode([-1]), IndexError, "indices must be numbers from 0 to 4, got -1"),
        (lambda: collate([], Vocabulary.build([]), Vocabulary.build([])), ValueError, "pairs must hold at least one"),
    ],
)
def test_bad_input_of_vocabulary_and_collate_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_batch_equals_what_a_loop_over_its_cells_gives():
    pairs = list(itertools.islice(tasks.dates(seed=1), 7))
    source, target = Vocabulary.build(p.source for p in pairs), Vocabulary.build(p.target for p in pairs)
    pairs.append(Pair("short", ["unheard"], [], []))
    batch = collate(pairs, source, target)
    width = max(len(pair.source) for pair in pairs) + 1
    assert batch.source.shape == (8, width)
    assert batch.target_in.shape == batch.target_out.shape == batch.target_mask.shape == (8, 11)
    assert {tensor.dtype for tensor in batch} == {torch.long, torch.bool}
    for row, pair in enumerate(pairs):
        for column in range(width):
            words = [*pair.source, "<eos>"]
            real = column < len(words)
            word = source.words[batch.source[row, column]]
            assert bool(batch.source_mask[row, column]) == real
            assert word == ("<unk>" if real and words[column] == "unheard" else words[column] if real else "<pad>")
        for column in range(11):
            told, answer = ["<bos>", *pair.target], [*pair.target, "<eos>"]
            real = column < len(answer)
            assert bool(batch.target_mask[row, column]) == real
            assert target.words[batch.target_in[row, column]] == (told[column] if real else "<pad>")
            assert target.words[batch.target_out[row, column]] == (answer[column] if real else "<pad>")


def test_a_batch_moves_as_one(device):
    words = Vocabulary.build([["a"]])
    assert {t.device.type for t in collate([Pair("k", ["a"], ["a"])], words, words).to(device)} == {device.type}


# --- tasks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [tasks.copy, tasks.reverse, tasks.dates])
def test_a_task_repeats_itself_by_its_seed_alone(task):
    first = list(task(seed=3, count=50))
    random.seed(0)
    assert first == list(itertools.islice(task(seed=3), 50))
    assert first != list(task(seed=4, count=50))
    assert list(task(count=0)) == []


@pytest.mark.parametrize("task", [tasks.copy, tasks.reverse])
def test_linked_words_of_copy_and_reverse_are_equal_one_to_one(task):
    seen = Counter()
    for pair in task(lengths=(1, 5), symbols=7, count=500):
        seen[len(pair.source)] += 1
        assert len(pair.links) == len(pair.source) == len(pair.target)
        assert {down for down, _ in pair.links} == {across for _, across in pair.links} == set(range(len(pair.source)))
        for down, across in pair.links:
            assert pair.target[down] == pair.source[across]
            assert across == (down if task is tasks.copy else len(pair.source) - 1 - down)
    assert set(seen) == {1, 2, 3, 4, 5}
    assert min(seen.values()) > 60


def test_every_character_of_a_date_can_be_told_from_the_words_it_is_linked_to():
    """Written from what a date is: a second reading, which knows nothing of the formats."""
    months = dict(
        zip(
            ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
            range(1, 13),
            strict=True,
        )
    )
    formats = Counter()
    for pair in tasks.dates(count=2000):
        year, month, day = "".join(pair.target).split("-")
        assert "-".join((year, month, day)) == pair.key
        assert 6 <= len(pair.source) <= 12
        to = {down: [across for d, across in pair.links if d == down] for down in range(10)}
        assert [len(to[down]) for down in range(10)] == [1, 1, 1, 1, 0, 1, 1, 0, 1, 1]
        read = [pair.source[to[down][0]] if to[down] else "-" for down in range(10)]
        assert "".join(read[:4]) == year
        for places, value in (((5, 6), month), ((8, 9), day)):
            across = [to[place][0] for place in places]
            said = [read[place] for place in places]
            if said[0][:3] in months:
                assert across[0] == across[1]
                assert months[said[0][:3]] == int(value)
            else:
                assert "".join(said) == value if across[0] != across[1] else f"0{said[0]}" == value
        formats[tuple("0" if word.isdigit() else word[:1] for word in pair.source)] += 1
    assert len(formats) > 10


def test_the_years_of_dates_are_those_asked_for_and_weekdays_are_true():
    years = {pair.key[:4] for pair in tasks.dates(years=(1999, 2001), count=500)}
    assert years == {"1999", "2000", "2001"}
    moon = tasks.written(datetime.date(1969, 7, 20), "{weekday} , {day} {month} {year}")
    assert moon.source[0] == "sunday"


@pytest.mark.parametrize(("day", "th"), [(1, "st"), (2, "nd"), (3, "rd"), (4, "th"), (11, "th"), (12, "th"), (13, "th"),
                                         (21, "st"), (22, "nd"), (23, "rd"), (30, "th"), (31, "st")])  # fmt: skip
def test_days_have_their_endings(day, th):
    pair = tasks.written(datetime.date(1987, 3, day), tasks.FORMATS[0])
    assert pair.source[1 + len(str(day))] == th


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tasks.copy(lengths=(0, 3)), r"lengths must be 1 <= shortest <= longest, got \(0, 3\)"),
        (lambda: tasks.reverse(lengths=(4, 3)), r"lengths must .*got \(4, 3\)"),
        (lambda: tasks.copy(symbols=0), "symbols must be at least 1, got 0"),
        (lambda: tasks.copy(count=-1), "count must be at least 0 or None, got -1"),
        (lambda: tasks.dates(count=-1), "count must be at least 0 or None, got -1"),
        (lambda: tasks.dates(years=(2000, 1999)), r"years must .*got \(2000, 1999\)"),
        (lambda: tasks.dates(years=(999, 1999)), r"years must .*got \(999, 1999\)"),
    ],
)
def test_bad_input_of_a_task_is_named_at_the_call(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- the New Testament ------------------------------------------------------------------------------------------------


def test_verses_are_joined_counted_again_and_ordered(sample):
    first, second, third = new_testament.load(sample(scripture()))
    assert first.key == "40001001"
    assert first.forms == ("Ὁ", 'λίθος"', "πίπτει")
    assert first.lemmas == ("ὁ", "λίθος", "πίπτω")
    assert first.words == ("The", "stone", "falls", "slowly")
    assert first.links == {(0, 0), (0, 1), (1, 0), (1, 1), (2, 2), (3, 2)}
    assert (second.words, second.links) == (("Fallen",), {(0, 0)})  # the link across verses is gone
    assert (third.key, third.words, third.links) == ("41003004", ("Silence",), frozenset())


def test_punctuation_is_kept_when_asked_for_and_moves_the_links(sample):
    verse = new_testament.load(sample(scripture()), punctuation=True)[0]
    assert verse.words == ("“", "The", "stone", ",", "falls", "slowly")
    assert verse.links == {(1, 0), (1, 1), (2, 0), (2, 1), (4, 2), (5, 2), (3, 2)}


def test_a_gloss_stands_at_the_place_of_its_form_without_marks_and_added_words(sample):
    path = sample(scripture())
    glosses = new_testament.glosses(path)
    assert glosses["40001001"] == ("the", "stone", "falls down")
    assert (glosses["40001002"], glosses["42001001"]) == (("falls",), ("",))
    for verse in new_testament.load(path):
        assert len(glosses[verse.key]) == len(verse.forms)
    files = scripture()
    files[new_testament.GREEK] = files[new_testament.GREEK].replace("gloss2", "gloss")
    with pytest.raises(DataError, match=r"expected data/sources/SBLGNT\.tsv in .*, got: .* without the column gloss2"):
        new_testament.glosses(sample(files))


@pytest.mark.usefixtures("unchecked")
def test_a_verse_becomes_a_pair_of_lemmas_or_forms(sample):
    verses = new_testament.load(sample(scripture()))
    assert new_testament.pairs(verses)[0] == ("40001001", ("ὁ", "λίθος", "πίπτω"),
                                              ("the", "stone", "falls", "slowly"), verses[0].links)  # fmt: skip
    assert new_testament.pairs(verses, source="forms")[1].source == ("πίπτει",)
    assert verses[1].pair(source="forms", lower=False)[1:3] == (("Πίπτει",), ("Fallen",))
    with pytest.raises(ValueError, match="source must be 'lemmas' or 'forms', got 'gloss'"):
        verses[0].pair(source="gloss")


@pytest.mark.parametrize(
    ("member", "change", "message"),
    [
        (new_testament.GREEK, lambda text: None, "There is no item named"),
        (new_testament.GREEK, lambda text: text.replace("lemma\t", "lemmas\t"), "without the column lemma"),
        (new_testament.ENGLISH, lambda text: text.replace("\tslowly", ""), "line 7, with 6 of 7 columns"),
        (new_testament.ENGLISH, lambda text: "", "without the column id"),
        (new_testament.RECORDS, lambda text: text[:-9], "expected .* in a zip, got"),
        (new_testament.RECORDS, lambda text: '{"rows": []}', "got: 'records'"),
        (
            new_testament.RECORDS,
            lambda text: text.replace("n40001001003", "n99"),
            "the texts have, got 'n99",
        ),
    ],
)
def test_a_file_that_is_not_as_expected_is_named(sample, member, change, message):
    files = scripture()
    changed = change(files.pop(member))
    path = sample(files if changed is None else files | {member: changed})
    with pytest.raises(DataError, match=message) as caught:
        new_testament.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("load", [new_testament.load, catalogues.load])
def test_what_is_no_zip_is_refused(tmp_path, load):
    (tmp_path / "no.whl").write_text("nothing")
    with pytest.raises(DataError, match=r"no\.whl: expected .* not a zip file"):
        load(tmp_path / "no.whl")


def test_a_split_by_book_keeps_books_whole():
    keys = ["40001001", "41001001", "41016020", "47001001", "66022021"]
    pairs = [Pair(key, ["a"], ["b"]) for key in keys]
    parts = new_testament.split_by_book(pairs)
    assert [[pair.key for pair in part] for part in parts] == [[keys[0], keys[4]], [keys[3]], keys[1:3]]
    assert new_testament.split_by_book(pairs, dev=(), test=("Revelation",)).test == pairs[4:]
    for options, message in (
        ({"test": ("Marc",)}, "test must be names of books such as 'Mark', got 'Marc'"),
        ({"dev": ("Genesis",)}, "dev must .*got 'Genesis'"),
        ({"dev": ("Mark",)}, "dev and test must be different books, got 'Mark' in both"),
    ):
        with pytest.raises(ValueError, match=message):
            new_testament.split_by_book(pairs, **options)


def test_books_and_references():
    assert len(new_testament.BOOKS) == 27
    assert new_testament.reference("66022021") == "Revelation 22:21"
    assert new_testament.reference("40001001") == "Matthew 1:1"
    for key in ("39001001", "67001001", "4000100", "4000100x"):
        with pytest.raises(ValueError, match=f"key must be BBCCCVVV.*got '{key}'"):
            new_testament.reference(key)


# --- catalogues -------------------------------------------------------------------------------------------------------


def test_catalogues_give_each_english_text_once(sample):
    pairs = catalogues.load(sample(messages()))
    assert {pair.source: pair.target for pair in pairs} == {
        ("open", "the", "%1", "box", "?"): ("ouvrir", "la", "boîte", "%1", "?"),
        ("%1", "egg"): ("%1", "œuf"),
        ("close",): ("fermer",),
        ("don't", "sing"): ("ne", "chantez", "pas", "l'", "air"),
    }
    assert [pair.key for pair in pairs] == sorted({pair.key for pair in pairs})
    assert not any(pair.links for pair in pairs)
    upper = catalogues.load(sample(messages()), lower=False)
    assert [pair.key for pair in upper] == [pair.key for pair in pairs]
    assert ("Don't", "sing") in {pair.source for pair in upper}


@pytest.mark.parametrize(
    ("text", "french", "words"),
    [
        ("Save %(name)s to {file.path}...", False, "save|%(name)s|to|{file.path}|..."),
        ("100% of <b>ASN.1</b> at https://here.is/A, now", False, "100|%|of|<b>|asn.1|</b>|at|https://here.is/A|,|now"),
        ("use `jupyter X` re-run", False, "use|`jupyter X`|re-run"),
        ("Qu’est-ce que c'est ?", True, "qu’|est-ce|que|c'|est|?"),
    ],
)
def test_placeholders_stay_whole(text, french, words):
    assert catalogues.tokenise(text, french=french) == tuple(words.split("|"))


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": "b", "c": []}', '{"a": 3}'])
def test_a_catalogue_that_is_not_as_expected_is_named(sample, text):
    files = messages()
    with pytest.raises(DataError, match="expected catalogues"):
        catalogues.load(sample({name: text for name in files if name.endswith("two.json")}))


def test_a_package_without_catalogues_is_refused(sample):
    with pytest.raises(DataError, match="got none"):
        catalogues.load(sample({"pack/other.json": json.dumps({})}))
