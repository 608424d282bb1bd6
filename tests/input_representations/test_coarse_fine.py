"""Coarse and fine attention: a loop over words, what hidden words may not change, position weights, the loss."""

import functools
import math

import pytest
import torch
from checks import close, leaf, randn
from oracles import inner, rows, softmax_row, tensor, times
from torch.autograd import gradcheck, gradgradcheck

from attnlib import attend
from attnlib.input_representations import coarse_fine
from attnlib.input_representations.coarse_fine import CoarseFine, alignment_loss, coarse, fine, position_weights

BATCH, WORD, ASPECT, D, PAIRED = 2, 7, 3, 5, 11
LENGTHS, ASPECT_LENGTHS = (7, 4), (2, 3)

# --- the oracles: plain loops over the words that are there -----------------------------------------------------------


def mean(vectors):
    return [sum(parts) / len(vectors) for parts in zip(*vectors, strict=True)]


def weighted(weights, vectors):
    return [inner(weights, parts) for parts in zip(*vectors, strict=True)]


def coarse_loop(sentence, aspect, sentence_weight, aspect_weight):
    """Weights over both, then contexts."""
    asked, heard = mean(aspect), mean(sentence)
    over_sentence = softmax_row([inner(asked, times(sentence_weight, h)) for h in sentence])
    over_aspect = softmax_row([inner(heard, times(aspect_weight, q)) for q in aspect])
    return over_sentence, over_aspect, weighted(over_sentence, sentence), weighted(over_aspect, aspect)


def fine_loop(sentence, aspect, weight):
    """U, weights over both, contexts."""
    u = [[inner(weight, h + q + [a * b for a, b in zip(h, q, strict=True)]) for q in aspect] for h in sentence]
    over_sentence = softmax_row([max(row) for row in u])
    over_aspect = [softmax_row(row) for row in u]
    pooled = mean([weighted(row, aspect) for row in over_aspect])
    return u, over_sentence, over_aspect, weighted(over_sentence, sentence), pooled


def alignment_loop(weights, labels, aspects, weight):
    total = 0.0
    for i in range(len(weights)):
        for j in range(i + 1, len(weights)):
            if labels[i] != labels[j]:
                both = [a * b for a, b in zip(aspects[i], aspects[j], strict=True)]
                distance = 1 / (1 + math.exp(-inner(weight, aspects[i] + aspects[j] + both)))
                total -= distance * sum((a - b) ** 2 for a, b in zip(weights[i], weights[j], strict=True))
    return total


def position_loop(n_word, start, length):
    found = []
    for t in range(n_word):
        distance = start - t if t < start else t - (start + length - 1)
        found.append(0.0 if start <= t < start + length else 1 - distance / (n_word - length + 1))
    return found


# --- inputs -----------------------------------------------------------------------------------------------------------


def texts():
    return randn(BATCH, WORD, D), randn(BATCH, ASPECT, D, seed=1)


def masks():
    real = [torch.tensor(lengths)[:, None] for lengths in (LENGTHS, ASPECT_LENGTHS)]
    return {"sentence_mask": torch.arange(WORD) < real[0], "aspect_mask": torch.arange(ASPECT) < real[1]}


def coarse_parameters():
    return {"sentence_weight": leaf(D, D), "aspect_weight": leaf(D, D, seed=1)}


WEIGHT = functools.partial(leaf, 3 * D)


def laid_out(result):
    """All numbers of a result, by name."""
    if isinstance(result, coarse_fine.TwoWay):
        return {"sentence": result.sentence.weights, "aspect": result.aspect.weights,
                "from sentence": result.sentence.context, "from aspect": result.aspect.context}  # fmt: skip
    return {"sentence": result.sentence.weights, "aspect": result.aspect.weights,
            "from sentence": result.sentence.context, "pooled": result.pooled}  # fmt: skip


# --- checks: what the right function satisfies and each mutant below must not -----------------------------------------


def check_coarse(function, masked=True):
    sentence, aspect = texts()
    given, hidden = coarse_parameters(), masks()
    result = laid_out(function(sentence, aspect, **given, **(hidden if masked else {})))
    for b in range(BATCH):
        n, m = (LENGTHS[b], ASPECT_LENGTHS[b]) if masked else (WORD, ASPECT)
        wanted = coarse_loop(rows(sentence[b, :n]), rows(aspect[b, :m]), *map(rows, given.values()))
        close(result["sentence"][b, 0, :n].detach(), tensor(wanted[0]))
        close(result["aspect"][b, 0, :m].detach(), tensor(wanted[1]))
        close(result["from sentence"][b, 0].detach(), tensor(wanted[2]))
        close(result["from aspect"][b, 0].detach(), tensor(wanted[3]))
        assert not result["sentence"][b, :, n:].any()
        assert not result["aspect"][b, :, m:].any()


