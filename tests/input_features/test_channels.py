"""Squeeze and excitation: a loop over pixels and channels, its weights, and the block that never squeezed."""

import math

import pytest
import torch
from checks import close, leaf, randn
from oracles import rows, tensor
from torch.autograd import gradcheck, gradgradcheck

from attnlib.input_features import channels

BATCH, CHANNEL, HEIGHT, WIDTH, HIDDEN = 2, 7, 3, 5, 11


# --- the oracle: a plain loop from the paper --------------------------------------------------------------------------


def excite_loop(image, reduce, expand, reduce_bias, expand_bias):
    """Eq. 2 to 4 of Hu et al. for one image ``image[channel][row][column]``."""
    squeezed = [sum(map(sum, channel)) / (len(channel) * len(channel[0])) for channel in image]
    hidden = []
    for weights, bias in zip(reduce, reduce_bias, strict=True):
        hidden.append(max(0.0, bias + sum(w * z for w, z in zip(weights, squeezed, strict=True))))
    scales = []
    for weights, bias in zip(expand, expand_bias, strict=True):
        scales.append(1 / (1 + math.exp(-bias - sum(w * h for w, h in zip(weights, hidden, strict=True)))))
    scaled = [[[s * u for u in row] for row in channel] for s, channel in zip(scales, image, strict=True)]
    return scaled, scales, squeezed


def parameters():
    return {
        "reduce_weight": leaf(HIDDEN, CHANNEL),
        "expand_weight": leaf(CHANNEL, HIDDEN, seed=1),
        "reduce_bias": leaf(HIDDEN),
        "expand_bias": leaf(CHANNEL),
    }


def check_value(excite):
    image, given = randn(BATCH, CHANNEL, HEIGHT, WIDTH), parameters()
    wanted = [excite_loop(one.tolist(), *map(rows, given.values())) for one in image]
    for got, want in zip(excite(image, **given), map(list, zip(*wanted, strict=True)), strict=True):
        close(got.detach(), tensor(want))


def check_weighs_whole_channels(excite):
    """One number a channel; it does not change when the pixels of one channel change places."""
    image, given, order = randn(BATCH, CHANNEL, HEIGHT, WIDTH), parameters(), torch.tensor([3, 0, 4, 1, 2])
    result = excite(image, **given)
    close(result.features, image * result.weights[..., None, None])
    moved = image.clone()
    moved[:, 3] = image[:, 3, :, order]
    close(excite(moved, **given).weights, result.weights)


@pytest.mark.parametrize("check", [check_value, check_weighs_whole_channels])
def test_excite(check):
    check(channels.excite)


def test_without_biases_is_with_biases_of_zero():
    image, given = randn(BATCH, CHANNEL, HEIGHT, WIDTH), parameters()
    zero = {name: torch.zeros_like(value) if "bias" in name else value for name, value in given.items()}
    without = {name: value for name, value in given.items() if "bias" not in name}
    for got, wanted in zip(channels.excite(image, **without), channels.excite(image, **zero), strict=True):
        close(got, wanted)


def test_slopes_are_the_numerical_ones():
    def run(image, *given):
        return channels.excite(image, **dict(zip(parameters(), given, strict=True))).features

    leaves = (leaf(BATCH, CHANNEL, HEIGHT, WIDTH), *parameters().values())
    assert gradcheck(run, leaves, fast_mode=True)
    assert gradgradcheck(run, leaves, fast_mode=True)


