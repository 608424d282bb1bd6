"""Tiny packages in the file formats of the real ones; every word in them was invented for these tests."""

import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

import torch

from attnlib.data import Package, new_testament, reviews, scenes

_GREEK = (
    (
        "n40001001002",
        'λίθος"',
        "λίθος",
        "stone,",
    ),  # out of order, and with a quotation mark: a character like any other
    ("n40001001001", "Ὁ", "ὁ", "the [one]"),
    ("n40001001003", "πίπτει", "πίπτω", "falls ~ down"),
    ("n40001002001", "Πίπτει", "πίπτω", "* falls"),
    ("n41003004001", "σιγή", "σιγή", "silence"),
    ("n42001001001", "μόνος", "μόνος", ""),  # a verse that the English text does not have
)
_ENGLISH = (
    ("40001001001", "40001001", "“", "y"),
    ("40001001002", "40001001", "The", ""),
    ("40001001003", "40001001", "stone", ""),
    ("40001001004", "40001001", ",", "y"),
    ("40001001005", "40001001", "falls", ""),
    ("40001002001", "40001001", "slowly", ""),  # numbered in verse 2, and said in verse 1
    ("40001002002", "40001002", "Fallen", ""),
    ("41003004001", "41003004", "Silence", ""),
    ("41003004002", "41003004", ".", "y"),
    ("43001001001", "43001001", "nowhere", ""),  # a verse that the Greek text does not have
    ("44001001001", "44001001", "?", "y"),
)
_RECORDS = (
    (["n40001001001", "n40001001002"], ["40001001002", "40001001003"]),
    (["n40001001003"], ["40001001005", "40001002001"]),
    (["n40001001003"], ["40001001004"]),  # to a mark of punctuation
    (["n40001002001"], ["40001002002", "40001001005"]),  # the second crosses verses
)


def wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> Package:
    """A wheel that pip accepts, with some files in it."""
    stem = f"{name.replace('-', '_').lower()}-{version}"
    about = {
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{stem}.dist-info/RECORD": "",
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, text in (files | about).items():
            archive.writestr(member, text)
    return Package(name, version, path.name, hashlib.sha256(path.read_bytes()).hexdigest())


def scripture() -> dict[str, str]:
    """The three files that ``new_testament.load`` reads."""
    greek = [f"{name}\t{form}-1\t{form}\tG0\t{gloss}\t{lemma}\tnoun" for name, form, lemma, gloss in _GREEK]
    english = [f"{name}\t{verse}\t{text}\t\t{exclude}\t\t" for name, verse, text, exclude in _ENGLISH]
    records = [{"source": source, "target": target, "meta": {}} for source, target in _RECORDS]
    return {
        new_testament.GREEK: "\n".join(["id\taltId\ttext\tstrongs\tgloss2\tlemma\tpos", *greek, ""]),
        new_testament.ENGLISH: "\n".join(
            [
                "id\tsource_verse\ttext\tskip_space_after\texclude\tid_range_end\tsource_verse_range_end",
                *english,
                "",
            ]
        ),
        new_testament.RECORDS: json.dumps({"records": records}),
    }


def messages() -> dict[str, str]:
    """Two catalogues, and files beside them that are none."""
    here = "pack/locale/fr_FR/LC_MESSAGES"
    first = {
        "": {"language": "fr-FR"},
        "Open the %1 box?": ["Ouvrir la boîte %1 ?"],
        "%1 egg": ["%1 œuf", "%1 œufs"],
        "menu\x04Close": ["Fermer"],
        "Xylograph": ["Xylograph"],
        "%1 / %2": ["%1 : %2"],
    }
    second = {"close": ["Clore"], "Don't sing": ["Ne chantez pas l'air"]}
    return {
        f"{here}/one.json": json.dumps(first),
        f"{here}/two.json": json.dumps(second),
        f"{here}/one.mo": "not read",
        "pack/other.json": json.dumps({"no": ["non"]}),
    }


def digits() -> list[scenes.Digit]:
    """Seven patterns of strokes, none its own mirror image, with names that people might give them."""
    strokes = ("12:3", "24:5", "31:6", "45:2", "52:1", "63:4", "16:6")  # row and length of one, column of another
    found = []
    for kind, (row, length, _, column) in enumerate(strokes):
        image = torch.zeros(8, 8)
        image[int(row), 1 : 1 + int(length)] = 1.0
        image[1:5, int(column)] = 0.75
        found.append(scenes.Digit(f"digit {kind}", image, kind))
    return found


def opinions() -> dict[str, str]:
    """The four files that ``reviews`` reads: out of order, with a number that does not occur, and a byte order mark."""
    sentences = (("2_1", "Hums softly.", (1, 2)), ("1_1", "A fine lamp!", (3, 4)), ("4_1", "Meh", (0, -1, 1)))
    more = (("1_10", " It broke,  though. ", (-4, -2)), ("1_2", "It's well-made.", (2, 2)))
    films = (("1", "A film with a lamp.", (0, 0, 1)), ("2", "''Bright''", (2, 3, 4)))
    files = {}
    for stem, rows in (("amazonReviewSnippets", (*sentences, *more)), ("movieReviewSnippets", films)):
        means = {name: sum(ratings) / len(ratings) for name, _, ratings in rows}
        texts = [f"{name}\t{means[name]:.11g}\t{text}" for name, text, _ in rows]
        raw = [f"{name}\t{means[name]:.6g}\t0.5\t{list(ratings)}" for name, _, ratings in reversed(rows)]
        files[f"{stem}_GroundTruth.txt"] = "\r\n".join(texts)
        files[f"{stem}_anonDataRatings.txt"] = "\ufeff" + "\r\n".join(raw)
    return files


def source_archive(folder: Path, files: dict[str, str], words: str = "") -> Path:
    """An archive with an archive in it that holds the files; beside that the rated words, where there are any."""
    inside = io.BytesIO()
    with tarfile.open(fileobj=inside, mode="w:gz") as archive:
        for name, text in files.items():
            _add(archive, f"{reviews.FOLDER}/{name}", text.encode())
    path = folder / reviews.PACKAGE.file
    with tarfile.open(path, "w:gz") as archive:
        _add(archive, reviews.ARCHIVE, inside.getvalue())
        if words:
            _add(archive, reviews.WORDS, words.encode())
    return path


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    about = tarfile.TarInfo(name)
    about.size = len(content)
    archive.addfile(about, io.BytesIO(content))
