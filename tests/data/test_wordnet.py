"""Senses and their examples: on a small folder and package of ours, and every way in which they can be wrong."""

import io
import tarfile

import pytest

from attnlib.data import DataError, wordnet

FILES = {
    "noun": """  1 a licence
00001740 17 n 02 bank 0 Bank_Vole 0 000 | sloping land; "on the banks of it"; "a Bank!"
""",
    "verb": '00002000 38 v 01 carry 0 001 @ 00001 v 0000 | move; "he carried her bag"; "they carry on"\n',
    "adj": "",
    "adv": "",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    for part, text in FILES.items():
        (tmp_path / f"data.{part}").write_text(text, encoding="utf-8")
    return tmp_path


def package(path, files):
    """A Debian package: an ``ar`` archive with a tar in it."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:xz") as archive:
        for part, text in files.items():
            member = tarfile.TarInfo(f"./usr/share/wordnet/data.{part}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    content = b"!<arch>\n"
    for name, body in (("debian-binary", b"2.0"), ("data.tar.xz", inner.getvalue())):
        content += f"{name:16}{0:12}{0:6}{0:6}{0:8}{len(body):10}`\n".encode() + body + b"\n" * (len(body) % 2)
    path.write_bytes(content)
    return path


def test_senses_and_their_words_in_examples(folder, tmp_path):
    bank, carry = wordnet.load(folder)
    assert bank == wordnet.Sense(
        "noun 00001740", "noun.object", ("bank", "bank_vole"), "sloping land", ("on the banks of it", "a Bank!")
    )
    assert carry.kind == "verb.motion"
    found = [(use.words[use.place], use.lemma, use.sense.kind) for use in wordnet.uses([bank, carry])]
    assert found == [
        ("banks", "bank", "noun.object"),
        ("bank", "bank", "noun.object"),
        ("carried", "carry", "verb.motion"),
        ("carry", "carry", "verb.motion"),
    ]
    assert [use.lemma for use in wordnet.uses([bank, carry], parts=("verb",))] == ["carry", "carry"]
    assert wordnet.load(package(tmp_path / "w.deb", FILES)) == [bank, carry]


def test_there_are_45_kinds():
    assert len(wordnet.KINDS) == 45
    assert wordnet.KINDS[26] == "noun.state"
    assert wordnet.KINDS[29] == "verb.body"


def test_what_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("ATTNLIB_DATA", str(tmp_path))
    monkeypatch.setattr(wordnet, "FOLDER", tmp_path / "none")
    with pytest.raises(DataError, match=r"expected WordNet 3.0 in .*none.*wordnet-base has it"):
        wordnet.load()
    made = package(tmp_path / wordnet.FILE, {"noun": ""})
    with pytest.raises(DataError, match=rf"with SHA-256 {wordnet.SHA256}, got [0-9a-f]{{64}}"):
        wordnet.load()
    with pytest.raises(DataError, match=r"data\.verb"):
        wordnet.load(made)
    made.write_bytes(b"!<arch>\n")
    with pytest.raises(DataError, match=r"no data\.tar among nothing"):
        wordnet.load(made)


@pytest.mark.parametrize("line", ["00001 99 n 01 word 0 000 | what\n", "00001 03 n zz word\n", "00001\n"])
def test_a_line_that_is_no_sense_is_named(folder, line):
    (folder / "data.noun").write_text(line, encoding="utf-8")
    with pytest.raises(DataError, match=r"data.noun, line 1: expected a set of synonyms, got '00001"):
        wordnet.load(folder)