def test_several_channels_may_be_let_through_or_none():
    image = torch.ones(3, 2, 2)
    for bias, wanted in ((50.0, 1.0), (-50.0, 0.0)):
        given = {"reduce_weight": torch.zeros(1, 3), "expand_weight": torch.zeros(3, 1)}
        result = channels.excite(image, **given, expand_bias=torch.full((3,), bias))
        torch.testing.assert_close(result.weights, torch.full((3,), wanted))


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 4, 1), (7, 1, 3)])
def test_one_pixel_one_channel(size):
    block = channels.SqueezeExcitation(size[0], ratio=1).double()
    image = randn(*size)
    result = block(image)
    weights, nothing = (rows(block.reduce.weight), rows(block.expand.weight)), [0.0] * size[0]
    close(result.features.detach(), tensor(excite_loop(image.tolist(), *weights, nothing, nothing)[0]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_each_precision_keeps_its_own(dtype, device):
    """The mean of many pixels is not taken in half precision, where the sum would overflow."""
    block = channels.SqueezeExcitation(32, bias=True).to(device=device, dtype=dtype)
    image = torch.full((BATCH, 32, 40, 40), 100.0, device=device, dtype=dtype)
    result = block(image)
    assert {part.dtype for part in result} == {dtype}
    assert (result.squeezed == 100).all()
    assert result.features.isfinite().all()


def test_the_block_is_the_function_and_has_the_paper_s_size():
    block = channels.SqueezeExcitation(256)
    assert sum(parameter.numel() for parameter in block.parameters()) == 2 * 256 * 256 // 16
    assert block.reduce.weight.shape == (16, 256)
    image = randn(BATCH, 256, 3, 2, dtype=torch.float32)
    given = {"reduce_weight": block.reduce.weight, "expand_weight": block.expand.weight}
    assert torch.equal(block(image).features, channels.excite(image, **given).features)


def test_nan_spoils_its_own_image_alone():
    image = randn(BATCH, CHANNEL, HEIGHT, WIDTH)
    clean = channels.excite(image, **parameters())
    image[0, 2, 1, 1] = math.nan
    result = channels.excite(image, **parameters())
    assert result.weights[0].isnan().all()
    close(result.features[1], clean.features[1])


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named():
    image, given = randn(BATCH, CHANNEL, HEIGHT, WIDTH), parameters()
    cases = [
        (TypeError, "features must be floating point, got dtype torch.uint8", lambda: run(image.byte())),
        (ValueError, "features must have at least one pixel", lambda: run(image[..., :0])),
        (ValueError, r"features must have shape \(\*batch, channel, height, width\)", lambda: run(image[0, 0])),
        (ValueError, r"reduce_weight must have shape \(hidden=11, channel=6\)", lambda: run(image[:, 1:])),
        (ValueError, "expand_weight must have shape", lambda: run(image, expand_weight=given["reduce_weight"])),
        (ValueError, "reduce_bias must have shape", lambda: run(image, reduce_bias=given["expand_bias"])),
        (ValueError, "ratio must be at most the 8 channels, got 16", lambda: channels.SqueezeExcitation(8)),
        (ValueError, "ratio must be at least 1, got 0", lambda: channels.SqueezeExcitation(8, 0)),
        (TypeError, "ratio must be a whole number, got 2.0", lambda: channels.SqueezeExcitation(8, 2.0)),
    ]

    def run(image, **other):
        return channels.excite(image, **(given | other))

    for error, message, call in cases:
        with pytest.raises(error, match=message):
            call()


@pytest.mark.usefixtures("unchecked")
def test_exports_with_open_sizes():
    image, block = randn(BATCH, CHANNEL, HEIGHT, WIDTH), channels.SqueezeExcitation(CHANNEL, 2).double()
    sizes = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    program = torch.export.export(block, (image,), dynamic_shapes=(sizes,))
    other = randn(3, CHANNEL, 6, 4)
    close(program.module()(other).weights, block(other).weights)


# --- known wrong versions ---------------------------------------------------------------------------------------------


def without_squeeze(image, *, reduce_weight, expand_weight, reduce_bias, expand_bias):
    """A fault met in public code (DeepDanbooru, issue 55): both layers are applied to the image, a pixel at a time."""
    hidden = torch.relu(torch.einsum("hc,bcij->bhij", reduce_weight, image) + reduce_bias[:, None, None])
    scale = torch.sigmoid(torch.einsum("ch,bhij->bcij", expand_weight, hidden) + expand_bias[:, None, None])
    return channels.Excitation(scale * image, scale.mean((-2, -1)), image.mean((-2, -1)))


def spoilt(squeeze=lambda image: image.mean((-2, -1)), gate=torch.sigmoid, inner=torch.relu):
    def excite(image, *, reduce_weight, expand_weight, reduce_bias, expand_bias):
        squeezed = squeeze(image)
        weights = gate(inner(squeezed @ reduce_weight.mT + reduce_bias) @ expand_weight.mT + expand_bias)
        return channels.Excitation(weights[..., None, None] * image, weights, squeezed)

    return excite


WRONG = {
    "never squeezed": (check_value, without_squeeze),
    "never squeezed, by its weights": (check_weighs_whole_channels, without_squeeze),
    "sum for the mean": (check_value, spoilt(squeeze=lambda image: image.sum((-2, -1)))),
    "largest for the mean": (check_value, spoilt(squeeze=lambda image: image.amax((-2, -1)))),
    "softmax over the channels": (check_value, spoilt(gate=lambda x: x.softmax(-1))),
    "no rectifier": (check_value, spoilt(inner=lambda x: x)),
}


@pytest.mark.parametrize(("check", "mutant"), WRONG.values(), ids=WRONG)
def test_wrong_excitations_are_rejected(check, mutant):
    with pytest.raises(AssertionError):
        check(mutant)


def test_the_unspoilt_excitation_passes():
    check_value(spoilt())
    check_weighs_whole_channels(spoilt())
