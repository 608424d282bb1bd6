"""Words in pieces: by hand, and what merging in another order or matching from the other end would give."""

import random

import pytest

from attnlib.pretrained.subwords import BytePairs, WordPieces

KNOWN = ["[UNK]", "[CLS]", "[SEP]", "un", "una", "##ff", "##ffa", "##able", "##ble", "cafe", "'", ".", "北", "京", "x"]


def texts(pieces, text):
    return [piece.text for piece in pieces.encode(text)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("unaffable", ["una", "##ffa", "##ble"]),  # the longest beginning, though "un ##aff ##able" might be wished
        ("Café CAFÉ", ["cafe", "cafe"]),
        ("x.x'", ["x", ".", "x", "'"]),
        ("unx cafe", ["[UNK]", "cafe"]),  # one piece that is not known, and the whole word is not
        ("北京x", ["北", "京", "x"]),
        ("x\u200bx \t\n x", ["[UNK]", "x"]),
        ("x" * 101, ["[UNK]"]),
    ],
)
def test_word_pieces(text, wanted):
    assert texts(WordPieces(KNOWN), text) == ["[CLS]", *wanted, "[SEP]"]


def test_pieces_know_their_numbers_and_words():
    found = WordPieces(KNOWN).encode("cafe unaffable.")
    assert [piece.number for piece in found] == [1, 9, 4, 6, 8, 11, 2]
    assert [piece.word for piece in found] == [-1, 0, 1, 1, 1, 2, -1]


LETTERS = [chr(i) for i in range(33, 127)]
BYTES = [*LETTERS, "Ġ", "Ċ", "ĉ", "Ã", "¯", "Â", "½"]


def words(text):
    """With no merges the words are still cut, and the pieces say where."""
    found = {}
    for piece in BytePairs(BYTES, []).encode(text):
        found[piece.word] = found.get(piece.word, "") + piece.text
    return list(found.values())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("we'll see", ["we", "'ll", "Ġsee"]),
        ("'quoted' don'T", ["'", "quoted", "'", "Ġdon", "'", "T"]),
        ("a 42b", ["a", "Ġ", "4", "2", "b"]),
        ("a  b", ["a", "Ġ", "Ġb"]),
        ("a  4", ["a", "ĠĠ", "4"]),
        ("a  ", ["a", "ĠĠ"]),
        ("a\n b", ["a", "Ċ", "Ġb"]),
        ("a\n\tb", ["a", "Ċ", "ĉ", "b"]),
        (" (-) .", ["Ġ(-)", "Ġ."]),
        ("naïve ½", ["naÃ¯ve", "Ġ", "Â½"]),
    ],
)
def test_words_of_byte_pairs(text, wanted):
    assert words(text) == wanted


def test_the_pair_that_was_merged_first_is_merged_first():
    known = ["a", "b", "c", "ab", "bc", "abc"]
    assert texts(BytePairs(known, ["b c", "a b", "a bc"]), "abc") == ["abc"]
    assert texts(BytePairs(known, ["a b", "b c"]), "abc") == ["ab", "c"]
    assert texts(BytePairs(known, ["b c", "a b"]), "abc") == ["a", "bc"]
    assert texts(BytePairs(["a", "aa"], ["a a"]), "aaa") == ["aa", "a"]


def test_merging_is_the_rules_applied_one_after_the_other():
    """Each rule to the whole word, in their order: what training did. Longest match gives other pieces."""
    generator = random.Random(0)
    rules, known = [], ["a", "b", "c"]
    while len(rules) < 30:
        pair = generator.choice(known), generator.choice(known)
        if len("".join(pair)) <= 5 and "".join(pair) not in known:
            rules.append(pair)
            known.append("".join(pair))
    pieces, others = BytePairs(known, [" ".join(rule) for rule in rules]), 0
    for _ in range(200):
        word = "".join(generator.choices("abc", k=9))
        wanted = [*word]
        for left, right in rules:
            i = 0
            while i + 1 < len(wanted):
                if (wanted[i], wanted[i + 1]) == (left, right):
                    wanted[i : i + 2] = [left + right]
                i += 1
        assert texts(pieces, word) == wanted
        longest, at = [], 0
        while at < 9:
            longest.append(max((k for k in known if word.startswith(k, at)), key=len))
            at += len(longest[-1])
        others += longest != wanted
    assert others > 20
