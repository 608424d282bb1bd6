"""Greedy and beam search: against a plain loop, against all translations there are, in batches, with bad input."""

import itertools
from typing import NamedTuple

import pytest
import torch
from checks import close
from test_rnnsearch import K_X, K_Y, encdec, searching, sentences

from attnlib import attend
from attnlib.recurrent.decoding import beam, greedy
from attnlib.recurrent.input_feeding import Fed, InputFeeding
from attnlib.recurrent.rnnsearch import RNNsearch

# --- the oracle: a plain loop from the paper --------------------------------------------------------------------------


def search_loop(step, start, begin, end, longest, width, length_power):
    """Beam search over one sentence. ``step(word, state)`` gives the log-probabilities and the next state.

    Gives (words, log-probability) of every hypothesis in the last beam, best first.
    """
    beam = [([], 0.0, start)]

    def finished(words):
        return bool(words) and words[-1] == end

    for _ in range(longest):
        grown = []
        for words, total, state in beam:
            if finished(words):
                grown.append((words, total, state))
                continue
            log_probabilities, after = step(words[-1] if words else begin, state)
            grown += [([*words, word], total + gain, after) for word, gain in enumerate(log_probabilities)]
        beam = sorted(grown, key=lambda hypothesis: -hypothesis[1])[:width]
        if all(finished(words) for words, _, _ in beam):
            break
    beam.sort(key=lambda hypothesis: -hypothesis[1] / len(hypothesis[0]) ** length_power)
    return [(words, total) for words, total, _ in beam]


BEGIN, END = 1, 2
both = pytest.mark.parametrize("make", [searching, encdec])


class Read(NamedTuple):
    """What :class:`Feeding` keeps; not what RNNsearch does, and its state is a tuple."""

    key: torch.Tensor
    mask: torch.Tensor
    state: Fed


class Feeding(torch.nn.Module):
    """Luong's decoder over a bag of words: another model, in which the searches must find their way too."""

    def __init__(self):
        super().__init__()
        self.source, self.target = torch.nn.Embedding(K_X, 4), torch.nn.Embedding(K_Y, 3)
        self.decoder, self.output = InputFeeding(3, 4, 4), torch.nn.Linear(4, K_Y)

    def encode(self, source, source_mask):
        return Read(self.source(source), source_mask, self.decoder.start(len(source)))

    def repeated(self, encoded, times):
        key, mask = (part.repeat_interleave(times, 0) for part in encoded[:2])
        return Read(key, mask, Fed(*(part.repeat_interleave(times, 0) for part in encoded.state)))

    def step(self, word, state, encoded):
        def look(query):
            return attend(query, encoded.key, mask=encoded.mask[:, None])

        fed, found = self.decoder(self.target(word), state, look)
        return Stepped(fed, self.output(fed.vector), found.weights.squeeze(1))


class Stepped(NamedTuple):
    state: Fed
    logits: torch.Tensor
    weights: torch.Tensor


def feeding(seed):
    torch.manual_seed(seed)
    model = Feeding().double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


def a_model(make, seed=1):
    return make(seed=seed).eval()


def one_step(model, source, mask):
    """The model as the oracle wants it: one sentence, one word, lists."""
    encoded = model.encode(source, mask)

    def step(word, state):
        given = model.step(torch.tensor([word]), state, encoded)
        return given.logits[0].log_softmax(-1).tolist(), given.state

    return step, encoded.state


def plainly(model, b, **how):
    source, mask, _ = sentences()
    step, start = one_step(model, source[b : b + 1], mask[b : b + 1])
    return search_loop(step, start, BEGIN, END, how["longest"], how["width"], how["length_power"])


def words_of(found, b):
    return found.words[b][found.mask[b]].tolist()


@pytest.mark.parametrize("length_power", [0.0, 1.0])
@pytest.mark.parametrize("width", [1, 2, 5])
@pytest.mark.parametrize("make", [searching, encdec, feeding])
def test_equals_the_plain_loop(make, width, length_power):
    with torch.no_grad():
        for seed in range(4):
            model, how = a_model(make, seed), {"longest": 6, "width": width, "length_power": length_power}
            found = beam(model, *sentences()[:2], begin=BEGIN, end=END, **how)
            for b in range(2):
                words, total = plainly(model, b, **how)[0]
                assert words_of(found, b) == words
                assert found.log_probability[b].item() == pytest.approx(total)


