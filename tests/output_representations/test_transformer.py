"""The transformer: torch's with the same weights, reading on with a cache, padding, edits, and wrong versions."""

import math
import types

import pytest
import torch
from checks import close, randn
from torch import nn
from torch.func import functional_call

from attnlib.output_representations import transformer as module
from attnlib.output_representations.interventions import Head, Row, chained, rows_set, switched_off
from attnlib.output_representations.multihead import Cache, MultiHead, multihead
from attnlib.output_representations.parts import split
from attnlib.output_representations.transformer import Transformer
from attnlib.output_representations.transformer_layer import Layer, Place

BATCH, SOURCE, TARGET, HEADS, SIZE, HIDDEN, LAYERS = 2, 5, 3, 7, 14, 11, 2
LETTERS, SOUNDS = 13, 17
MARK = SOUNDS - 1


def made(seed=0):
    torch.manual_seed(seed)
    return Transformer(LETTERS, SOUNDS, size=SIZE, heads=HEADS, layers=LAYERS, hidden=HIDDEN).double()


def words():
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(LETTERS, (BATCH, SOURCE), generator=generator)
    target = torch.randint(SOUNDS, (BATCH, TARGET), generator=generator)
    return source, target, torch.arange(SOURCE) < torch.tensor([[SOURCE], [3]])


# --- the oracle: torch's own, and positions by a plain loop -----------------------------------------------------------


def positions(n):
    rows = [[0.0] * SIZE for _ in range(n)]
    for t in range(n):
        for i in range(0, SIZE, 2):
            angle = t / 10000 ** (i / SIZE)
            rows[t][i], rows[t][i + 1] = math.sin(angle), math.cos(angle)
    return torch.tensor(rows, dtype=torch.float64)


def attention_into(torchs, ours):
    with torch.no_grad():
        torchs.in_proj_weight.copy_(torch.cat([ours.query_weight, ours.key_weight, ours.value_weight]))
        torchs.in_proj_bias.copy_(torch.cat([ours.query_bias, ours.key_bias, ours.value_bias]))
    torchs.out_proj.load_state_dict({"weight": ours.output_weight, "bias": ours.output_bias})


def torchs_of(model):
    """``torch.nn.Transformer`` with the weights of ours."""
    options = {"dropout": 0.0, "norm_first": True, "batch_first": True}
    layer = nn.TransformerEncoderLayer(SIZE, HEADS, HIDDEN, **options)
    encoder = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(SIZE), enable_nested_tensor=False)
    theirs = nn.Transformer(SIZE, HEADS, LAYERS, LAYERS, HIDDEN, custom_encoder=encoder, **options).double()
    for part, layers in ((theirs.encoder, model.encoder), (theirs.decoder, model.decoder)):
        for torchs, ours in zip(part.layers, layers, strict=True):
            attention_into(torchs.self_attn, ours.own)
            pairs = [(torchs.linear1, ours.expand), (torchs.linear2, ours.reduce), (torchs.norm1, ours.own_norm)]
            if ours.across is None:
                pairs.append((torchs.norm2, ours.norm))
            else:
                attention_into(torchs.multihead_attn, ours.across)
                pairs += [(torchs.norm2, ours.across_norm), (torchs.norm3, ours.norm)]
            for one, other in pairs:
                one.load_state_dict(other.state_dict())
    theirs.encoder.norm.load_state_dict(model.encoder_norm.state_dict())
    theirs.decoder.norm.load_state_dict(model.decoder_norm.state_dict())
    return theirs


def with_random_norms_and_biases(model):
    """A bias of zero and a norm of one would hide where they are used."""
    with torch.no_grad():
        for i, parameter in enumerate(model.parameters()):
            if parameter.ndim == 1:
                parameter.copy_(parameter + 0.3 * randn(*parameter.shape, seed=i))
    return model


def check_values(make=made):
    model, (source, target, mask) = with_random_norms_and_biases(make()), words()
    theirs = torchs_of(model)
    entered = [
        table(given) * math.sqrt(SIZE) + positions(given.shape[1])
        for table, given in ((model.source, source), (model.target, target))
    ]
    hidden = {"src_key_padding_mask": ~mask, "memory_key_padding_mask": ~mask}
    ahead = torch.ones(TARGET, TARGET).triu(1).bool()
    wanted = model.logits(theirs(*entered, tgt_mask=ahead, **hidden))
    for need_weights in (True, False):
        close(model(source, target, mask, need_weights=need_weights).logits, wanted)
    upstream = randn(*wanted.shape, seed=3)
    shared = list(model.source.parameters()) + list(model.target.parameters())
    own = [model.encoder[0].expand.weight, model.decoder[1].across_norm.weight, model.decoder[0].across.value_weight]
    their = theirs.encoder.layers[0].linear1.weight, theirs.decoder.layers[1].norm2.weight
    slopes = torch.autograd.grad((model(source, target, mask).logits * upstream).sum(), [*shared, *own])
    packed = theirs.decoder.layers[0].multihead_attn.in_proj_weight
    others = torch.autograd.grad((wanted * upstream).sum(), [*shared, *their, packed])
    for got, want in zip(slopes, [*others[:-1], others[-1].chunk(3)[2]], strict=True):
        close(got, want)


