"""Attention via attention: a loop over words and letters, what hidden ones may not change, ragged words."""

import functools
import math

import pytest
import torch
from checks import close, leaf, randn
from oracles import inner, plus, rows, softmax_row, tensor, times
from torch.autograd import gradcheck, gradgradcheck

from attnlib import attend, scores
from attnlib.input_representations.via import AttentionViaAttention, WordsAndLetters, by_word, owners, via

BATCH, QUERY, WORD, LETTER = 2, 3, 5, 13
D_Q, D_W, D_C, HIDDEN = 7, 11, 2, 17
WORDS, LETTERS = (5, 2), (13, 4)  # that are real

# --- the oracle: a plain loop over the words and letters that are there -----------------------------------------------


def additive(q, k, parameters):
    vector, query_weight, key_weight, bias = parameters
    hidden = [math.tanh(x) for x in plus(times(query_weight, q), times(key_weight, k), bias)]
    return inner(vector, hidden)


def level(q, keys, parameters):
    weights = softmax_row([additive(q, k, parameters) for k in keys])
    return weights, [inner(weights, parts) for parts in zip(*keys, strict=True)]


def via_loop(queries, words, letters, of_words, of_letters):
    found = []
    for q in queries:
        over_words, word = level(q, words, of_words)
        over_letters, letter = level(q + word, letters, of_letters)
        found.append((over_words, over_letters, word + letter))
    return zip(*found, strict=True)


def inputs():
    return randn(BATCH, QUERY, D_Q), randn(BATCH, WORD, D_W, seed=1), randn(BATCH, LETTER, D_C, seed=2)


def masks():
    real = [torch.tensor(lengths)[:, None] for lengths in (WORDS, LETTERS)]
    return {"word_mask": torch.arange(WORD) < real[0], "letter_mask": torch.arange(LETTER) < real[1]}


def parameters(d_q, d_k):
    return leaf(HIDDEN), leaf(HIDDEN, d_q), leaf(HIDDEN, d_k, seed=1), leaf(HIDDEN, seed=2)


def score_of(given):
    names = ("vector", "query_weight", "key_weight", "bias")
    return functools.partial(scores.additive, **dict(zip(names, given, strict=True)))


def both_parameters():
    return parameters(D_Q, D_W), parameters(D_Q + D_W, D_C)


def run(function, *parts, **hidden):
    of_words, of_letters = both_parameters()
    return function(*parts, word_score=score_of(of_words), letter_score=score_of(of_letters), **hidden)


def check_value(function, masked=True):
    parts, given = inputs(), both_parameters()
    found = run(function, *parts, **(masks() if masked else {}))
    for b in range(BATCH):
        n, m = (WORDS[b], LETTERS[b]) if masked else (WORD, LETTER)
        real = parts[0][b], parts[1][b, :n], parts[2][b, :m]
        over_words, over_letters, context = via_loop(*map(rows, real), *([rows(p) for p in each] for each in given))
        close(found.words.weights[b, :, :n].detach(), tensor(over_words))
        close(found.letters.weights[b, :, :m].detach(), tensor(over_letters))
        close(found.context[b].detach(), tensor(context))
        assert not found.words.weights[b, :, n:].any()
        assert not found.letters.weights[b, :, m:].any()


@pytest.mark.parametrize("masked", [True, False])
def test_via_is_the_loop(masked):
    check_value(via, masked)


# --- what is hidden, what is missing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("garbage", [math.nan, math.inf, -3e38, 1e308])
def test_what_a_mask_hides_changes_nothing(garbage):
    def outcome(fill):
        query, words, letters = inputs()
        hidden = masks()
        leaves = [query.requires_grad_()]
        for part, mask in zip((words, letters), hidden.values(), strict=True):
            leaves.append(torch.where(mask[..., None], part, fill).requires_grad_())
        found = run(via, *leaves, **hidden)
        return [found.context.detach(), *torch.autograd.grad((found.context * found.context.detach()).sum(), leaves)]

    for one, other in zip(outcome(garbage), outcome(0.0), strict=True):
        assert one.isfinite().all()
        close(one, other)


def test_padding_batch_mates_and_their_order_change_nothing():
    query, words, letters = inputs()
    together = run(via, query, words, letters, **masks())
    swapped = run(
        via, query.flip(0), words.flip(0), letters.flip(0), **{name: m.flip(0) for name, m in masks().items()}
    )
    close(together.context, swapped.context.flip(0))
    for b in range(BATCH):
        close(run(via, query[b], words[b, : WORDS[b]], letters[b, : LETTERS[b]]).context, together.context[b])