def check_fine(function, masked=True):
    sentence, aspect = texts()
    weight, hidden = WEIGHT(), masks()
    result = function(sentence, aspect, weight=weight, **(hidden if masked else {}))
    for b in range(BATCH):
        n, m = (LENGTHS[b], ASPECT_LENGTHS[b]) if masked else (WORD, ASPECT)
        wanted = fine_loop(rows(sentence[b, :n]), rows(aspect[b, :m]), rows(weight))
        found = (
            result.aspect.energies[b, :n, :m],
            result.sentence.weights[b, 0, :n],
            result.aspect.weights[b, :n, :m],
            result.sentence.context[b, 0],
            result.pooled[b, 0],
        )
        for got, want in zip(found, wanted, strict=True):
            close(got.detach(), tensor(want))
        assert not result.sentence.weights[b, :, n:].any()
        assert not result.aspect.weights[b, n:].any()


def check_alignment(function):
    n = 4
    weights, aspects = randn(BATCH, n, WORD).softmax(-1), randn(BATCH, n, D, seed=1)
    labels, weight = torch.tensor([[0, 2, 0, 1], [1, 1, 1, 0]]), WEIGHT()
    found = function(weights, labels, aspects=aspects, weight=weight).detach()
    wanted = [alignment_loop(*map(list, (rows(weights[b]), labels[b].tolist(), rows(aspects[b]), rows(weight))))
              for b in range(BATCH)]  # fmt: skip
    close(found, tensor(wanted))


def check_positions(function):
    mask = torch.arange(WORD) < torch.tensor([7, 4, 2])[:, None]
    places = [(2, 2), (0, 3), (0, 2)]
    found = function(torch.tensor([2, 0, 0]), torch.tensor([2, 3, 2]), mask=mask)
    for row, real, place in zip(found, mask, places, strict=True):
        n = int(real.sum())
        torch.testing.assert_close(row[:n], torch.tensor(position_loop(n, *place)))
        assert not row[n:].any()


@pytest.mark.parametrize("masked", [True, False])
def test_coarse_is_the_loop(masked):
    check_coarse(coarse, masked)


@pytest.mark.parametrize("masked", [True, False])
def test_fine_is_the_loop(masked):
    check_fine(fine, masked)


def test_the_loss_is_the_loop():
    check_alignment(alignment_loss)


def test_position_weights_are_the_loop():
    check_positions(position_weights)


# --- what is hidden, what is missing ----------------------------------------------------------------------------------


def both(sentence, aspect, given, **hidden):
    found = coarse(sentence, aspect, **given["coarse"], **hidden), fine(sentence, aspect, **given["fine"], **hidden)
    return [number for result in found for number in laid_out(result).values()]


def parameters(device="cpu"):
    return {
        "coarse": {name: value.detach().to(device).requires_grad_() for name, value in coarse_parameters().items()},
        "fine": {"weight": WEIGHT().detach().to(device).requires_grad_()},
    }


@pytest.mark.parametrize("garbage", [math.nan, math.inf, -3e38, 3e38, 1e308])
def test_what_a_mask_hides_changes_nothing(garbage, device):
    def run(fill):
        given, hidden = parameters(device), {name: mask.to(device) for name, mask in masks().items()}
        leaves = []
        for text, mask in zip(texts(), hidden.values(), strict=True):
            filled = torch.where(mask[..., None], text.to(device), fill)
            leaves.append(filled.requires_grad_())
        found = both(*leaves, given, **hidden)
        learned = [*given["coarse"].values(), given["fine"]["weight"]]
        loss = sum((part * randn(*part.shape, seed=5).to(device)).sum() for part in found)
        return [part.detach() for part in found], torch.autograd.grad(loss, [*leaves, *learned])

    for got, wanted in zip(run(garbage), run(0.0), strict=True):
        for one, other in zip(got, wanted, strict=True):
            assert one.isfinite().all()
            close(one, other)