def check_reading_on(make=made):
    """Word by word, and in runs, as all at once; and what was kept can be read on in another way."""
    model, (source, target, mask) = make(), words()
    encoded = model.read(source, mask)
    whole = model.write(target, encoded).logits
    for runs in ([1, 1, 1], [2, 1], [1, 2]):
        kept, found = None, []
        for run in target.split(runs, -1):
            written = model.write(run, encoded, kept)
            kept = written.kept
            found.append(written.logits)
        close(torch.cat(found, 1), whole)
    first = model.write(target[:, :1], encoded).kept
    model.write(target[:, 2:], encoded, first)
    close(model.write(target[:, 1:2], encoded, first).logits[:, 0], whole[:, 1])


def check_padding(make=made):
    """A word alone, in a batch, and padded with whatever and on either side: the same logits."""
    model, (source, target, _) = make(), words()
    alone = model(source[1:, :3], target[1:]).logits
    for number in range(LETTERS):
        pad = torch.full((1, 2), number)
        after, before = torch.cat([source[1:, :3], pad], 1), torch.cat([pad, source[1:, :3]], 1)
        real = torch.tensor([[True] * 3 + [False] * 2])
        close(model(after, target[1:], real).logits, alone)
        close(model(before, target[1:], real.flip(1)).logits, alone)


def check_the_future_is_hidden(make=made):
    model, (source, target, mask) = make(), words()
    other = target.clone()
    other[:, 2] = (other[:, 2] + 1) % SOUNDS
    close(model(source, other, mask).logits[:, :2], model(source, target, mask).logits[:, :2])


CHECKS = (check_values, check_reading_on, check_padding, check_the_future_is_hidden)


@pytest.mark.parametrize("check", CHECKS)
def test_transformer(check):
    check()


def test_everything_on_the_way_fits_together():
    model, (source, target, mask) = made(), words()
    encoded = model.read(source, mask)
    written = model.write(target, encoded)
    for passed, layer in ((encoded.layers[1], model.encoder[1]), (written.layers[0], model.decoder[0])):
        for attended, heads in ((passed.own, layer.own), (passed.across, layer.across)):
            if attended is None:
                continue
            parts = [split(part, HEADS) for part in attended[:3]]
            energies = parts[0] @ parts[1].mT / math.sqrt(SIZE / HEADS)
            shown = attended.weights > 0
            close(attended.energies[shown], energies[shown])
            close(split(attended.context, HEADS), attended.weights @ parts[2])
            close(attended.output, attended.context @ heads.output_weight.mT + heads.output_bias)
    last = written.layers[-1]
    close(written.logits, model.logits(model.decoder_norm(last.outputs)))
    assert (last.hidden >= 0).all()
    close(written.layers[0].across.weights.sum(-1), torch.ones(BATCH, HEADS, TARGET, dtype=torch.float64))
    assert (written.layers[0].across.weights[1, ..., 3:] == 0).all()


# --- decoding ---------------------------------------------------------------------------------------------------------


def decoded_again(model, source, mask, longest, edit=None):
    """Greedy decoding without a cache: the whole beginning is read again for each word."""
    rows = []
    for word, real in zip(source, mask, strict=True):
        said, total = [MARK], 0.0
        while len(said) <= longest and (len(said) == 1 or said[-1] != MARK):
            logits = model(word[None], torch.tensor([said]), real[None], edit=edit).logits[0, -1].log_softmax(-1)
            said.append(int(logits.argmax()))
            total += float(logits.max())
        rows.append((said[1:], total))
    return rows


@pytest.mark.parametrize("edit", [None, switched_off([Head("across", 0, 1), Head("decoder", 1, 0)])])
def test_greedy_is_what_reading_from_the_start_gives(edit):
    lengths = set()
    with torch.no_grad():
        for seed in range(6):
            model, (source, _, mask) = made(seed), words()
            model.logits.bias[MARK] += 0.7
            found = model.greedy(source, mask, begin=MARK, end=MARK, longest=7, edit=edit)
            for b, (said, total) in enumerate(decoded_again(model, source, mask, 7, edit)):
                assert found.words[b][found.mask[b]].tolist() == said
                assert (found.words[b][~found.mask[b]] == MARK).all()
                assert found.log_probability[b].item() == pytest.approx(total)
                lengths.add(len(said))
    assert len(lengths) > 2  # or no test of stopping


