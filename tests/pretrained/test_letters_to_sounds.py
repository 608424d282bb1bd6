"""The network of g2p-en: a small one of the same build and the real one, against loops from the package's equations."""

import io
import math
import re
import zipfile

import numpy as np
import pytest
import torch
from checks import randn

from attnlib.data import DataError, pronunciations
from attnlib.pretrained import LettersToSounds
from attnlib.pretrained import letters_to_sounds as spoken

HIDDEN, EMBEDDING = 5, 3
SAID = "AE2 K T IH0 V EY1 SH AH0 N IH0 S T"
WORDS = ["ab", "knight", "zzzzzzzzz", "o"]


# --- the oracle: loops over numbers, from the equations that the package's code states --------------------------------


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def gru(w, side, x, h):
    """One step; the three parts of each matrix are r, z and n, one below the other."""
    n = len(h)

    def row(matrix, bias, vector, i):
        return math.fsum(a * b for a, b in zip(w[f"{side}_{matrix}"][i], vector, strict=True)) + w[f"{side}_{bias}"][i]

    after = []
    for i in range(n):
        (r_x, z_x, n_x), (r_h, z_h, n_h) = (
            [row(matrix, bias, vector, i + part * n) for part in range(3)]
            for matrix, bias, vector in (("w_ih", "b_ih", x), ("w_hh", "b_hh", h))
        )
        r, z = sigmoid(r_x + r_h), sigmoid(z_x + z_h)
        after.append((1 - z) * math.tanh(n_x + r * n_h) + z * h[i])
    return after


def gru_at_once(w, side, x, h):
    """The same with whole vectors, for the real network."""
    read, kept = w[f"{side}_w_ih"] @ x + w[f"{side}_b_ih"], w[f"{side}_w_hh"] @ h + w[f"{side}_b_hh"]
    n = len(h)
    r, z = (1 / (1 + np.exp(-(read[k * n : k * n + n] + kept[k * n : k * n + n]))) for k in (0, 1))
    return (1 - z) * np.tanh(read[2 * n :] + r * kept[2 * n :]) + z * h


def loop(w, word, step=gru):
    """The sounds of a word as numbers, and the logits at each step, that of the end mark too."""
    letters = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
    h = np.zeros(w["enc_w_hh"].shape[1])
    for letter in [*word, "</s>"]:
        h = step(w, "enc", w["enc_emb"][letters.index(letter) if letter in letters else 1], h)
    said, logits, before = [], [], 2
    for _ in range(20):
        h = step(w, "dec", w["dec_emb"][before], h)
        logits.append(w["fc_w"] @ np.asarray(h) + w["fc_b"])
        before = int(logits[-1].argmax())
        if before == 3:
            break
        said.append(before)
    return said, np.array(logits)


def small():
    sizes = {
        "emb": lambda words: (words, EMBEDDING),
        "w_ih": lambda _: (3 * HIDDEN, EMBEDDING),
        "w_hh": lambda _: (3 * HIDDEN, HIDDEN),
        "b_ih": lambda _: (3 * HIDDEN,),
        "b_hh": lambda _: (3 * HIDDEN,),
    }
    shapes = {f"{side}_{name}": size(n) for side, n in (("enc", 29), ("dec", 74)) for name, size in sizes.items()}
    shapes |= {"fc_w": (74, HIDDEN), "fc_b": (74,)}
    return {name: randn(*shape, seed=seed).float() for seed, (name, shape) in enumerate(shapes.items())}


def built(arrays):
    return LettersToSounds(arrays).double().eval()


def check(model, arrays, words=WORDS, step=gru, atol=1e-9):
    """Sounds, and the logits of each step on the way to them."""
    w = {name: value.double().numpy() for name, value in arrays.items()}
    for word, told in zip(words, spoken.say(model, words), strict=True):
        said, logits = loop(w, word, step)
        assert told == tuple(spoken.SOUNDS[number] for number in said)
        source, mask = spoken.spelt([word])
        found = model(source, mask, torch.tensor([[spoken.BEGIN, *said][: len(logits)]]))
        torch.testing.assert_close(found.logits[0].double(), torch.from_numpy(logits), rtol=0, atol=atol)
        assert (found.weights == 1).all()


def test_a_small_network_is_the_loops():
    arrays = small()
    check(built(arrays), arrays)


def test_the_two_oracles_agree():
    w = {name: value.double().numpy() for name, value in small().items()}
    for word in WORDS:
        np.testing.assert_allclose(loop(w, word)[1], loop(w, word, gru_at_once)[1], atol=1e-12)


def test_words_of_a_batch_are_words_one_by_one():
    model = built(small())
    assert spoken.say(model, WORDS) == [spoken.say(model, [word])[0] for word in WORDS]
    assert spoken.say(model, []) == []
    source, mask = spoken.spelt(WORDS)
    kept = model.encode(source, mask)
    torch.testing.assert_close(model.encode(source.masked_fill(~mask, 7), mask).state, kept.state)
    twice = model.repeated(kept, 2)
    assert twice.projected is None
    torch.testing.assert_close(twice.state, kept.state.repeat_interleave(2, 0))


