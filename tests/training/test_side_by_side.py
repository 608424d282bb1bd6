"""Networks side by side give what each gives alone."""

import pytest
import torch
from torch import nn

from attnlib.training import side_by_side

NETWORKS, D_IN, D_OUT = 3, 5, 7
ROWS = [(2,), (2, 11), (2, 11, 13)]


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_a_layer_for_each(rows, bias):
    layers = [nn.Linear(D_IN, D_OUT, bias=bias, dtype=torch.float64) for _ in range(NETWORKS)]
    inputs = drawn(NETWORKS, *rows, D_IN)
    parameters = {"wide": torch.stack([layer.weight for layer in layers])}
    if bias:
        parameters["wide bias"] = torch.stack([layer.bias for layer in layers])
    found = side_by_side.linear(parameters, "wide", inputs)
    assert found.shape == (NETWORKS, *rows, D_OUT)
    for layer, each, mine in zip(layers, inputs, found, strict=True):
        torch.testing.assert_close(mine, layer(each))


@pytest.mark.parametrize("rows", ROWS)
def test_normed_is_a_norm_for_each(rows):
    gain, inputs = drawn(NETWORKS, D_IN), drawn(NETWORKS, *rows, D_IN)
    found = side_by_side.normed({"last gain": gain}, "last", inputs)
    for own, each, mine in zip(gain, inputs, found, strict=True):
        centred = each - each.mean(-1, keepdim=True)
        torch.testing.assert_close(mine, own * centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt())


@pytest.mark.parametrize(("layer", "wanted"), [("linear", "wide"), ("normed", "wide gain")])
def test_what_is_not_there_is_named(layer, wanted):
    with pytest.raises(KeyError, match=wanted):
        getattr(side_by_side, layer)({"narrow": drawn(NETWORKS, D_OUT, D_IN)}, "wide", drawn(NETWORKS, 2, D_IN))