# --- edits ------------------------------------------------------------------------------------------------------------


def test_a_head_that_is_off_adds_nothing():
    model, (source, target, mask) = made(), words()
    off = [Head("encoder", 0, 2), Head("across", 1, 6), Head("decoder", 1, 0), Head("across", 1, 3)]
    found = model(source, target, mask, edit=switched_off(off)).logits
    with torch.no_grad():  # a head whose columns of the last matrix are zero adds nothing either
        for part, layer, head in off:
            stack = model.encoder if part == "encoder" else model.decoder
            heads = stack[layer].across if part == "across" else stack[layer].own
            heads.output_weight[:, 2 * head : 2 * head + 2] = 0.0
    close(found, model(source, target, mask).logits)
    assert (made()(source, target, mask).logits - found).abs().max() > 1e-3


def test_rows_that_are_set_are_used_and_only_they():
    model, (source, target, mask) = made(), words()
    plain = model(source, target, mask)
    row = [0.0, 0.25, 0.0, 0.5, 0.25]
    edit = rows_set({Row("across", 0, 4, 1): row})
    found = model(source, target, mask, edit=edit)
    got = found.layers[0].across
    close(got.weights[:, 4, 1], torch.tensor([row] * BATCH, dtype=torch.float64))
    close(split(got.context, HEADS)[:, 4, 1], torch.tensor(row, dtype=torch.float64) @ split(got.value, HEADS)[:, 4])
    same = torch.ones(HEADS, TARGET, dtype=torch.bool)
    same[4, 1] = False
    close(got.weights[:, same], plain.layers[0].across.weights[:, same])
    close(found.logits[:, 0], plain.logits[:, 0])
    assert (found.logits[:, 1:] - plain.logits[:, 1:]).abs().amax(-1).min() > 1e-6
    own = {Row("across", 0, 4, 1): plain.layers[0].across.weights[0, 4, 1].tolist()}
    close(model(source[:1], target[:1], mask[:1], edit=rows_set(own)).logits, plain.logits[:1])  # its own row
    nothing = model(source, target, mask, edit=chained()).logits
    close(nothing, plain.logits)


def test_edits_leave_what_they_are_given_as_it_is():
    weights = torch.full((1, 2, 3, 3), 0.5)
    for edit in (switched_off([Head("encoder", 0, 1)]), rows_set({Row("encoder", 0, 1, 2): [1.0, 0.0, 0.0]})):
        assert not torch.equal(edit(Place("encoder", 0), weights), weights)
        assert (weights == 0.5).all()
        assert edit(Place("encoder", 1), weights) is weights


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unchecked")
def test_what_is_wrong_is_named():
    model, (source, target, mask) = made(), words()
    encoded = model.read(source, mask)
    for call, error, message in (
        (lambda: Transformer(5, 5, size=7, heads=7), ValueError, "size must be even"),
        (lambda: Transformer(5, 5, size=8, heads=3), ValueError, "size must be a multiple of heads=3, got 8"),
        (lambda: Transformer(5, 5, layers=0), ValueError, "layers must be at least 1, got 0"),
        (lambda: model.read(source, mask[:1]), ValueError, r"mask must have the shape of source, \(2, 5\), got \(1, 5"),
        (lambda: model.read(source, mask.long()), TypeError, "mask must be boolean"),
        (lambda: model.read([[1]]), TypeError, "source must be a tensor"),
        (lambda: model.write([[1]], encoded), TypeError, "target must be a tensor"),
        (lambda: model.greedy(source, begin=0, end=0, longest=0), ValueError, "longest must be at least 1, got 0"),
        (lambda: Layer(4, 2, 3).look(randn(1, 2, 4)), ValueError, "across=True"),
        (lambda: model(source, target, edit=switched_off([Head("across", 0, 7)])), ValueError, "from 0 to 6, got 7"),
        (lambda: model(source, target, edit=rows_set({Row("across", 0, 0, 0): [1.0]})), ValueError, "have 5 weights"),
    ):
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize("shape", [(0, 5), (2, 0), (1, 1), ()])
def test_nothing_one_and_no_batch(shape):
    """No items, no letters, one letter; and a word without a batch."""
    model = made()
    source = torch.zeros(shape or (4,), dtype=torch.long)
    target = torch.zeros((*source.shape[:-1], 2), dtype=torch.long)
    found = model(source, target).logits
    assert found.shape == (*source.shape[:-1], 2, SOUNDS)
    assert found.isfinite().all()
    if not shape:
        close(found, model(source[None], target[None]).logits[0])


