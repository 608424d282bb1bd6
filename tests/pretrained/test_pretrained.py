"""Models that others trained: small ones of the same build against plain loops, the real ones at night."""

import io
import json
import zipfile
from types import SimpleNamespace

import pretrained_oracle as oracle
import pytest
import torch
from checks import randn

from attnlib.data import DataError
from attnlib.input_representations.distances import rotate
from attnlib.output_representations.multihead import MultiHead
from attnlib.pretrained import MiniLM, SmolLM, minilm, smollm
from attnlib.pretrained.tensors import Stored

TOKENS = [3, 1, 4, 1, 5, 9, 2]


def drawn(shapes):
    """Numbers of a size at which every part of a layer shows; of single precision, as those in the files."""
    found = {}
    for seed, (name, shape) in enumerate(shapes.items()):
        numbers = randn(*shape, seed=seed)
        numbers = 1 + numbers / 5 if "orm.weight" in name else numbers / (2 if len(shape) > 1 else 4)
        found[name] = numbers.float()
    return found


def encoder():
    tensors = drawn(oracle.small_bert())
    return MiniLM(tensors, oracle.HEADS).double(), tensors


def decoder():
    said, shapes = oracle.small_llama()
    tensors = drawn(shapes)
    return SmolLM(Stored(said, tensors)).double(), tensors


def check(read, wanted, atol=1e-9):
    for got, one in zip((read.outputs, read.weights), wanted, strict=True):
        torch.testing.assert_close(got.double(), torch.from_numpy(one), rtol=0, atol=atol)


def check_encoder(model, tensors):
    check(model(torch.tensor(TOKENS)), oracle.bert(tensors, TOKENS, oracle.HEADS))


def check_decoder(model, tensors):
    options = oracle.HEADS, oracle.GROUPS, oracle.BASE, oracle.TINY
    check(model(torch.tensor(TOKENS)), oracle.llama(tensors, TOKENS, *options))


def test_a_small_encoder_is_the_loops():
    check_encoder(*encoder())


def test_a_small_decoder_is_the_loops():
    check_decoder(*decoder())


@pytest.mark.parametrize("made", [encoder, decoder])
def test_batches_are_texts_one_by_one_and_weights_may_be_left_out(made):
    model, _ = made()
    texts = torch.tensor([TOKENS, TOKENS[::-1]])
    found = model(texts)
    assert found.weights.shape == (2, oracle.DEPTH, oracle.HEADS, len(TOKENS), len(TOKENS))
    for i, text in enumerate(texts):
        alone = model(text)
        torch.testing.assert_close(found.outputs[i], alone.outputs)
        torch.testing.assert_close(found.weights[i], alone.weights)
    silent = model(texts, need_weights=False)
    assert silent.weights is None
    torch.testing.assert_close(silent.outputs, found.outputs)


def test_a_decoder_never_looks_ahead_and_says_what_comes_next():
    model, _ = decoder()
    found = model(torch.tensor(TOKENS))
    assert (found.weights.triu(1) == 0).all()
    assert model.logits(found.outputs).shape == (len(TOKENS), oracle.WORDS)
    torch.testing.assert_close(model.logits(found.outputs)[2, 5], found.outputs[2] @ model.words[5])


def test_texts_longer_than_the_places_are_refused():
    with pytest.raises(ValueError, match="tokens must be at most 11, got 12"):
        encoder()[0](torch.zeros(12, dtype=torch.long))


# --- known wrong versions ---------------------------------------------------------------------------------------------


def norm_first(model):
    for layer in model.layers:
        layer.forward = lambda x, _, layer=layer: (x + layer.own(layer.own_norm(x)).context, layer.own(x).weights)


def turn_halves(model):
    def turn(vectors, places):  # what files of another kind want
        size = vectors.shape[-1]
        order = torch.arange(size).view(2, -1).T.flatten()
        return rotate(vectors[..., order], places, base=oracle.BASE)[..., order.argsort()]

    for layer in model.layers:
        layer.own.turn = turn


def other_base(model):
    for layer in model.layers:
        layer.own.turn = rotate


def groups_in_turn(model):
    for layer in model.layers:
        rows = layer.own.query_weight.data.unflatten(0, (oracle.HEADS, -1))
        layer.own.query_weight.data = rows[[0, 2, 1, 3]].flatten(0, 1)


def rough_gelu(model):
    for layer in model.layers:
        layer.expand.register_forward_hook(lambda *a: torch.relu(a[2]))


def another_kind(model):
    model.kinds.data = model.kinds.data.flip(0)


