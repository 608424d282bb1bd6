"""What a page holds of RNNsearch and RNNencdec: the same networks but for the rounding of each row."""

import base64
import json

import pytest
import torch

from attnlib.recurrent.rnnsearch import RNNencdec, RNNsearch
from attnlib.widgets.recurrent.own_word_model import packed_model, quantised, unpacked_model


def search():
    return RNNsearch(11, 13, embedding=3, hidden=5, alignment=7, maxout=2)


def plain():
    return RNNencdec(11, 13, embedding=3, hidden=5, maxout=2)


def drawn(make):
    torch.manual_seed(1)
    model = make().double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


both = pytest.mark.parametrize("make", [search, plain])


def check(model, again):
    """Each number is off by at most half of its row's step; vectors are off by single precision alone."""
    assert type(again) is type(model)
    for name, value in model.state_dict().items():
        got = again.state_dict()[name]
        assert got.dtype == torch.float64
        step = value.abs().amax(1, keepdim=True) / 127 if value.ndim == 2 else torch.zeros(1)
        assert ((got - value).abs() <= step / 2 + 1e-6 * value.abs()).all(), name


@both
def test_numbers_are_those_of_the_model_but_for_rounding(make):
    model = drawn(make)
    stored = json.loads(json.dumps(packed_model(model)))
    again = unpacked_model(stored)
    check(model, again)
    assert not again.training
    assert not any(parameter.requires_grad for parameter in again.parameters())
    check(again, quantised(again))
    numbers = sum(value.numel() for value in model.state_dict().values() if value.ndim == 2)
    assert len(base64.b64decode(stored["whole"])) == numbers


@both
def test_it_says_about_the_same(make):
    model = drawn(make)
    source, told = torch.tensor([[3, 1, 4, 1, 5]]), torch.tensor([[9, 2, 6]])
    mask = torch.ones_like(source, dtype=torch.bool)
    wanted, got = model(source, mask, told), quantised(model)(source, mask, told)
    torch.testing.assert_close(got.logits, wanted.logits, rtol=0, atol=0.3)
    torch.testing.assert_close(got.weights, wanted.weights, rtol=0, atol=0.02)


# --- known wrong versions ---------------------------------------------------------------------------------------------


def one_scale_for_all(stored):
    real = torch.frombuffer(bytearray(base64.b64decode(stored["real"])), dtype=torch.float32)
    rows = sum(rows for _, rows, _ in stored["matrices"])
    real[:rows] = real[:rows].mean()
    return stored | {"real": base64.b64encode(real.numpy().tobytes()).decode()}


def without_sign(stored):
    whole = torch.frombuffer(bytearray(base64.b64decode(stored["whole"])), dtype=torch.int8)
    return stored | {"whole": base64.b64encode(whole.abs().numpy().tobytes()).decode()}


def columns_for_rows(stored):
    return stored | {
        "matrices": [[name, c, r] if r == c + 8 else [name, r, c] for name, r, c in stored["matrices"]][::-1]
    }


@pytest.mark.parametrize("spoil", [one_scale_for_all, without_sign, columns_for_rows])
def test_wrong_ways_are_rejected(spoil):
    model = drawn(search)
    with pytest.raises((AssertionError, RuntimeError)):
        check(model, unpacked_model(spoil(packed_model(model))))