def test_padding_batch_mates_and_their_order_change_nothing():
    sentence, aspect = texts()
    given, hidden = parameters(), masks()
    together = both(sentence, aspect, given, **hidden)
    swapped = both(sentence.flip(0), aspect.flip(0), given, **{name: mask.flip(0) for name, mask in hidden.items()})
    for one, other in zip(together, swapped, strict=True):
        close(one, other.flip(0))
    for b in range(BATCH):
        alone = both(sentence[b, : LENGTHS[b]], aspect[b, : ASPECT_LENGTHS[b]], given)
        for one, other in zip(together, alone, strict=True):
            close(one[b][tuple(map(slice, other.shape))], other)


@pytest.mark.parametrize("empty", ["sentence", "aspect", "both"])
@pytest.mark.parametrize("how", ["masked", "without words"])
def test_where_there_is_nothing_all_is_zero(empty, how):
    sentence, aspect = (text.requires_grad_() for text in texts())
    given, hidden = parameters(), {}
    short = {"sentence": sentence, "aspect": aspect}
    for name in short if empty == "both" else [empty]:
        hidden[f"{name}_mask"] = torch.zeros(short[name].shape[:-1], dtype=torch.bool)
        if how == "without words":
            short[name], hidden[f"{name}_mask"] = short[name][:, :0], hidden[f"{name}_mask"][:, :0]
    found = both(*short.values(), given, **hidden)
    assert all((part == 0).all() for part in found)
    slopes = torch.autograd.grad(sum(part.sum() for part in found), [sentence, aspect], allow_unused=True)
    assert all(slope is None or not slope.any() for slope in slopes)


def test_one_word_each_looks_at_itself():
    for part in both(randn(1, D), randn(1, D, seed=1), parameters()):
        assert part.shape[-1] == D or (part == 1).all()


def test_nan_that_is_seen_spoils_its_own_sentence_alone():
    sentence, aspect = texts()
    clean = both(sentence, aspect, parameters(), **masks())
    spoilt = sentence.clone()
    spoilt[0, 3, 1] = math.nan
    for one, other in zip(both(spoilt, aspect, parameters(), **masks()), clean, strict=True):
        assert one[0].isnan().any()
        close(one[1], other[1])


def test_several_aspects_ask_one_sentence():
    sentence, aspect = texts()
    many = torch.stack([aspect, aspect.flip(1)], 1)
    given = parameters()
    for together, first, second in zip(
        both(sentence[:, None], many, given), both(sentence, aspect, given), both(sentence, aspect.flip(1), given),
        strict=True,
    ):  # fmt: skip
        close(together, torch.stack([first, second], 1))


# --- what they are, as functions --------------------------------------------------------------------------------------


def test_fine_attention_of_an_aspect_of_one_word_is_trilinear_attention():
    sentence, aspect, weight = randn(BATCH, WORD, D), randn(BATCH, 1, D, seed=1), WEIGHT()
    score = functools.partial(coarse_fine.trilinear, weight=weight)
    wanted = attend(aspect, sentence, score=score, mask=masks()["sentence_mask"].unsqueeze(-2))
    found = fine(sentence, aspect, weight=weight, sentence_mask=masks()["sentence_mask"]).sentence
    for one, other in zip(found, wanted, strict=True):
        close(one, other)


def test_the_order_of_the_aspect_s_words_does_not_count():
    sentence, aspect = texts()
    found, turned = (fine(sentence, text, weight=WEIGHT()) for text in (aspect, aspect.flip(1)))
    close(found.sentence.weights, turned.sentence.weights)
    close(found.pooled, turned.pooled)


def test_what_is_pooled_is_one_attention_with_the_mean_of_the_weights():
    sentence, aspect = texts()
    found = fine(sentence, aspect, weight=WEIGHT())
    close(found.pooled, found.aspect.weights.mean(-2, keepdim=True) @ aspect)


def test_the_loss_is_bounded_and_knows_its_cases():
    same, apart = torch.tensor([[0.5, 0.5], [0.5, 0.5]]), torch.eye(2)
    assert alignment_loss(same, torch.tensor([0, 1])) == 0
    assert alignment_loss(apart, torch.tensor([1, 1])) == 0
    assert alignment_loss(apart, torch.tensor([0, 1])) == -2
    assert alignment_loss(apart[:1], torch.tensor([0])) == 0
    assert alignment_loss(torch.zeros(3, 0, 2), torch.zeros(3, 0, dtype=torch.long)).tolist() == [0, 0, 0]


