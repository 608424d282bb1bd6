"""Co-attention: loops over words and regions, what is hidden, both sides exchanged, and known wrong versions."""

import functools
import math

import pytest
import torch
from checks import close, leaf, randn
from oracles import inner, plus, rows, softmax_row, tensor, times
from torch.autograd import gradcheck, gradgradcheck

from attnlib import attend, scores
from attnlib.input_representations.coattention import CoAttention, Guidance, alternating, by_maximum, parallel

BATCH, REGION, WORD, D_IMAGE, D_QUESTION, D_HIDDEN = 2, 5, 3, 7, 11, 13

# --- the oracles: plain loops from the paper --------------------------------------------------------------------------


def affinity_loop(image, question, weight):
    """Eq. 3, a word a row."""
    return [[math.tanh(inner(word, times(weight, region))) for region in image] for word in question]


def pooled_loop(energies, items):
    weights = softmax_row(energies)
    context = [sum(weight * item[d] for weight, item in zip(weights, items, strict=True)) for d in range(len(items[0]))]
    return context, weights


def parallel_loop(image, question, given):
    """Eq. 3 to 5 for one image and one question, none of it hidden."""
    affinity = affinity_loop(image, question, given["affinity_weight"])
    regions = [times(given["image_weight"], region) for region in image]
    words = [times(given["question_weight"], word) for word in question]
    energies = {"image": [], "question": []}
    for n, region in enumerate(regions):
        for t, word in enumerate(words):
            region = plus(region, [affinity[t][n] * component for component in word])
        energies["image"].append(inner(given["image_vector"], [math.tanh(x) for x in region]))
    for t, word in enumerate(words):
        for n, region in enumerate(regions):
            word = plus(word, [affinity[t][n] * component for component in region])
        energies["question"].append(inner(given["question_vector"], [math.tanh(x) for x in word]))
    return [pooled_loop(energies["image"], image), pooled_loop(energies["question"], question)], affinity


def maximum_loop(image, question, given):
    affinity = affinity_loop(image, question, given["affinity_weight"])
    best_word = [max(affinity[t][n] for t in range(len(question))) for n in range(len(image))]
    best_region = [max(row) for row in affinity]
    return [pooled_loop(best_word, image), pooled_loop(best_region, question)], affinity


def asked_loop(items, guide, weight, vector, guide_weight=None):
    """Eq. 6."""
    energies = []
    for item in items:
        hidden = times(weight, item)
        if guide is not None:
            hidden = plus(hidden, times(guide_weight, guide))
        energies.append(inner(vector, [math.tanh(x) for x in hidden]))
    return pooled_loop(energies, items)


def alternating_loop(image, question, given):
    first = asked_loop(question, None, *given["summary"][:2])
    looked = asked_loop(image, first[0], *given["to_image"])
    return [first, looked, asked_loop(question, looked[0], *given["to_question"])]


# --- inputs -----------------------------------------------------------------------------------------------------------


def both(dtype=torch.float64, device="cpu", words=WORD):
    return tuple(randn(BATCH, *size, dtype=dtype, device=device) for size in ((REGION, D_IMAGE), (words, D_QUESTION)))


def masks(device="cpu"):
    """The first example has three of five regions and two of three words, the second all but its first region."""
    image = torch.tensor([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1]], device=device).bool()
    return {"image_mask": image, "question_mask": torch.tensor([[1, 0, 1], [1, 1, 1]], device=device).bool()}


def for_parallel(dtype=torch.float64, device="cpu"):
    make = functools.partial(leaf, dtype=dtype, device=device)
    return {
        "affinity_weight": make(D_QUESTION, D_IMAGE),
        "image_weight": make(D_HIDDEN, D_IMAGE, seed=1),
        "question_weight": make(D_HIDDEN, D_QUESTION, seed=2),
        "image_vector": make(D_HIDDEN, seed=3),
        "question_vector": make(D_HIDDEN, seed=4),
    }


def for_maximum(dtype=torch.float64, device="cpu"):
    return {"affinity_weight": for_parallel(dtype, device)["affinity_weight"]}


