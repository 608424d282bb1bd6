"""Other libraries' attention in the form of the check: torch's layers as they are, and stand-ins for the others."""

import numpy
import pytest
import torch
from torch.nn import functional as F

from attnlib import attend
from attnlib.check import adapters, check

pytestmark = pytest.mark.usefixtures("unchecked")

HARM = {"hidden garbage", "hidden gradient", "empty row"}


def multihead(**options):
    torch.manual_seed(0)
    return torch.nn.MultiheadAttention(8, 2, batch_first=True, **options)


@pytest.mark.parametrize("padding", [False, True])
def test_torch_multihead(padding):
    """What is known of it: what is hidden leaks when it is NaN, a row without keys is NaN with the weights."""
    report = check(adapters.torch_multihead(multihead(), padding=padding))
    assert {"hidden garbage", "empty row"} <= set(report.failed) <= HARM | {"asking"}, report
    assert report["hidden weight"].holds
    assert report["padding"].holds


def test_torch_multihead_with_the_mask_the_wrong_way_round():
    module = multihead()

    def inverted(wrapped, query, key, value, mask):
        return wrapped(query, key, value, attn_mask=None if mask is None else mask.repeat_interleave(2, 0))

    report = check(adapters.Adapted(module, inverted))
    assert {"hidden weight", "hidden influence", "padding"} <= set(report.failed)


def test_torch_multihead_must_be_batch_first():
    with pytest.raises(ValueError, match="batch_first=True"):
        adapters.torch_multihead(torch.nn.MultiheadAttention(8, 2))


def test_torch_scaled_dot_product():
    report = check(adapters.heads_first(F.scaled_dot_product_attention, mask="attn_mask"), kind="scaled dot")
    assert set(report.failed) <= HARM, report
    assert report["energies"].holds


def test_a_padding_mask():
    def padded(query, key, value, pad=None):
        return attend(query, key, value, mask=None if pad is None else ~pad[:, None]).context

    assert check(adapters.with_padding(padded, mask="pad", hides=True)).failed == []
    assert "hidden weight" in check(adapters.with_padding(padded, mask="pad")).failed


def test_other_names_and_another_order():
    def other(value, query, key, hidden=None):
        return attend(query, key, value, mask=None if hidden is None else ~hidden)[:2]

    assert check(adapters.renamed(other, order="value query key", mask="hidden", hides=True)).failed == []
    report = check(adapters.renamed(other, order="value query key", mask=None))
    assert report.failed == []
    assert report["hidden weight"].found == "takes no mask"
    with pytest.raises(ValueError, match="order must name query, key and value, got 'key query'"):
        adapters.renamed(other, order="key query")


def softly(query, key, value, mask=None):
    """Attention in numpy, with what is hidden put to nought."""
    seen = numpy.ones((*query.shape[:2], key.shape[1]), bool) if mask is None else numpy.asarray(mask)
    hidden = ~seen.any(1)[..., None]
    key, value = (numpy.where(hidden, 0, numpy.asarray(part)) for part in (key, value))
    energies = numpy.where(seen, numpy.asarray(query) @ key.swapaxes(1, 2) / query.shape[-1] ** 0.5, -numpy.inf)
    top = energies.max(-1, keepdims=True)
    weights = numpy.exp(energies - numpy.where(numpy.isfinite(top), top, 0)).astype(value.dtype)
    total = weights.sum(-1, keepdims=True)
    return weights / numpy.where(total > 0, total, 1) @ value


class Other:
    """An array of another library: it comes from numpy, and goes by dlpack."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array

    def __dlpack__(self, **options):
        return self.array.__dlpack__()

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    @property
    def shape(self):
        return self.array.shape


@pytest.mark.parametrize("into", [None, Other], ids=["numpy", "dlpack"])
def test_arrays(into):
    def function(query, key, value, mask=None):
        found = softly(query, key, value, mask)
        return found if into is None else Other(found)

    report = check(adapters.arrays(function, into=into), kind="scaled dot")
    assert report.failed == [], report
    assert {report[name].found for name in ("gradient", "hidden gradient")} == {"has no gradient in torch"}


class Layer:
    """The call of ``keras.layers.MultiHeadAttention``; with weights asked for it forgets its mask, if told to."""

    def __init__(self, forgets):
        self.forgets = forgets

    def __call__(
        self, query, value, key=None, attention_mask=None, return_attention_scores=False, training=None
    ):  # as keras has it
        mask = None if self.forgets and return_attention_scores else attention_mask
        context = softly(query, key, value, mask)
        if not return_attention_scores:
            return context
        ones = numpy.repeat(numpy.eye(key.shape[1], dtype=query.dtype)[None], len(query), 0)
        return context, softly(query, key, ones, mask)[:, None]


def test_what_cannot_be_copied_is_called_as_it_is():
    class Stubborn(Layer):
        def __deepcopy__(self, memo):
            raise TypeError("no copies")

    report = check(adapters.keras_multihead(Stubborn(forgets=False)))
    assert report.failed == []
    assert report["half"].found.startswith("not looked at in bfloat16: TypeError")


def test_keras():
    right, wrong = (check(adapters.keras_multihead(Layer(forgets))) for forgets in (False, True))
    assert right.failed == []
    assert right["asking"].holds
    assert wrong.failed[0] == "asking"
    assert wrong["asking"].found.startswith("return_attention_scores=True differs")


class OnTorch(torch.nn.Module):
    """The same with torch behind it: a module of tensors, called with a list if it is like ``Attention``."""

    def __init__(self, listed, forgets=False):
        super().__init__()
        self.listed, self.forgets = listed, forgets

    def forward(
        self, query, value=None, key=None, attention_mask=None, mask=None, return_attention_scores=False, training=None
    ):
        if self.listed:
            (query, value, key), attention_mask = query, None if mask is None else mask[1][:, None]
        if self.forgets and return_attention_scores:
            attention_mask = None
        context, weights, _ = attend(query, key, value, mask=attention_mask)
        return (context, weights) if return_attention_scores else context


@pytest.mark.parametrize("adapt", [adapters.keras_multihead, adapters.keras_attention])
def test_keras_on_torch_has_gradients(adapt):
    listed = adapt is adapters.keras_attention
    right, wrong = (check(adapt(OnTorch(listed, forgets)), kind="scaled dot") for forgets in (False, True))
    assert right.failed == []
    assert {"gradient", "hidden gradient", "asking"} <= set(right.passed)
    assert wrong.failed[0] == "asking"


def test_keras_attention_takes_lists_of_arrays():
    def layer(inputs, mask=None, return_attention_scores=False, training=None):
        query, value, key = inputs
        seen = None if mask is None else numpy.broadcast_to(mask[1][:, None], (len(key), query.shape[1], key.shape[1]))
        ones = numpy.repeat(numpy.eye(key.shape[1], dtype=query.dtype)[None], len(query), 0)
        found = [softly(query, key, part, seen) for part in (value, ones)]
        return tuple(found) if return_attention_scores else found[0]

    report = check(adapters.keras_attention(layer), kind="scaled dot")
    assert report.failed == []
    assert report["asking"].holds