def test_at_most_so_many_sounds():
    model = built(small() | {"fc_b": torch.eye(74)[9] * 1e3})  # it never ends
    assert spoken.say(model, ["ab"]) == [(spoken.SOUNDS[9],) * 20]
    assert spoken.say(model, ["ab"], longest=3) == [(spoken.SOUNDS[9],) * 3]


def test_sounds_stand_where_the_package_has_them():
    assert len(spoken.SOUNDS) == 74
    places = {"AA0": 4, "B": 22, "ER2": 31, "HH": 37, "UW": 65, "UW0": 66, "ZH": 73}
    assert {name: spoken.SOUNDS.index(name) for name in places} == places
    assert set(spoken.plain(spoken.SOUNDS[4:])) == set(pronunciations.SOUNDS)


# --- known wrong versions ---------------------------------------------------------------------------------------------


class ResetBefore(torch.nn.Module):
    """The unit of the papers on translation: the state is reset before the matrix."""

    def __init__(self, unit):
        super().__init__()
        self.unit, self.hidden_size = unit, unit.hidden_size

    def forward(self, x, h):
        u, n = self.unit, self.hidden_size
        read, kept = x @ u.weight_ih.T + u.bias_ih, h @ u.weight_hh.T + u.bias_hh
        r, z = torch.sigmoid(read + kept)[:, : 2 * n].chunk(2, -1)
        candidate = torch.tanh(read[:, 2 * n :] + (r * h) @ u.weight_hh[2 * n :].T + u.bias_hh[2 * n :])
        return (1 - z) * candidate + z * h


def reset_before(model):
    model.reader, model.writer = ResetBefore(model.reader), ResetBefore(model.writer)


def other_order_of_gates(model):
    for unit in (model.reader, model.writer):
        for parameter in unit.parameters():
            r, z, n = parameter.data.chunk(3)
            parameter.data = torch.cat([z, r, n])


def from_the_state_before(model):
    step = type(model).step
    model.step = lambda word, state, kept: step(model, word, state, kept)._replace(logits=model.output(state))


def through_a_tanh(model):
    encode = type(model).encode
    model.encode = lambda *given: (kept := encode(model, *given))._replace(state=torch.tanh(kept.state))


def no_mark_at_the_end(model):
    encode = type(model).encode

    def without(source, mask):
        return encode(model, source, mask & (source != 2))

    model.encode = without


@pytest.mark.parametrize(
    "spoil", [reset_before, other_order_of_gates, from_the_state_before, through_a_tanh, no_mark_at_the_end]
)
def test_wrong_networks_are_rejected(spoil):
    arrays = small()
    model = built(arrays)
    spoil(model)
    with pytest.raises(AssertionError):
        check(model, arrays)


# --- the package ------------------------------------------------------------------------------------------------------


def stored(path, arrays):
    content = io.BytesIO()
    np.savez(content, **{name: value.numpy() for name, value in arrays.items()})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(spoken.FILE, content.getvalue())
    return path


def test_a_network_out_of_a_package(tmp_path):
    arrays = small()
    model = spoken.load(stored(tmp_path / "small.whl", arrays))
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    check(model.double(), arrays)


def test_other_packages_are_refused(tmp_path):
    arrays = small()
    with zipfile.ZipFile(tmp_path / "empty.whl", "w"):
        pass
    with zipfile.ZipFile(tmp_path / "file.whl", "w") as archive:
        archive.writestr(spoken.FILE, b"")
    (tmp_path / "text.whl").write_text("no zip")
    stored(tmp_path / "part.whl", {name: value for name, value in arrays.items() if name != "fc_b"})
    stored(tmp_path / "shape.whl", arrays | {"fc_b": torch.zeros(3)})
    for name in ("empty", "file", "text", "part", "shape", "none"):
        with pytest.raises(DataError, match=rf"{name}.whl: expected the network of g2p-en in {spoken.FILE}, got"):
            spoken.load(tmp_path / f"{name}.whl")


@pytest.mark.data
def test_the_real_network_is_the_loops_on_200_words(real):
    path = real(spoken.PACKAGE)
    words = [one.word for one in pronunciations.load(real(pronunciations.PACKAGE))[:: 117_493 // 199]][:200]
    assert len(words) == 200
    assert max(map(len, words)) >= 12
    with zipfile.ZipFile(path) as archive:
        file = np.load(io.BytesIO(archive.read(spoken.FILE)))
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
        code = archive.read("g2p_en/g2p.py").decode()
    listed = code[code.index("self.phonemes =") : code.index("self.g2idx =")]
    assert spoken.SOUNDS[4:] == tuple(re.findall("'([A-Z]+[012]?)'", listed))
    model = spoken.load(path)
    assert sum(parameter.numel() for parameter in model.parameters()) == 834_890
    check(model, arrays, words, gru_at_once, atol=1e-3)
    check(model.double(), arrays, words[::10], gru_at_once)
    # What the package's own page says that the network says of a word that its dictionary has not.
    assert spoken.say(model, ["activationist"]) == [tuple(SAID.split())]
