"""Conversions: each against the library that has the convention."""

import functools

import checks
import pytest
import torch
import torch.nn.functional as F
from checks import BATCH, KEY, QUERY, randn
from torch.nn.attention.flex_attention import create_mask

from attnlib import attend, interop, masks

SIZE, HEADS = 6, 3  # torch wants the size divisible by the heads
close = functools.partial(torch.testing.assert_close, atol=1e-12, rtol=1e-10)

# --- against torch.nn.MultiheadAttention ------------------------------------------------------------------------------


def some_padding():
    return masks.key_mask(torch.tensor([3, 5]), KEY)


def plain_multihead():
    """MultiheadAttention with identity projections: what is left is masked attention on slices of the size."""
    module = torch.nn.MultiheadAttention(SIZE, HEADS, bias=False, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        module.in_proj_weight.copy_(torch.eye(SIZE).repeat(3, 1))
        module.out_proj.weight.copy_(torch.eye(SIZE))
    return module.eval()


def heads(vectors):
    return vectors.unflatten(-1, (HEADS, -1)).transpose(-2, -3)


def multihead(query, key, mask):
    """The same with attend; ``mask`` is ``(*batch or none, query, key)``."""
    mask = mask.unsqueeze(-3) if mask.ndim == 3 else mask
    return attend(heads(query), heads(key), mask=mask).context.transpose(-2, -3).flatten(-2)


def sequences():
    return randn(BATCH, QUERY, SIZE), randn(BATCH, KEY, SIZE, seed=1)


def check_to_key_padding(to_key_padding):
    query, key = sequences()
    mask = some_padding()
    theirs = plain_multihead()(query, key, key, key_padding_mask=to_key_padding(mask))[0]
    close(theirs, multihead(query, key, mask))


def check_to_attn_mask(to_attn_mask):
    query, key = sequences()
    for mask in (checks.some_mask()[0], checks.some_mask()):
        theirs = plain_multihead()(query, key, key, attn_mask=to_attn_mask(mask, HEADS))[0]
        close(theirs, multihead(query, key, mask))


def test_key_padding_is_that_of_multihead_attention():
    check_to_key_padding(interop.to_key_padding)
    query, key = sequences()
    for padding in (~some_padding().squeeze(1), interop.to_additive(some_padding().squeeze(1), torch.float64)):
        theirs = plain_multihead()(query, key, key, key_padding_mask=padding)[0]
        close(theirs, multihead(query, key, interop.from_key_padding(padding)))
    assert torch.equal(interop.from_key_padding(interop.to_key_padding(some_padding())), some_padding())


def test_attn_mask_is_that_of_multihead_attention():
    check_to_attn_mask(interop.to_attn_mask)
    query, key = sequences()
    for blocked in (~checks.some_mask()[0], interop.to_additive(checks.some_mask()[0], torch.float64)):
        theirs = plain_multihead()(query, key, key, attn_mask=blocked)[0]
        close(theirs, multihead(query, key, interop.from_attn_mask(blocked)))
    flat = interop.from_attn_mask(interop.to_attn_mask(checks.some_mask(), HEADS)).unflatten(0, (BATCH, HEADS))
    assert torch.equal(flat, checks.some_mask().unsqueeze(1).expand(-1, HEADS, -1, -1))


def test_both_masks_are_those_of_a_transformer_layer():
    """In a TransformerEncoderLayer: what we call hidden does not reach the output, what we call visible does."""
    layer = torch.nn.TransformerEncoderLayer(SIZE, HEADS, 7, dropout=0.0, batch_first=True, dtype=torch.float64)
    for parameter in layer.parameters():  # biases of zero would hide that a position is read at all
        torch.nn.init.normal_(parameter, std=0.5)
    x = randn(1, KEY, SIZE).requires_grad_()
    mask, padding = masks.causal(KEY), masks.key_mask(torch.tensor([4]), KEY)
    options = {"src_mask": interop.to_attn_mask(mask), "src_key_padding_mask": interop.to_key_padding(padding)}
    influence = torch.autograd.functional.jacobian(lambda x: layer(x, **options), x)[0, :, :, 0].abs().sum((1, 3))
    expected = (mask & padding[0]) | torch.eye(KEY, dtype=torch.bool)  # the residual connection
    assert torch.equal(influence > 0, expected)


def test_generate_square_subsequent_mask():
    theirs = torch.nn.Transformer.generate_square_subsequent_mask(KEY)
    assert torch.equal(interop.from_attn_mask(theirs), masks.causal(KEY))
    assert torch.equal(interop.to_additive(masks.causal(KEY)), theirs)


# --- against F.scaled_dot_product_attention ---------------------------------------------------------------------------


def test_sdpa():
    query, key, value = checks.inputs()
    mask = checks.some_mask()
    for attn_mask in (interop.to_sdpa(mask), interop.to_additive(mask, torch.float64)):
        theirs = F.scaled_dot_product_attention(query, key, value, attn_mask=attn_mask)
        close(theirs, attend(query, key, value, mask=interop.from_sdpa(attn_mask)).context)
    assert torch.equal(interop.from_sdpa(interop.to_sdpa(mask)), mask)


def test_is_causal_is_upper_left():
    query, key, value = checks.inputs()
    theirs = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    close(theirs, attend(query, key, value, mask=masks.causal(QUERY, KEY)).context)
    other = attend(query, key, value, mask=masks.causal(QUERY, KEY, alignment="lower-right")).context
    assert not torch.allclose(theirs, other)


def test_alignments_are_those_of_torch():
    from torch.nn.attention.bias import causal_lower_right, causal_upper_left

    for (n_query, n_key), theirs, alignment in [
        ((3, 5), causal_lower_right, "lower-right"),
        ((3, 5), causal_upper_left, "upper-left"),
        ((5, 3), causal_upper_left, "upper-left"),
    ]:
        tensor = theirs(n_query, n_key)._materialize()
        assert torch.equal(tensor, masks.causal(n_query, n_key, alignment=alignment))


# --- against flex_attention -------------------------------------------------------------------------------------------


def test_mask_mod_to_mask():
    def sliding(batch, head, query, key):
        return (key <= query) & (query - key < 2 + head) & (key != batch)

    theirs = create_mask(sliding, BATCH, HEADS, QUERY, KEY, device="cpu")
    ours = interop.from_mask_mod(sliding, QUERY, KEY, n_batch=BATCH, n_heads=HEADS)
    assert torch.equal(ours, theirs)
    window = interop.from_mask_mod(lambda b, h, q, k: (k <= q) & (q - k < 2), QUERY, KEY)
    assert torch.equal(window, masks.window(QUERY, KEY, left=2, right=1)[None, None])


@pytest.mark.parametrize(
    "shape", [(), (KEY,), (1, KEY), (QUERY, 1), (QUERY, KEY), (HEADS, 1, KEY), (BATCH, 1, QUERY, KEY)]
)
def test_mask_to_mask_mod(shape):
    """Broadcast axes included, as ``create_mask`` of torch reads it."""
    mask = randn(*shape) > 0
    theirs = create_mask(interop.to_mask_mod(mask), BATCH, HEADS, QUERY, KEY, device="cpu")
    assert torch.equal(theirs, mask.expand(BATCH, HEADS, QUERY, KEY))


# --- additive and Hugging Face ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_additive(dtype):
    mask = checks.some_mask()
    additive = interop.to_additive(mask, dtype)
    assert additive.dtype == dtype
    assert torch.equal(additive == 0, mask)
    assert torch.equal(additive == -torch.inf, ~mask)
    assert torch.equal(interop.from_additive(additive), mask)
    most_negative = torch.zeros(mask.shape, dtype=dtype).masked_fill(
        ~mask, torch.finfo(dtype).min
    )  # as Hugging Face writes it
    assert torch.equal(interop.from_additive(most_negative), mask)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.bool])
