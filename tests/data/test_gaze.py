"""Where people looked, out of a tiny zip of ours; what is wrong is named; what the real one holds."""

import hashlib
import json
import re
import zipfile

import pytest

from attnlib.data import DataError, gaze
from attnlib.data.gaze import Looked, Reading
from attnlib.data.pairs import split

HEAD = (
    "participant_id,trial_index,IA_ID,TRIAL_IA_COUNT,unique_trial_id,article_title,paragraph_id,difficulty_level,question,"
    "is_correct,IA_LABEL,IA_DWELL_TIME,IA_FIXATION_COUNT,IA_SKIP,word_length,wordfreq_frequency,gpt2_surprisal,"
    "universal_pos,is_in_aspan,is_in_dspan,left_over"
)
LINES = (
    'anna,7,1,2,a7,Invented,3,Ele,"Who, then?",True,"sat, down",250,2,0,9,12.5,3.25,VERB,True,False,x',
    "anna,7,0,2,a7,Invented,3,Ele,Other,True,Tom,0,0,1,3,20.0,9.5,PROPN,False,False,x",
    "ben,9,0,1,b9,Invented,3,Ele,Other,False,Tom,80,1,1,3,20.0,9.5,PROPN,False,True,x",
    "ben,2,0,1,b2,Invented,1,Adv,Why?,True,Once,120,1,0,4,10.0,8.0,ADV,False,False,x",
)
TOM = Looked("Tom", 0, 0, True, 3, 20.0, 9.5, "PROPN", False, False)
SAT = Looked("sat, down", 250, 2, False, 9, 12.5, 3.25, "VERB", True, False)


def archive(path, lines, name=gaze.FILE, head=HEAD):
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(name, "\n".join([head, *lines]) + "\n")
    return path


@pytest.fixture
def ours(tmp_path):
    return archive(tmp_path / "tiny.whl", LINES)


def test_readers_one_after_another_paragraphs_as_read_words_in_order(ours):
    found = gaze.load(ours)
    assert [(reading.reader, reading.paragraph) for reading in found] == [("anna", 3), ("ben", 1), ("ben", 3)]
    assert found[0] == Reading("anna", "Invented", 3, True, "Other", True, (TOM, SAT))
    assert found[2].words == (TOM._replace(dwell=80, fixations=1, misleads=True),)
    assert not found[2].correct
    assert not found[1].simple
    assert gaze.load(str(ours)) == found


def test_readings_of_one_text_stay_in_one_part():
    places = [(reader, n) for reader in ("anna", "ben") for n in range(300)]
    readings = [Reading(reader, f"article {n // 6}", n % 6, False, "", True, ()) for reader, n in places]
    parts = [{reading.key for reading in part} for part in split(readings)]
    assert sum(map(len, parts)) == 300
    assert not parts[0] & parts[1]
    assert all(parts)


def changed(column, value, line=1):
    cells = LINES[line].split(",")
    cells[HEAD.split(",").index(column)] = value
    return [*LINES[:line], ",".join(cells), *LINES[line + 1 :]]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (LINES[1:], "1 of 2 words of a7"),
        ([*LINES, LINES[1]], "3 of 2 words of a7"),
        (changed("IA_DWELL_TIME", "."), "invalid literal for int"),
        (changed("IA_SKIP", "perhaps"), "neither true nor false: 'perhaps'"),
        (changed("gpt2_surprisal", ""), "could not convert string to float"),
        (["anna,7"], "TypeError"),
    ],
)
def test_a_table_that_is_wrong_is_named(tmp_path, lines, message):
    with pytest.raises(DataError, match=f"expected the words of paragraphs in {gaze.FILE}, got: .*{message}"):
        gaze.load(archive(tmp_path / "bad.whl", lines))


def test_a_file_that_is_wrong_is_named(tmp_path):
    other = archive(tmp_path / "other.whl", LINES, name="elsewhere.csv")
    (tmp_path / "none.whl").write_text("no zip", encoding="utf-8")
    for path in (other, tmp_path / "none.whl", tmp_path / "absent.whl"):
        with pytest.raises(DataError, match=re.escape(f"{path}: expected {gaze.FILE} in a zip, got")):
            gaze.load(path)
    with pytest.raises(DataError, match="KeyError"):
        gaze.load(archive(tmp_path / "columns.whl", LINES, head=HEAD.replace("IA_LABEL", "word")))
    assert gaze.load(archive(tmp_path / "empty.whl", ())) == []


@pytest.mark.data
def test_the_real_one_holds_what_the_book_says(real):
    readings = gaze.load(real(gaze.PACKAGE))
    words = [word for reading in readings for word in reading.words]
    assert [len(readings), len(words), len({reading.key for reading in readings})] == [24, 2614, 12]
    assert len({reading.reader for reading in readings}) == len({reading.article for reading in readings}) == 2
    assert sum(reading.simple for reading in readings) == 12
    assert all(reading.correct for reading in readings)
    assert sum(word.skipped for word in words) == 1244
    assert sum(word.skipped and word.fixations > 0 for word in words) == 410
    assert sum(word.fixations == 0 for word in words) == 834
    assert all((word.fixations == 0) == (word.dwell == 0) for word in words)
    assert sum(word.answers for word in words) == 736
    assert not any(word.answers and word.misleads for word in words)
    assert all(word.length == len(word.text) for word in words)
    said = hashlib.sha256(json.dumps(readings, ensure_ascii=False).encode()).hexdigest()
    assert said == "fd917185c638ce6de62ed80bcd961ace64af5ebe34cee38a83ac4a84c21d05e6"