def turn(items, guide, seed, dtype=torch.float64, device="cpu"):
    make = functools.partial(leaf, dtype=dtype, device=device)
    asks = None if guide is None else make(D_HIDDEN, guide, seed=seed + 2)
    return Guidance(make(D_HIDDEN, items, seed=seed), make(D_HIDDEN, seed=seed + 1), asks)


def for_alternating(dtype=torch.float64, device="cpu"):
    return {
        "summary": turn(D_QUESTION, None, 0, dtype, device),
        "to_image": turn(D_IMAGE, D_QUESTION, 5, dtype, device),
        "to_question": turn(D_QUESTION, D_IMAGE, 9, dtype, device),
    }


KINDS = {
    "parallel": (parallel, for_parallel, parallel_loop),
    "by maximum": (by_maximum, for_maximum, maximum_loop),
    "alternating": (alternating, for_alternating, lambda *given: (alternating_loop(*given), None)),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def attentions(result):
    """The attentions of a result, in the order of the loops."""
    return [result.image, result.question] if isinstance(result, CoAttention) else list(result)


def flat(result):
    """All numbers of a result that are weights or contexts."""
    return torch.cat([part.flatten() for each in attentions(result) for part in each[:2]])


def plain(part):
    return [None if each is None else rows(each) for each in part] if isinstance(part, Guidance) else rows(part)


# --- checks -----------------------------------------------------------------------------------------------------------


def check_value(function, kind, seen=None):
    """With masks: as if what is hidden had never been there."""
    image, question = both()
    given, loop, hides = KINDS[kind][1](), KINDS[kind][2], {} if seen is None else seen
    result = function(image, question, **given, **hides)
    for b in range(BATCH):
        open_ = [hides[name][b] if hides else torch.ones(size).bool() for name, size in SIDES.items()]
        lists = rows(image[b][open_[0]]), rows(question[b][open_[1]])
        wanted, affinity = loop(*lists, {name: plain(part) for name, part in given.items()})
        sides = [open_[1], *open_] if kind == "alternating" else open_
        for got, (context, weights), side in zip(attentions(result), wanted, sides, strict=True):
            close(got.context[b, 0], tensor(context))
            close(got.weights[b, 0][side], tensor(weights))
            assert (got.weights[b, 0][~side] == 0).all()
            assert (got.energies[b, 0][~side] == -math.inf).all()
        if affinity is not None:
            close(result.affinity[b][open_[1]][:, open_[0]], tensor(affinity))
            assert (result.affinity[b][~open_[1]] == 0).all()


SIDES = {"image_mask": REGION, "question_mask": WORD}


def check_hidden_values_change_nothing(function, kind):
    """NaN, infinities and the largest numbers behind both masks: neither results nor gradients."""
    image, question = both()
    hides, found = masks(), []
    for bad in (0.0, math.nan, math.inf, torch.finfo(torch.float64).max):
        sides = [
            torch.where(mask.unsqueeze(-1), side, bad).requires_grad_()
            for side, mask in zip((image, question), hides.values(), strict=True)
        ]
        given = KINDS[kind][1]()
        result = flat(function(*sides, **given, **hides))
        leaves = [*sides, *(part for each in given.values() for part in (each if isinstance(each, tuple) else [each]))]
        leaves = [part for part in leaves if part is not None]
        slopes = torch.autograd.grad((result * randn(len(result))).sum(), leaves, allow_unused=True)
        found.append([result.detach(), *(slope for slope in slopes if slope is not None)])
        for slope, mask in zip(slopes, hides.values(), strict=False):
            assert (slope[~mask] == 0).all()
    for other in found[1:]:
        for got, want in zip(other, found[0], strict=True):
            close(got, want)


def check_as_many_words_as_regions(function):
    """A square affinity, which fits either way round."""
    image, question = both(words=REGION)
    given = for_parallel()
    result = function(image, question, **given)
    wanted, _ = parallel_loop(rows(image[1]), rows(question[1]), {name: rows(part) for name, part in given.items()})
    for got, (_, weights) in zip(attentions(result), wanted, strict=True):
        close(got.weights[1, 0], tensor(weights))


def check_swap(function):
    """The sides exchanged with their parameters, and the affinity's matrix transposed: the results are exchanged."""
    image, question = both()
    given = for_parallel()
    exchanged = {
        "affinity_weight": given["affinity_weight"].mT,
        "image_weight": given["question_weight"],
        "question_weight": given["image_weight"],
        "image_vector": given["question_vector"],
        "question_vector": given["image_vector"],
    }
    hides = masks()
    one = function(image, question, **given, **hides)
    other_hides = {"image_mask": hides["question_mask"], "question_mask": hides["image_mask"]}
    other = function(question, image, **exchanged, **other_hides)
    for got, want in ((other.question, one.image), (other.image, one.question)):
        close(got.context, want.context)
        close(got.weights, want.weights)
    close(other.affinity.mT, one.affinity)


def check_guides(function):
    """Another question moves the look at the image, another image the second reading and not the first."""
    image, question = both()
    given = for_alternating()
    base = function(image, question, **given)
    asked = function(image, question + 1, **given)
    shown = function(image + 1, question, **given)
    assert (asked.image.weights - base.image.weights).abs().max() > 1e-3
    assert (shown.question.weights - base.question.weights).abs().max() > 1e-3
    close(shown.summary.weights, base.summary.weights)


# --- the tests --------------------------------------------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize("seen", [None, masks()], ids=["all seen", "masked"])
def test_values(kind, seen):
    check_value(KINDS[kind][0], kind, seen)


@each_kind
def test_what_is_hidden_changes_nothing(kind):
    check_hidden_values_change_nothing(KINDS[kind][0], kind)


def test_as_many_words_as_regions():
    check_as_many_words_as_regions(parallel)


def test_sides_exchanged():
    check_swap(parallel)


def test_sides_exchanged_by_maximum():
    def swapped(image, question, *, affinity_weight, image_mask, question_mask, **_):
        hides = {"image_mask": image_mask, "question_mask": question_mask}
        return by_maximum(image, question, affinity_weight=affinity_weight, **hides)

    check_swap(swapped)


def test_each_turn_is_guided_by_the_one_before():
    check_guides(alternating)


def test_a_turn_that_nothing_guides_is_self_attentive_pooling():
    """With an empty image the guide of the third turn is zero; so it is with guide weights of zero."""
    image, question = both()
    given = for_alternating()
    unguided = Guidance(given["to_question"].weight, given["to_question"].vector)
    alone = alternating(image, question, **{**given, "summary": unguided}).summary
    hidden = torch.zeros(BATCH, REGION).bool()
    energies = (question @ unguided.weight.mT).tanh() @ unguided.vector
    pooled = energies.softmax(-1).unsqueeze(1)
    for got in (
        alone,
        alternating(image, question, **given, image_mask=hidden).question,
        alternating(image, question, **{**given, "to_question": Guidance(*unguided[:2], 0 * given["to_question"][2])})[
            2
        ],
    ):
        close(got.weights, pooled)
        close(got.context, pooled @ question)


def test_a_turn_is_attention_with_the_additive_score():
    image, question = both()
    given = for_alternating()
    found = alternating(image, question, **given)
    weight, vector, guide_weight = given["to_image"]
    score = functools.partial(scores.additive, vector=vector, key_weight=weight, query_weight=guide_weight)
    assert torch.equal(found.image.weights, attend(found.summary.context, image, score=score).weights)


@each_kind
def test_a_side_without_anything_to_see(kind):
    """All hidden, or none given: zeros, weights and gradients too; what is left of the other side is defined."""
    function, make, _ = KINDS[kind]
    image, question = (side.requires_grad_() for side in both())
    for gone in ("image", "question"):
        hidden = {f"{gone}_mask": torch.zeros(BATCH, REGION if gone == "image" else WORD).bool()}
        result = function(image, question, **make(), **hidden)
        lost, other = (result.image, result.question) if gone == "image" else (result.question, result.image)
        assert not lost.context.any()
        assert not lost.weights.any()
        close(other.weights.sum(-1), torch.ones(BATCH, 1).double())
        slopes = torch.autograd.grad(flat(result).sum(), (image, question), allow_unused=True, materialize_grads=True)
        assert not slopes[0 if gone == "image" else 1].any()
        assert all(slope.isfinite().all() for slope in slopes)
        sides = {"image": image, "question": question}
        empty = function(**{**sides, gone: sides[gone][:, :0]}, **make())
        for got, want in zip(attentions(empty), attentions(result), strict=True):
            close(got.context, want.context)


def test_parallel_without_an_image_is_self_attentive_pooling_of_the_question():
    image, question = both()
    given = for_parallel()
    found = parallel(image[:, :0], question, **given).question
    energies = (question @ given["question_weight"].mT).tanh() @ given["question_vector"]
    close(found.weights, energies.softmax(-1).unsqueeze(1))


@each_kind
def test_one_word_and_one_region(kind):
    function, make, _ = KINDS[kind]
    image, question = both()
    result = function(image[:, :1], question[:, :1], **make())
    for each in attentions(result):
        close(each.weights, torch.ones(BATCH, 1, 1).double())
    close(result.image.context, image[:, :1])
    close(result.question.context, question[:, :1])


@each_kind
def test_batch_mates_padding_and_order_change_nothing(kind):
    function, make, _ = KINDS[kind]
    image, question = both()
    hides, given = masks(), make()
    whole = function(image, question, **given, **hides)
    flipped = function(image.flip(0), question.flip(0), **given, **{n: m.flip(0) for n, m in hides.items()})
    for b in range(BATCH):
        alone = function(image[b], question[b], **given, **{name: mask[b] for name, mask in hides.items()})
        for got, other, want in zip(*map(attentions, (alone, flipped, whole)), strict=True):
            close(got.context, want.context[b])
            close(got.weights, want.weights[b])
            close(other.context[BATCH - 1 - b], want.context[b])
    one_for_all = function(image[0], question, **given)
    close(one_for_all.image.context[1], function(image[0], question[1], **given).image.context)


@each_kind
def test_regions_and_words_have_no_order(kind):
    function, make, _ = KINDS[kind]
    image, question = both()
    given, order, other = make(), torch.tensor([3, 0, 4, 1, 2]), torch.tensor([2, 0, 1])
    base, moved = function(image, question, **given), function(image[:, order], question[:, other], **given)
    close(moved.image.weights, base.image.weights[..., order])
    close(moved.question.weights, base.question.weights[..., other])
    close(moved.question.context, base.question.context)


@each_kind
def test_slopes_are_the_numerical_ones(kind):
    function, make, _ = KINDS[kind]

    def run(image, question):
        return flat(function(image, question, **make(), **masks()))

    sides = tuple(side.requires_grad_() for side in both())
    assert gradcheck(run, sides, fast_mode=True)
    assert gradgradcheck(run, sides, fast_mode=True)


@each_kind
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_rounded_at_its_ends_only(kind, dtype, device):
    function, make, _ = KINDS[kind]
    sides, given, hides = both(dtype, device), make(dtype, device), masks(device)
    found = function(*sides, **given, **hides)
    double = {
        name: Guidance(*(None if p is None else p.double() for p in part)) if isinstance(part, tuple) else part.double()
        for name, part in given.items()
    }
    exact = function(*(side.double() for side in sides), **double, **hides)
    for got, want in zip(attentions(found), attentions(exact), strict=True):
        assert got.context.dtype == got.weights.dtype == dtype
        assert got.energies.dtype == torch.float32
        torch.testing.assert_close(got.weights.double(), want.weights, atol=4 * torch.finfo(dtype).eps, rtol=0)


@each_kind
def test_nothing_is_modified(kind):
    function, make, _ = KINDS[kind]
    sides, hides = both(), masks()
    before = [part.clone() for part in (*sides, *hides.values())]
    function(*sides, **make(), **hides)
    for part, was in zip((*sides, *hides.values()), before, strict=True):
        assert torch.equal(part, was)


@each_kind
@pytest.mark.usefixtures("unchecked")
def test_maps_over_a_batch(kind):
    function, make, _ = KINDS[kind]
    given, mask = make(), masks()["image_mask"]

    def run(image, question, image_mask):
        return function(image, question, **given, image_mask=image_mask).image.weights

    close(torch.vmap(run)(*both(), mask), run(*both(), mask))


@pytest.mark.usefixtures("unchecked")
def test_exports_with_open_sizes():
    class Alone(torch.nn.Module):
        def forward(self, image, question, image_mask):
            return parallel(image, question, **given, image_mask=image_mask).image.weights

    given = {name: part.detach() for name, part in for_parallel().items()}
    region, word = torch.export.Dim("region", min=2, max=31), torch.export.Dim("word", min=2, max=31)
    sizes = ({1: region}, {1: word}, {1: region})
    parts = (*both(), masks()["image_mask"])
    program = torch.export.export(Alone(), parts, dynamic_shapes=sizes, strict=False).module()
    longer = randn(BATCH, 17, D_IMAGE), randn(BATCH, 19, D_QUESTION), randn(BATCH, 17) > 0
    close(program(*longer), Alone()(*longer))


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named():
    image, question = both()
    given, turns, hides = for_parallel(), for_alternating(), masks()
    cases = [
        (TypeError, "image must be floating point, got dtype torch.int64", lambda: run(image.long())),
        (TypeError, "question must be a tensor, got list", lambda: run(image, [])),
        (ValueError, r"question must have shape \(\*batch, item, size\)", lambda: run(image, question[0, 0])),
        (TypeError, r"mask must be boolean \(True = may attend\)", lambda: run(image_mask=torch.ones(BATCH, REGION))),
        (ValueError, r"image_mask must broadcast to \(2, 5\)", lambda: run(image_mask=hides["question_mask"])),
        (ValueError, r"question_mask must broadcast to \(2, 3\)", lambda: run(question_mask=torch.ones(2, 1).bool())),
        (ValueError, r"affinity_weight must have shape \(d_question=11, d_image=7\)", lambda: run(
            affinity_weight=given["affinity_weight"].mT)),
        (ValueError, r"image_weight must have shape \(d_hidden=13, d_image=7\)", lambda: run(
            image_weight=given["question_weight"])),
        (ValueError, r"question_vector must have shape \(d_hidden=13\)", lambda: run(question_vector=randn(12))),
        (ValueError, "summary must be without a guide_weight", lambda: turned(summary=turns["to_image"])),
        (ValueError, "to_image must have a guide_weight, got None", lambda: turned(to_image=turns["summary"])),
        (ValueError, r"to_image.guide_weight must have shape \(d_hidden=13, d_guide=11\)", lambda: turned(
            to_image=turns["to_image"]._replace(guide_weight=turns["to_question"].guide_weight))),
        (ValueError, r"to_question.weight must have shape", lambda: turned(to_question=turns["to_image"])),
    ]  # fmt: skip

    def run(image=image, question=question, **other):
        return parallel(image, question, **(given | other))

    def turned(**other):
        return alternating(image, question, **(turns | other))

    for error, message, call in cases:
        with pytest.raises(error, match=message):
            call()


# --- known wrong versions ---------------------------------------------------------------------------------------------


def spoilt(fault=""):
    """Parallel co-attention written anew, right but for one fault."""

    def parallel(image, question, *, image_mask=None, question_mask=None, **given):
        if fault != "masks at the softmax alone" and image_mask is not None:
            image = torch.where(image_mask.unsqueeze(-1), image, 0.0)
            question = torch.where(question_mask.unsqueeze(-1), question, 0.0)
        affinity = torch.tanh(question @ given["affinity_weight"] @ image.mT)
        if fault == "no tanh on the affinity":
            affinity = question @ given["affinity_weight"] @ image.mT
        regions, words = image @ given["image_weight"].mT, question @ given["question_weight"].mT
        across, back = affinity.mT @ words, affinity @ regions
        if fault == "affinity normalised over the other axis":
            across = affinity.softmax(-1).mT @ words
        if fault == "affinity not transposed":
            across, back = affinity @ words, affinity.mT @ regions
        if fault == "the other side is not asked":
            back = 0 * back
        found = []
        for own, other, vector, items, mask in (
            (regions, across, given["image_vector"], image, image_mask),
            (words, back, given["question_vector"], question, question_mask),
        ):
            inside = torch.tanh(own + other)
            energies = (own + other) @ vector if fault == "no tanh inside" else inside @ vector
            if mask is not None and fault != "no masks":
                energies = energies.masked_fill(~mask, -torch.inf)
            weights = energies.softmax(0 if fault == "softmax over the batch" else -1)
            found.append(type(attend(items, items))((weights.unsqueeze(-2) @ items), weights[..., None, :], energies[
                ..., None, :]))  # fmt: skip
        return CoAttention(*found, affinity)

    return parallel


def wrong_maximum(fault):
    def by_maximum(image, question, *, affinity_weight, image_mask=None, question_mask=None):
        image = torch.where(image_mask.unsqueeze(-1), image, 0.0)
        question = torch.where(question_mask.unsqueeze(-1), question, 0.0)
        affinity = torch.tanh(question @ affinity_weight @ image.mT)
        best = affinity.amax(-2) if fault == "hidden words win with zero" else affinity.mean(-2)
        weights = best.masked_fill(~image_mask, -torch.inf).softmax(-1).unsqueeze(-2)
        right = KINDS["by maximum"][0](
            image, question, affinity_weight=affinity_weight, image_mask=image_mask, question_mask=question_mask
        )
        return right._replace(image=right.image._replace(weights=weights, context=weights @ image))

    return by_maximum


def wrong_turns(fault):
    def wrong(image, question, **given):
        right = alternating(image, question, **given)
        guides = {
            "guided by the words' mean": question.mean(-2, keepdim=True),
            "not guided": 0 * right.summary.context,
        }
        if fault in guides:
            weight, vector, guide_weight = given["to_image"]
            score = functools.partial(scores.additive, vector=vector, key_weight=weight, query_weight=guide_weight)
            return right._replace(image=attend(guides[fault], image, score=score))
        if fault == "the first reading for the last":
            return right._replace(question=right.summary)
        weight, vector, guide_weight = given["to_question"]  # the mean of the image, whatever was looked at
        score = functools.partial(scores.additive, vector=vector, key_weight=weight, query_weight=guide_weight)
        return right._replace(question=attend(image.mean(-2, keepdim=True), question, score=score))

    return wrong


on_parallel = functools.partial(check_value, kind="parallel", seen=masks())
hidden_in_parallel = functools.partial(check_hidden_values_change_nothing, kind="parallel")
WRONG = {
    "masks at the softmax alone": (on_parallel, spoilt("masks at the softmax alone")),
    "masks at the softmax alone, with NaN": (hidden_in_parallel, spoilt("masks at the softmax alone")),
    "no masks": (on_parallel, spoilt("no masks")),
    "no tanh on the affinity": (on_parallel, spoilt("no tanh on the affinity")),
    "affinity normalised over the other axis": (on_parallel, spoilt("affinity normalised over the other axis")),
    "no tanh inside": (on_parallel, spoilt("no tanh inside")),
    "softmax over the batch": (on_parallel, spoilt("softmax over the batch")),
    "the other side is not asked": (check_swap, spoilt("the other side is not asked")),
    "affinity not transposed": (check_as_many_words_as_regions, spoilt("affinity not transposed")),
    "a mean for the maximum": (functools.partial(check_value, kind="by maximum", seen=masks()), wrong_maximum("mean")),
    "hidden words win with zero": (
        functools.partial(check_value, kind="by maximum", seen=masks()),
        wrong_maximum("hidden words win with zero"),
    ),
    **{
        fault: (functools.partial(check_value, kind="alternating"), wrong_turns(fault))
        for fault in ("guided by the words' mean", "not guided", "the first reading for the last", "guided by the mean")
    },
    "not guided, by what it does": (check_guides, wrong_turns("not guided")),
    "the first reading for the last, by what it does": (check_guides, wrong_turns("the first reading for the last")),
}


@pytest.mark.parametrize(("check", "mutant"), WRONG.values(), ids=WRONG)
def test_wrong_versions_are_rejected(check, mutant):
    with pytest.raises(AssertionError):
        check(mutant)


def test_the_unspoilt_version_passes():
    on_parallel(spoilt())
    check_swap(spoilt())
    check_as_many_words_as_regions(spoilt())