def test_hugging_face(dtype):
    """The tokenizer's polarity: 1 = a real token; and the sum along it is the number of tokens."""
    tokenizer_output = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]).to(dtype)
    assert torch.equal(interop.from_hugging_face(tokenizer_output), masks.key_mask(torch.tensor([3, 5]), KEY))
    assert torch.equal(interop.to_hugging_face(some_padding()).sum(-1), torch.tensor([3, 5]))
    assert torch.equal(interop.from_hugging_face(interop.to_hugging_face(some_padding())), some_padding())


def test_no_argument_is_changed():
    mask, padding = checks.some_mask(), some_padding()
    before = mask.clone(), padding.clone()
    for convert in (interop.to_attn_mask, interop.to_sdpa, interop.to_additive, interop.to_mask_mod):
        convert(mask)
    for convert in (interop.to_key_padding, interop.to_hugging_face):
        convert(padding)
    assert torch.equal(mask, before[0])
    assert torch.equal(padding, before[1])


@pytest.mark.usefixtures("unchecked")
def test_conversions_run_under_vmap_and_in_one_graph():
    additive = torch.tensor([[0.0, -torch.inf], [0.0, 0.0]])
    ones = torch.tensor([[1, 0], [1, 1]])
    wanted = additive == 0
    assert torch.equal(torch.vmap(interop.from_additive)(additive), wanted)
    assert torch.equal(torch.compile(interop.from_additive, fullgraph=True, backend="eager")(additive), wanted)
    assert torch.equal(torch.compile(interop.from_hugging_face, fullgraph=True, backend="eager")(ones), wanted[:, None])
    assert torch.equal(torch.vmap(interop.from_hugging_face)(ones[:, None]).flatten(), wanted.flatten())