def test_the_loss_does_not_see_what_is_no_aspect():
    weights, labels = randn(3, WORD).softmax(-1), torch.tensor([0, 1, 2])
    aspects, weight = randn(3, D, seed=1), WEIGHT()
    wanted = alignment_loss(weights[:2], labels[:2], aspects=aspects[:2], weight=weight)
    for garbage in (math.nan, math.inf, 1e308):
        filled, vectors = weights.clone(), aspects.clone()
        filled[2], vectors[2] = garbage, garbage
        filled.requires_grad_(), vectors.requires_grad_()
        found = alignment_loss(filled, labels, aspects=vectors, weight=weight, mask=torch.tensor([True, True, False]))
        close(found, wanted)
        for slope in torch.autograd.grad(found, [filled, vectors, weight]):
            assert slope.isfinite().all()


def test_down_the_loss_the_distance_can_only_rise():
    weights, aspects, weight = randn(4, WORD).softmax(-1), randn(4, D, seed=1), torch.zeros(3 * D, dtype=torch.float64)
    bias = torch.ones(4, 1, dtype=torch.float64)  # a component that all aspects share makes each distance rise
    weight = torch.zeros(3 * (D + 1), dtype=torch.float64, requires_grad=True)
    loss = alignment_loss(weights, torch.arange(4), aspects=torch.cat([aspects, bias], -1), weight=weight)
    (slope,) = torch.autograd.grad(loss, weight)
    assert slope[D] < 0
    assert slope[2 * D + 1] < 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_each_precision_keeps_its_own(dtype, device):
    sentence, aspect = (text.to(device=device, dtype=dtype) for text in texts())
    module = CoarseFine(D, device=device, dtype=dtype)
    found = module(sentence, aspect).features
    assert found.dtype == dtype
    wanted = module.double()(sentence.double(), aspect.double()).features
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol={torch.float32: 1e-5}.get(dtype, 2e-2))


def test_slopes_are_the_numerical_ones():
    sentence, aspect = (text.requires_grad_() for text in texts())

    def run(sentence, aspect, first, second, weight):
        given = {"coarse": {"sentence_weight": first, "aspect_weight": second}, "fine": {"weight": weight}}
        return tuple(both(sentence, aspect, given, **masks()))

    leaves = (sentence, aspect, *coarse_parameters().values(), WEIGHT())
    assert gradcheck(run, leaves, fast_mode=True)
    assert gradgradcheck(run, leaves, fast_mode=True)
    labels = torch.tensor([[0, 2, 0], [1, 1, 0]])
    leaves = (randn(BATCH, 3, WORD).softmax(-1).requires_grad_(), leaf(BATCH, 3, D), WEIGHT())
    assert gradcheck(lambda a, q, w: alignment_loss(a, labels, aspects=q, weight=w), leaves, fast_mode=True)


def test_the_module_is_the_functions():
    module, (sentence, aspect) = CoarseFine(D).double(), texts()
    found = module(sentence, aspect, **masks())
    given = {"sentence_weight": module.sentence_weight, "aspect_weight": module.aspect_weight}
    parts = coarse(sentence, aspect, **given, **masks()), fine(sentence, aspect, weight=module.fine_weight, **masks())
    assert torch.equal(found.fine.pooled, parts[1].pooled)
    contexts = parts[0].sentence, parts[0].aspect, parts[1].sentence
    assert torch.equal(found.features, torch.cat([*(p.context for p in contexts), parts[1].pooled], -1)[:, 0])
    assert sum(parameter.numel() for parameter in module.parameters()) == 2 * D * D + 3 * D