def test_where_there_is_nothing_there_is_zero():
    query, words, letters = inputs()
    no_words = run(via, query, words, letters, word_mask=torch.zeros(BATCH, WORD, dtype=torch.bool))
    assert not no_words.context[..., :D_W].any()
    assert not no_words.words.weights.any()
    asked = torch.cat([query, torch.zeros(BATCH, QUERY, D_W, dtype=query.dtype)], -1)
    close(no_words.letters.weights, attend(asked, letters, score=score_of(both_parameters()[1])).weights)
    for part in (letters[:, :0], letters):
        hidden = torch.zeros(part.shape[:-1], dtype=torch.bool)
        no_letters = run(via, query, words, part, letter_mask=hidden)
        assert not no_letters.context[..., D_W:].any()
        assert no_letters.context[..., :D_W].any()


def test_one_word_of_one_letter_is_taken_as_it_is():
    query, words, letters = inputs()
    found = run(via, query, words[:, :1], letters[:, :1])
    close(found.context, torch.cat([words[:, :1], letters[:, :1]], -1).expand(BATCH, QUERY, -1))


def test_nan_that_is_seen_spoils_its_own_sentence_alone():
    query, words, letters = inputs()
    clean = run(via, query, words, letters)
    words[0, 2, 1] = math.nan
    found = run(via, query, words, letters)
    assert found.context[0].isnan().all()
    close(found.context[1], clean.context[1])


def test_one_sentence_for_all_queries_of_a_batch():
    query, words, letters = inputs()
    found = run(via, query, words[:1], letters[:1])
    close(found.context, run(via, query, words[:1].expand_as(words), letters[:1].expand_as(letters)).context)


def test_with_words_that_say_nothing_the_letters_are_asked_by_the_query_alone():
    query, _, letters = inputs()
    found = run(via, query, torch.zeros(BATCH, WORD, D_W, dtype=query.dtype), letters)
    of_letters = list(both_parameters()[1])
    of_letters[1] = of_letters[1][:, :D_Q]
    close(found.letters.weights, attend(query, letters, score=score_of(of_letters)).weights)


# --- ragged words -----------------------------------------------------------------------------------------------------


def owners_loop(lengths, n_letter):
    found = [word for word, length in enumerate(lengths) for _ in range(length)]
    return found + [-1] * (n_letter - len(found))


def check_owners(function):
    lengths = [[3, 0, 2, 1], [1, 1, 5, 0], [0, 0, 0, 0]]
    assert function(torch.tensor(lengths), 7).tolist() == [owners_loop(row, 7) for row in lengths]


def test_owners_are_the_loop():
    check_owners(owners)
    assert owners(torch.zeros(2, 0, dtype=torch.long), 3).tolist() == [[-1] * 3] * 2
    assert owners(torch.tensor([2, 1]), 3).tolist() == [0, 0, 1]


def test_each_word_gets_what_its_letters_get():
    lengths = torch.tensor([[3, 0, 2], [1, 1, 5]])
    weights, owner = randn(2, QUERY, 7).softmax(-1), owners(lengths, 7)
    found = by_word(weights, owner, 3)
    for b, lengths_of in enumerate(lengths.tolist()):
        at = 0
        for word, length in enumerate(lengths_of):
            close(found[b, :, word], weights[b, :, at : at + length].sum(-1))
            at += length


def test_a_list_of_letters_has_no_padding_of_short_words():
    lengths = torch.tensor([[2, 9, 1], [4, 4, 4]])
    assert int((owners(lengths, int(lengths.sum(-1).max())) >= 0).sum()) == int(lengths.sum())


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_slopes_are_the_numerical_ones():
    def context(query, words, letters, *given):
        of_words, of_letters = score_of(given[:4]), score_of(given[4:])
        return via(query, words, letters, word_score=of_words, letter_score=of_letters, **masks()).context

    leaves = [part.requires_grad_() for part in inputs()]
    leaves += [part for each in both_parameters() for part in each]
    assert gradcheck(context, leaves, fast_mode=True)
    assert gradgradcheck(context, leaves, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_each_precision_keeps_its_own(dtype, device):
    parts = [part.to(device=device, dtype=dtype) for part in inputs()]
    model = AttentionViaAttention(D_Q, D_W, D_C, hidden=HIDDEN, device=device, dtype=dtype)
    found = model(*parts).context
    assert found.dtype == dtype
    wanted = model.double()(*(part.double() for part in parts)).context
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=1e-5 if dtype == torch.float32 else 2e-2)