# --- bad input --------------------------------------------------------------------------------------------------------

TWO, THREE = torch.ones(3, 5).bool(), torch.ones(2, 3, 5).bool()
BAD = {
    "list as a bias": (lambda: interop.from_additive([0.0]), TypeError, "additive mask must be a tensor, got list"),
    "padding with queries": (
        lambda: interop.to_key_padding(THREE),
        ValueError,
        r"shape \(batch, 1, key\) .* \(2, 3, 5\)",
    ),
    "tokens with queries": (lambda: interop.to_hugging_face(THREE), ValueError, r"shape \(batch, 1, key\)"),
    "padding of three axes": (lambda: interop.from_key_padding(THREE), ValueError, "must have 2 dimensions"),
    "integer padding": (lambda: interop.from_key_padding(TWO.long()), TypeError, "key_padding_mask must be boolean"),
    "integer attn_mask": (lambda: interop.from_attn_mask(TWO.long()), TypeError, "attn_mask must be boolean"),
    "attn_mask of four axes": (lambda: interop.to_attn_mask(THREE[None]), ValueError, r"\(batch, query, key\)"),
    "float to attn_mask": (lambda: interop.to_attn_mask(TWO.float()), TypeError, "mask must be boolean"),
    "float to sdpa": (lambda: interop.to_sdpa(TWO.float()), TypeError, "mask must be boolean"),
    "float to additive": (lambda: interop.to_additive(TWO.float()), TypeError, "mask must be boolean"),
    "float to padding": (lambda: interop.to_key_padding(TWO.float()), TypeError, "mask must be boolean"),
    "float to mask_mod": (lambda: interop.to_mask_mod(TWO.float()), TypeError, "mask must be boolean"),
    "five axes to mask_mod": (lambda: interop.to_mask_mod(THREE[None, None]), ValueError, "must broadcast to"),
    "bool as additive": (lambda: interop.from_additive(TWO), TypeError, "additive mask must be floating point"),
    "a bias": (lambda: interop.from_additive(torch.tensor([0.0, -2.5])), ValueError, "got -2.5: a bias is no mask"),
    "a large constant": (lambda: interop.from_additive(torch.tensor([0.0, -1e9])), ValueError, "got -1e[+]09"),
    "NaN in a mask": (lambda: interop.from_additive(torch.tensor([0.0, torch.nan])), ValueError, "got nan"),
    "float tokens": (lambda: interop.from_hugging_face(TWO.float()), TypeError, "see from_additive"),
    "token 2": (lambda: interop.from_hugging_face(2 * TWO.long()), ValueError, "must hold 0 and 1 only, got 2"),
    "integers to sdpa": (lambda: interop.from_sdpa(TWO.long()), TypeError, "attn_mask must be boolean .*int64"),
    "numbers of a mask_mod": (
        lambda: interop.from_mask_mod(lambda batch, head, query, key: query - key, 2, 2),
        TypeError,
        "mask_mod must give booleans .*int64",
    ),
    "flat tokens": (lambda: interop.from_hugging_face(torch.ones(3).long()), ValueError, "must have 2 dimensions"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("call", "error", "message"), BAD.values(), ids=BAD)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- known wrong versions, each of which a check above rejects --------------------------------------------------------

WRONG = {
    "key padding of our polarity": (check_to_key_padding, lambda mask: mask.squeeze(-2)),
    "attn_mask of our polarity": (
        check_to_attn_mask,
        lambda mask, heads: ~interop.to_attn_mask(mask, heads),
    ),
    "heads before batch": (
        check_to_attn_mask,
        lambda mask, heads: ~(mask if mask.ndim == 2 else mask.repeat(heads, 1, 1)),
    ),
}


@pytest.mark.parametrize(("check", "mutant"), WRONG.values(), ids=WRONG)
def test_wrong_conversion_is_rejected(check, mutant):
    with pytest.raises(AssertionError):
        check(mutant)