def test_a_source_that_is_all_padding_is_as_one_of_nothing():
    model, (source, target, mask) = made(), words()
    close(model(source, target, mask & False).logits, model(source[:, :0], target).logits)


def test_batches_of_any_form_and_another_precision():
    model, (source, target, mask) = made(), words()
    one = model(source, target, mask).logits
    many = model(source.expand(3, 1, BATCH, SOURCE), target.expand(3, 1, BATCH, TARGET), mask.expand(3, 1, -1, -1))
    close(many.logits, one.expand(3, 1, *one.shape))
    names = dict(model.named_parameters())
    close(functional_call(model, names, (source, target, mask)).logits, one)
    half = model.bfloat16()(source, target, mask).logits
    torch.testing.assert_close(half.double(), one, rtol=0.1, atol=0.1)


# --- wrong versions ---------------------------------------------------------------------------------------------------


def sees_the_future(monkeypatch):
    monkeypatch.setattr(module.masks, "causal", lambda n, m, **_: torch.ones(n, m).bool())


def cache_off_by_one(monkeypatch):
    """The newest item is not kept."""
    right = Layer.forward

    def forward(self, *given, **options):
        passed, cache = right(self, *given, **options)
        return passed, Cache(*(part[..., :-1, :] for part in cache))

    monkeypatch.setattr(Layer, "forward", forward)


def upper_left_with_a_cache(monkeypatch):
    def causal(n, m, **options):
        return torch.arange(m) <= torch.arange(n)[:, None]

    monkeypatch.setattr(module, "masks", types.SimpleNamespace(causal=causal))


def positions_start_anew(monkeypatch):
    """Each run of the target counts its places from nought."""
    right = module.sinusoidal
    monkeypatch.setattr(module, "sinusoidal", lambda places, size, **o: right(places - places[..., :1], size, **o))


def no_positions(monkeypatch):
    right = module.sinusoidal
    monkeypatch.setattr(module, "sinusoidal", lambda places, size, **o: 0 * right(places, size, **o))


def places_of_padding_count(monkeypatch):
    monkeypatch.setattr(module, "token_positions", lambda real: torch.arange(real.shape[-1]).expand(real.shape))


def unmasked_across(monkeypatch):
    right = Layer.forward

    def forward(self, inputs, visible, source=None, source_visible=None, **options):
        return right(self, inputs, visible, source, source and torch.ones_like(source_visible), **options)

    monkeypatch.setattr(Layer, "forward", forward)


def norm_behind(monkeypatch):
    """Norms stand behind the sums, as in the first paper."""

    def forward(self, inputs, visible, source=None, source_visible=None, **options):
        inputs = self.own_norm(inputs + self.own(inputs, mask=visible).context)
        if source is not None:
            states = self.across.project(inputs, inputs)[0]
            found = multihead(states, *source, heads=HEADS, mask=source_visible)
            inputs = self.across_norm(inputs + self.across.output(found.context))
        hidden = self.expand(inputs).relu()
        inputs = self.norm(inputs + self.reduce(hidden))
        return types.SimpleNamespace(outputs=inputs), source

    monkeypatch.setattr(Layer, "forward", forward)


def no_last_norm(monkeypatch):
    right = Transformer.read

    def read(self, *given, **options):
        encoded = right(self, *given, **options)
        return encoded._replace(states=encoded.layers[-1].outputs)

    monkeypatch.setattr(Transformer, "read", read)


def unscaled_embeddings(monkeypatch):
    right = module._entered

    def entered(table, given, places):
        return right(table, given, places) - table(given) * (SIZE**0.5 - 1)

    monkeypatch.setattr(module, "_entered", entered)


def across_asks_too_loudly(monkeypatch):
    """Queries across come with twice their size."""
    right = MultiHead.project

    def project(self, query, key=None, value=None, **options):
        if key is not None and key.shape[-2] == 0:
            query = 2 * query
        return right(self, query, key, value, **options)

    monkeypatch.setattr(MultiHead, "project", project)


MUTANTS = {
    sees_the_future: check_the_future_is_hidden,
    cache_off_by_one: check_reading_on,
    upper_left_with_a_cache: check_reading_on,
    positions_start_anew: check_reading_on,
    no_positions: check_values,
    places_of_padding_count: check_padding,
    unmasked_across: check_padding,
    norm_behind: check_values,
    no_last_norm: check_values,
    unscaled_embeddings: check_values,
    across_asks_too_loudly: check_values,
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_wrong_version_is_found(mutant, monkeypatch):
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        MUTANTS[mutant]()