@both
def test_greedy_takes_the_largest_each_time_and_is_a_beam_of_one(make):
    model, (source, mask, _) = a_model(make), sentences()
    found = greedy(model, source, mask, begin=BEGIN, end=END, longest=7)
    same = beam(model, source, mask, begin=BEGIN, end=END, longest=7, width=1)
    assert torch.equal(found.words, same.words)
    encoded = model.encode(source, mask)
    word, state = torch.full((2,), BEGIN), encoded.state
    for t in range(found.words.shape[1]):
        step = model.step(word, state, encoded)
        word, state = step.logits.argmax(-1), step.state
        assert torch.equal(found.words[found.mask[:, t], t], word[found.mask[:, t]])
        close(found.weights[:, t], step.weights * found.mask[:, t, None])


def test_a_beam_that_holds_everything_finds_the_best_there_is():
    """Five words, four steps: all translations written out, each scored by teacher forcing."""
    torch.manual_seed(2)
    model = RNNsearch(K_X, 5, embedding=3, hidden=4, alignment=3, maxout=2).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    source, mask, _ = (part[:1] for part in sentences())
    found = beam(model, source, mask, begin=BEGIN, end=END, longest=4, width=5**4, length_power=0.0)
    best, each = {}, list(itertools.product(range(5), repeat=4))
    many = len(each)
    begun = torch.tensor([[BEGIN, *words[:-1]] for words in each])
    given = model(source.expand(many, -1), mask.expand(many, -1), begun)
    for words, said in zip(each, given.logits.log_softmax(-1), strict=True):
        cut = words[: words.index(END) + 1] if END in words else words
        best[cut] = said[range(len(cut)), list(cut)].sum().item()
    assert tuple(words_of(found, 0)) == max(best, key=best.get)
    assert found.log_probability.item() == pytest.approx(max(best.values()))


@both
def test_a_batch_is_its_sentences(make):
    model, (source, mask, _) = a_model(make), sentences()
    together = beam(model, source, mask, begin=BEGIN, end=END, longest=9, width=3)
    for b, length in enumerate(mask.sum(-1).tolist()):
        alone = beam(
            model, source[b : b + 1, :length], mask[b : b + 1, :length], begin=BEGIN, end=END, longest=9, width=3
        )
        assert words_of(alone, 0) == words_of(together, b)
        close(alone.log_probability[0], together.log_probability[b])
        if alone.weights.shape[-1] == length:
            close(alone.weights[0][alone.mask[0]], together.weights[b][together.mask[b]][:, :length])


@both
def test_weights_and_probability_are_those_of_the_words(make):
    """The winner's, not those of what stood in its place of the beam before."""
    model, (source, mask, _) = a_model(make, 3), sentences()
    found = beam(model, source, mask, begin=BEGIN, end=END, longest=6, width=4)
    for b in range(2):
        words = words_of(found, b)
        given = model(source[b : b + 1], mask[b : b + 1], torch.tensor([[BEGIN, *words[:-1]]]))
        close(found.weights[b, : len(words)], given.weights[0])
        total = given.logits[0].log_softmax(-1)[range(len(words)), words].sum()
        close(found.log_probability[b], total)
        assert (found.weights[b, len(words) :] == 0).all()
        assert (found.words[b, len(words) :] == END).all()


def test_a_longer_translation_gains_by_the_power():
    model, (source, mask, _) = a_model(searching), sentences()
    lengths = [
        beam(model, source, mask, begin=BEGIN, end=END, longest=8, width=K_Y, length_power=power).mask.sum().item()
        for power in (0.0, 1.0, 3.0)
    ]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[2]


def test_an_empty_batch():
    model, (source, mask, _) = a_model(searching), sentences()
    found = beam(model, source[:0], mask[:0], begin=BEGIN, end=END, longest=3, width=2)
    assert found.words.shape[0] == 0


@pytest.mark.parametrize(("name", "value"), [("longest", 0), ("width", 0), ("length_power", -0.5)])
def test_bad_input_is_named(name, value):
    model, (source, mask, _) = a_model(searching), sentences()
    how = {"longest": 3, "width": 2, "length_power": 1.0, name: value}
    with pytest.raises(ValueError, match=name):
        beam(model, source, mask, begin=BEGIN, end=END, **how)