@pytest.mark.usefixtures("unchecked")
def test_runs_side_by_side_and_exports():
    module = CoarseFine(D).double()
    sentence, aspect = texts()
    wanted = module(sentence, aspect, **masks()).features
    one = torch.func.vmap(lambda s, a, m, n: module(s, a, sentence_mask=m, aspect_mask=n).features)
    close(one(sentence, aspect, *masks().values()), wanted)
    sizes = {1: torch.export.Dim("words", min=2, max=31)}
    shapes = {"sentence": sizes, "aspect": {}, "sentence_mask": sizes, "aspect_mask": {}}
    program = torch.export.export(module, (sentence, aspect), masks(), dynamic_shapes=shapes, strict=False).module()
    longer = randn(BATCH, 13, D, seed=3)
    real = {**masks(), "sentence_mask": torch.arange(13) < torch.tensor([[13], [1]])}
    for got, want in zip(program(longer, aspect, **real).fine.sentence, module(longer, aspect, **real).fine.sentence,
                         strict=True):  # fmt: skip
        close(got, want)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named():
    sentence, aspect = texts()
    given, weight, real = coarse_parameters(), WEIGHT(), masks()
    mask, two = torch.ones(1, 4, dtype=torch.bool), torch.tensor([2])
    looks = torch.eye(2)
    cases = [
        (TypeError, "sentence must be floating point", lambda: fine(sentence.long(), aspect, weight=weight)),
        (TypeError, "aspect must be a tensor, got list", lambda: fine(sentence, [1.0], weight=weight)),
        (ValueError, r"sentence must have shape \(\*batch, word, d\)",
         lambda: fine(sentence[0, 0], aspect, weight=weight)),
        (ValueError, "aspect has d=4 but sentence has d=5", lambda: fine(sentence, aspect[..., 1:], weight=weight)),
        (ValueError, r"weight must have shape \(3 d=15\), got shape \(14,\)",
         lambda: fine(sentence, aspect, weight=weight[1:])),
        (ValueError, "sentence_weight must have shape",
         lambda: coarse(sentence, aspect, sentence_weight=weight, aspect_weight=given["aspect_weight"])),
        (TypeError, "mask must be boolean",
         lambda: fine(sentence, aspect, weight=weight, sentence_mask=real["sentence_mask"].long())),
        (ValueError, r"aspect_mask must fit \(2, 3\), got shape \(2, 7\)",
         lambda: fine(sentence, aspect, weight=weight, aspect_mask=real["sentence_mask"])),
        (TypeError, "start must be integer", lambda: position_weights(two.double(), two, mask=mask)),
        (ValueError, "start and length must name words within", lambda: position_weights(two + 1, two, mask=mask)),
        (ValueError, "start and length must name words within", lambda: position_weights(two, 0 * two, mask=mask)),
        (ValueError, r"length must have shape \(1,\)", lambda: position_weights(two, two[0], mask=mask)),
        (TypeError, "mask must be boolean", lambda: position_weights(two, two, mask=mask.long())),
        (ValueError, r"weights must be \(\*batch, aspect, word\)", lambda: alignment_loss(looks, two)),
        (ValueError, "must be given together, got weight",
         lambda: alignment_loss(looks, torch.tensor([0, 1]), weight=weight)),
        (TypeError, "weights must be floating point", lambda: alignment_loss(looks.long(), torch.tensor([0, 1]))),
    ]  # fmt: skip
    for error, message, call in cases:
        with pytest.raises(error, match=message):
            call()


# --- known wrong versions ---------------------------------------------------------------------------------------------


def spoilt_fine(sentence, aspect, *, weight, sentence_mask=None, aspect_mask=None, fault=""):
    """Fine attention in plain lines, right with no fault."""
    n = sentence.shape[-2], aspect.shape[-2]
    real = torch.ones(BATCH, n[0], dtype=torch.bool) if sentence_mask is None else sentence_mask
    named = torch.ones(BATCH, n[1], dtype=torch.bool) if aspect_mask is None else aspect_mask
    pairs = sentence[:, :, None].expand(-1, -1, n[1], -1), aspect[:, None].expand(-1, n[0], -1, -1)
    parts = pairs if fault != "parts exchanged" else pairs[::-1]
    u = torch.cat([*parts, pairs[0] * pairs[1]], -1) @ weight
    seen = real[:, :, None] & named[:, None]
    if fault != "padding of the aspect in the maximum":
        u = u.masked_fill(~seen, -torch.inf)
    largest = u.amax(2) if fault != "maximum over the other axis" else u.amax(1).mean(1, keepdim=True).expand(-1, n[0])
    if fault == "mean for the maximum":
        largest = torch.where(seen, u, 0).sum(2) / named.sum(1, keepdim=True)
    largest = largest.masked_fill(~real, 0.0 if fault == "no mask before the softmax" else -torch.inf)
    over = largest.softmax(-1)
    if fault == "mask after the softmax":
        over = u.amax(2).masked_fill(~real, 0.0).softmax(-1) * real
    rowwise = torch.where(seen, u.softmax(2).nan_to_num(), 0.0)
    if fault == "one softmax over the largest":  # the re-implementation's
        rowwise = torch.where(seen, u.amax(1).softmax(-1)[:, None], 0.0)
    count = n[0] if fault == "mean over padding" else real.sum(1)[:, None, None]
    pooled = (rowwise @ aspect).sum(1, keepdim=True) / count
    over = over[:, None]
    energies = coarse_fine.Attention(over @ sentence, over, largest[:, None])
    return coarse_fine.Fine(energies, coarse_fine.Attention(rowwise @ aspect, rowwise, u), pooled)