def sees_ahead(model):
    for layer in model.layers:
        layer.own.forward = lambda x, layer=layer, **_: MultiHead.forward(layer.own, x)


@pytest.mark.parametrize("spoil", [norm_first, rough_gelu, another_kind])
def test_wrong_encoders_are_rejected(spoil):
    model, tensors = encoder()
    spoil(model)
    with pytest.raises(AssertionError):
        check_encoder(model, tensors)


@pytest.mark.parametrize("spoil", [turn_halves, other_base, groups_in_turn, sees_ahead])
def test_wrong_decoders_are_rejected(spoil):
    model, tensors = decoder()
    spoil(model)
    with pytest.raises(AssertionError):
        check_decoder(model, tensors)


# --- packages ---------------------------------------------------------------------------------------------------------


def safetensors_bytes(tensors):
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in tensors.items():
        content = tensor.float().numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": [*tensor.shape], "data_offsets": [len(body), len(body) + len(content)]}
        body += content
    told = json.dumps(header).encode()
    return len(told).to_bytes(8, "little") + told + body


def test_an_encoder_out_of_a_package(tmp_path):
    tensors = drawn(oracle.small_bert())
    with zipfile.ZipFile(tmp_path / "small.whl", "w") as archive:
        archive.writestr(f"{minilm.FOLDER}vocab.txt", "[UNK]\n[CLS]\n[SEP]\nthe\nbank\n##s\n")
        archive.writestr(f"{minilm.FOLDER}model.safetensors", safetensors_bytes(tensors))
    model, pieces = minilm.load(tmp_path / "small.whl", heads=oracle.HEADS)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert [piece.number for piece in pieces.encode("The Banks")] == [1, 3, 4, 5, 2]
    check(model(torch.tensor(TOKENS)), oracle.bert(tensors, TOKENS, oracle.HEADS), atol=1e-4)


@pytest.mark.parametrize("load", [minilm.load, smollm.load])
def test_other_packages_are_refused(load, tmp_path):
    with zipfile.ZipFile(tmp_path / "empty.whl", "w"):
        pass
    (tmp_path / "text.whl").write_text("no zip")
    for name in ("empty.whl", "text.whl", "none.whl"):
        with pytest.raises(DataError, match=rf"{name}: expected (MiniLM|SmolLM2) in "):
            load(tmp_path / name)


@pytest.mark.nightly
@pytest.mark.timeout(1500)
@pytest.mark.data
def test_minilm_is_the_loops(real):
    model, pieces = minilm.load(real(minilm.PACKAGE))
    said = pieces.encode("The bankers' unaffable café, in 1987.")
    assert " ".join(piece.text for piece in said) == "[CLS] the bankers ' una ##ffa ##ble cafe , in 1987 . [SEP]"
    tokens = [piece.number for piece in said]
    with zipfile.ZipFile(real(minilm.PACKAGE)) as archive:
        tensors = minilm.safetensors(io.BytesIO(archive.read(f"{minilm.FOLDER}model.safetensors")))
    check(model(torch.tensor(tokens)), oracle.bert(tensors, tokens, 12), atol=2e-5)


@pytest.mark.nightly
@pytest.mark.timeout(1500)
@pytest.mark.data
def test_smollm_is_the_loops_and_goes_on_with_a_rhyme(real):
    with zipfile.ZipFile(real(smollm.PACKAGE)) as archive:
        stored = smollm.gguf(io.BytesIO(archive.read(smollm.FILE)))
    model = SmolLM(stored)
    pieces = smollm.BytePairs(stored.said["tokenizer.ggml.tokens"], stored.said["tokenizer.ggml.merges"])
    said = pieces.encode("We'll see  2 naïve owls")
    assert [piece.text for piece in said] == ["We", "'ll", "Ġsee", "ĠĠ", "2", "Ġna", "Ã¯ve", "Ġowls"]
    tokens = [piece.number for piece in said[:6]]
    wanted = oracle.llama(stored.tensors, tokens, 9, 3, 1e5, stored.said["llama.attention.layer_norm_rms_epsilon"])
    with torch.no_grad():
        found = model(torch.tensor(tokens))
        check(SimpleNamespace(outputs=found.outputs, weights=found.weights), wanted, atol=1e-3)
        torch.testing.assert_close(found.weights.double(), torch.from_numpy(wanted[1]), rtol=0, atol=2e-5)
        rhyme = pieces.encode("One, two, three, four, five, six, seven,")
        last = model(torch.tensor([piece.number for piece in rhyme]), need_weights=False).outputs[-1:]
    assert model.logits(last).argmax() == pieces.numbers["Ġeight"]