def test_the_module_is_the_function():
    model, parts = AttentionViaAttention(D_Q, D_W, D_C, hidden=HIDDEN).double(), inputs()
    wanted = via(*parts, word_score=model.word_score, letter_score=model.letter_score, **masks())
    assert torch.equal(model(*parts, **masks()).context, wanted.context)
    one = torch.func.vmap(lambda q, w, c, m, n: model(q, w, c, word_mask=m, letter_mask=n).context)
    close(one(*parts, *masks().values()), wanted.context)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named():
    query, words, letters = inputs()
    hidden = masks()
    lengths = torch.tensor([2, 3])
    cases = [
        (TypeError, "query must be floating point", lambda: run(via, query.long(), words, letters)),
        (TypeError, "mask must be boolean",
         lambda: run(via, query, words, letters, word_mask=hidden["word_mask"].long())),
        (ValueError, r"word_mask must fit \(2, 5\), got shape \(2, 13\)",
         lambda: run(via, query, words, letters, word_mask=hidden["letter_mask"])),
        (ValueError, r"letter_mask must fit \(2, 13\)",
         lambda: run(via, query, words, letters, letter_mask=hidden["word_mask"])),
        (ValueError, "key has d_k=11 but query has d_k=7", lambda: via(query, words, letters)),
        (TypeError, "lengths must be integer", lambda: owners(lengths.double(), 5)),
        (ValueError, "lengths must be at least 0, got -3", lambda: owners(-lengths, 5)),
        (ValueError, "n_letter must be at least 5, got 4", lambda: owners(lengths, 4)),
        (ValueError, "owner must have a word for each of 13 letters, got 5",
         lambda: by_word(randn(QUERY, LETTER), owners(lengths, 5), 2)),
    ]  # fmt: skip
    for error, message, call in cases:
        with pytest.raises(error, match=message):
            call()


# --- known wrong versions ---------------------------------------------------------------------------------------------


def spoilt(query, words, letters, *, word_score, letter_score, word_mask=None, letter_mask=None, fault=""):
    """The two levels in plain lines, right with no fault."""
    w = None if word_mask is None else word_mask.unsqueeze(-2)
    c = None if letter_mask is None or fault == "letters of padding" else letter_mask.unsqueeze(-2)
    w = None if fault == "words of padding" else w
    nothing = torch.zeros(*query.shape[:-1], D_W, dtype=query.dtype)
    if fault == "levels in the wrong order":  # letters first, and what they said asks the words
        read = attend(torch.cat([query, nothing], -1), letters, score=letter_score, mask=c)
        found = attend(query + torch.nn.functional.pad(read.context, (0, D_Q - D_C)), words, score=word_score, mask=w)
    else:
        found = attend(query, words, score=word_score, mask=w)
        asked = {"without the word's context": [query, nothing], "without the query": [0 * query, found.context]}
        read = attend(torch.cat(asked.get(fault, [query, found.context]), -1), letters, score=letter_score, mask=c)
    parts = [found.context, read.context]
    return WordsAndLetters(torch.cat(parts[::-1] if fault == "letters' context first" else parts, -1), found, read)


FAULTS = [
    "levels in the wrong order",
    "without the word's context",
    "without the query",
    "letters of padding",
    "words of padding",
    "letters' context first",
]


@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_versions_are_rejected(fault):
    with pytest.raises(AssertionError):
        check_value(functools.partial(spoilt, fault=fault))


def test_the_unspoilt_version_passes():
    check_value(spoilt)
    check_value(spoilt, masked=False)


@pytest.mark.parametrize("wrong", [
    lambda lengths, n: torch.searchsorted(lengths.cumsum(-1), torch.arange(n).expand(len(lengths), -1).contiguous()),
    lambda lengths, n: torch.arange(n).expand(len(lengths), -1) // max(lengths.max().item(), 1),
], ids=["the next word's first letter", "every word as long as the longest"])  # fmt: skip
def test_wrong_owners_are_rejected(wrong):
    with pytest.raises(AssertionError):
        check_owners(wrong)