def spoilt_coarse(sentence, aspect, *, sentence_weight, aspect_weight, sentence_mask=None, aspect_mask=None, fault=""):
    real = torch.ones(BATCH, WORD, dtype=torch.bool) if sentence_mask is None else sentence_mask
    named = torch.ones(BATCH, ASPECT, dtype=torch.bool) if aspect_mask is None else aspect_mask

    def middle(text, mask):
        if fault == "mean over padding":
            return text.mean(1, keepdim=True)
        return (text * mask[..., None]).sum(1, keepdim=True) / mask.sum(1)[:, None, None]

    def over(query, key, mask, weight):
        energies = query @ weight @ key.mT if fault != "matrix turned" else query @ weight.mT @ key.mT
        hidden = 0.0 if fault == "no mask before the softmax" else -torch.inf
        weights = energies.masked_fill(~mask[:, None], hidden).softmax(-1)
        return coarse_fine.Attention(weights @ key, weights, energies)

    asked, heard = middle(aspect, named), middle(sentence, real)
    if fault == "asked by itself":
        asked, heard = heard, asked
    return coarse_fine.TwoWay(over(asked, sentence, real, sentence_weight), over(heard, aspect, named, aspect_weight))


def spoilt_alignment(weights, labels, *, aspects, weight, fault=""):
    """The loss in plain lines, right with no fault."""
    n = labels.shape[-1]
    pairs = labels[:, :, None] == labels[:, None] if fault == "equal labels" else labels[:, :, None] != labels[:, None]
    pairs = pairs & (torch.ones(n, n).triu(1) > 0 if fault != "each pair twice" else ~torch.eye(n).bool())
    first, second = aspects[:, :, None].expand(-1, -1, n, -1), aspects[:, None].expand(-1, n, -1, -1)
    if fault == "the second first":
        first, second = second, first
    distance = torch.sigmoid(torch.cat([first, second, first * second], -1) @ weight)
    apart = (weights[:, :, None] - weights[:, None]).square().sum(-1)
    return (1 if fault == "sign" else -1) * (distance * apart * pairs).sum((1, 2))


def spoilt_positions(start, length, *, mask, fault=""):
    n = torch.full_like(start, WORD) if fault == "distance with padding" else mask.sum(1)
    place = torch.arange(WORD)[None]
    start, last = start[:, None], (start + length)[:, None] - 1
    distance = torch.maximum(start - place, place - (last if fault != "from the first word" else start))
    divisor = (n - length)[:, None] + (0 if fault == "no plus one" else 1)
    weights = torch.where(
        (place >= start) & (place <= last), 1.0 if fault == "own words" else 0.0, 1 - distance / divisor
    )
    return weights if fault == "padding has weight" else torch.where(mask, weights, 0.0)


FAULTS = {
    spoilt_fine: (check_fine, [
        "no mask before the softmax", "mask after the softmax", "maximum over the other axis", "mean for the maximum",
        "padding of the aspect in the maximum", "mean over padding", "parts exchanged",
        "one softmax over the largest"]),
    spoilt_coarse: (check_coarse, [
        "no mask before the softmax", "mean over padding", "matrix turned", "asked by itself"]),
    spoilt_alignment: (check_alignment, ["equal labels", "each pair twice", "the second first", "sign"]),
    spoilt_positions: (check_positions, [
        "distance with padding", "from the first word", "no plus one", "own words", "padding has weight"]),
}  # fmt: skip
WRONG = [(mutant, check, fault) for mutant, (check, faults) in FAULTS.items() for fault in faults]


@pytest.mark.parametrize(("mutant", "check", "fault"), WRONG, ids=lambda part: getattr(part, "__name__", part))
def test_wrong_versions_are_rejected(mutant, check, fault):
    with pytest.raises(AssertionError):
        check(functools.partial(mutant, fault=fault))


@pytest.mark.parametrize("mutant", FAULTS)
def test_the_unspoilt_versions_pass(mutant):
    FAULTS[mutant][0](mutant)
