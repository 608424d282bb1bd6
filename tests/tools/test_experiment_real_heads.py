"""Heads of real models: do script and results belong together; and each measure, on small models."""

import json
from types import SimpleNamespace

import pretrained_oracle as oracle
import pytest
import torch
from checks import close, randn
from test_experiments import check_the_code, script

from attnlib.pretrained import MiniLM, SmolLM
from attnlib.pretrained.tensors import Stored

TOKENS = torch.tensor([[3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5, 8]])


@pytest.fixture(scope="module")
def real_heads():
    return script("real_heads")


@pytest.fixture(scope="module")
def metrics(real_heads):
    return json.loads((real_heads.RESULTS / "metrics.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def encoder(real_heads):
    tensors = {name: randn(*shape, seed=i).float() / 3 for i, (name, shape) in enumerate(oracle.small_bert().items())}
    return real_heads.Reader("encoder", MiniLM(tensors, oracle.HEADS).requires_grad_(False), None, True, 3)


@pytest.fixture(scope="module")
def decoder(real_heads):
    said, shapes = oracle.small_llama()
    tensors = {name: randn(*shape, seed=i).float() / 3 for i, (name, shape) in enumerate(shapes.items())}
    return real_heads.Reader("decoder", SmolLM(Stored(said, tensors)).requires_grad_(False), None, False, 3)


def test_results_are_of_this_script_and_add_up(real_heads, metrics):
    check_the_code(metrics, "real_heads")
    setting = metrics["setting"]
    assert setting == json.loads(json.dumps(real_heads.SETTING))
    for name, (layers, heads) in {"MiniLM": (6, 12), "SmolLM2": (30, 9)}.items():
        found = metrics["models"][name]
        sizes = {len(draw) for key, draws in found["scores"].items() if key != "chance" for draw in draws}
        assert sizes <= {layers, 2}  # "groups" has two
        for key in ("previous", "own", "first", "evenness"):
            values = torch.tensor(found["scores"][key])
            assert values.shape == (setting["draws"], layers, heads)
            assert ((values >= 0) & (values <= 1.0001)).all()
        words = {len(each) for each in found["meanings"]["right"].values()}
        assert words == {metrics["meanings"]["words"]}
    off = metrics["models"]["SmolLM2"]["off"]
    texts = setting["texts"] * setting["off draws"]
    assert {len(off[name]["second half"]) for name in off if name != "heads"} == {texts}
    assert all(len(off["heads"][name]) == setting["off"] for name in ("induction", "previous"))


def test_maps_that_the_page_shows_are_of_the_sentences(real_heads):
    stored = json.loads((real_heads.RESULTS / "maps.json").read_text("utf-8"))
    for name, found in stored.items():
        assert len(found["items"]) == 20 + (name == "SmolLM2")
        for item in found["items"]:
            n = len(item["tokens"])
            assert set(item["weights"]) == set(found["heads"])
            for weights in item["weights"].values():
                rows = torch.tensor(weights)
                assert rows.shape == (n, n)
                assert ((rows.sum(-1) - 255).abs() <= n / 2).all()
                assert name == "MiniLM" or (rows.triu(1) == 0).all()


@pytest.mark.parametrize("which", ["encoder", "decoder"])
def test_scores_are_the_loops(which, real_heads, request):
    reader = request.getfixturevalue(which)
    found = real_heads.look(reader, TOKENS)
    scores = real_heads.placed(found, reader.marked)
    a, lengths, n = found.weights.double(), found.lengths.double(), TOKENS.shape[1]
    rows = range(2, n - 1 if reader.marked else n)
    for t, layer, head in ((0, 0, 1), (1, 1, 3)):
        one, brings = a[t, layer, head], lengths[t, layer, head]
        wanted = {"previous": 0.0, "own": 0.0, "first": 0.0, "first, by length": 0.0}
        for row in rows:
            wanted["previous"] += one[row, row - 1].item() / len(rows)
            wanted["own"] += one[row, row].item() / len(rows)
            wanted["first"] += one[row, 0].item() / len(rows)
            shares = [one[row, s].item() * brings[s].item() for s in range(n)]
            wanted["first, by length"] += shares[0] / sum(shares) / len(rows)
        for name, value in wanted.items():
            assert scores[name][t, layer, head].item() == pytest.approx(value, abs=1e-6)
    assert ("next" in scores) == reader.marked


def test_what_a_key_brings_is_its_part_of_the_output(real_heads, decoder):
    """Of a head alone: weights times what the keys bring is what the layer adds, if the vectors point one way."""
    found = real_heads.look(decoder, TOKENS)
    own = decoder.attentions[0]
    inputs = decoder.model.layers[0].own_norm(decoder.model.words[TOKENS])
    value = own.project(inputs)[2].unflatten(-1, (oracle.GROUPS, -1))
    head = 3
    wanted = torch.stack([own.output_weight[:, 18:24] @ value[0, s, head // 2] for s in range(6)]).norm(dim=-1)
    torch.testing.assert_close(found.lengths[0, 0, head], wanted)


def test_heads_are_switched_off_and_on_again(real_heads, decoder):
    before = decoder.model(TOKENS).outputs
    contexts = {}

    def without(own, given):
        context = given.clone()
        context[..., 6:12] = 0
        contexts["seen"] = True
        return own.weight_before @ context.unsqueeze(-1)

    own = decoder.attentions[1]
    own.weight_before = own.output_weight.data.clone()
    with real_heads.switched_off(decoder, [(1, 1)]):
        off = decoder.model(TOKENS).outputs
        assert (own.output_weight[:, 6:12] == 0).all()
    own.output = lambda context: without(own, context).squeeze(-1)
    torch.testing.assert_close(decoder.model(TOKENS).outputs, off)
    del own.output
    assert contexts
    assert (off - before).abs().max() > 1e-3
    assert torch.equal(decoder.model(TOKENS).outputs, before)


def test_others_are_of_the_same_layers(real_heads, decoder):
    heads = [(0, 1), (0, 2), (1, 3)]
    found = real_heads.others(decoder, heads, 0, [*heads, (1, 0)])
    assert sorted(layer for layer, _ in found) == [0, 0, 1]
    assert not set(found) & {*heads, (1, 0)}


def test_groups_and_layers_by_hand(real_heads, encoder, decoder):
    """Heads that share keys look alike and others do not: distances 0 and log 2."""
    weights = torch.zeros(1, 2, 4, 5, 5)
    for head in range(4):
        weights[:, :, head, :, head // 2] = 1
    apart = real_heads.apart(weights, False).mean(0)
    log2 = pytest.approx(0.6931, abs=1e-4)
    assert real_heads.groups(apart, decoder) == {"same": [0.0, 0.0], "other": [log2, log2]}
    layers = real_heads.between(real_heads.apart(weights, True).mean(0))
    close(layers, torch.log(torch.tensor(2.0)) * torch.tensor([[2 / 3, 1 / 2], [1 / 2, 2 / 3]]), rtol=1e-5, atol=1e-5)


def test_a_text_that_comes_again_and_where_one_would_look(real_heads, decoder, monkeypatch):
    """A model whose heads look after the like, or at it, is told from one whose heads do not."""
    monkeypatch.setitem(real_heads.SETTING, "half", 4)
    monkeypatch.setitem(real_heads.SETTING, "draws", 1)
    reader = decoder._replace(model=lambda tokens: SimpleNamespace(weights=after(tokens)), ordinary=decoder.ordinary)

    def after(tokens):
        n = tokens.shape[1]
        a = torch.zeros(len(tokens), 1, 2, n, n)
        for t in range(n):
            a[:, :, 0, t, t - 3 if t >= 4 else 0] = 1
            a[:, :, 1, t, t - 4 if t >= 4 else 0] = 1
        return a

    reader.model.words = torch.zeros(20, 2)
    found = real_heads.repeated(reader)
    assert (found["after it, again"], found["on it, again"]) == ([[[1.0, 0.0]]], [[[0.0, 1.0]]])
    tokens = real_heads.random_texts(reader, 0)
    assert torch.equal(tokens[:, :4], tokens[:, 4:])
    fresh = real_heads.random_texts(reader, 0, again=False)
    assert all(len(set(text)) == 8 for text in fresh.tolist())
    assert (fresh >= 3).all()


def test_bins_by_hand(real_heads):
    row = torch.tensor([0.1, 0.2, 0.3, 0.05, 0.15, 0.2])
    close(real_heads.binned(row, 3, False), torch.tensor([0, 0, 0.2, 0.3, 0.05, 0.15, 0.2, 0, 0, 0.1, 0]))
    close(real_heads.binned(row, 2, True), torch.tensor([0, 0, 0, 0.2, 0.3, 0.05, 0.15, 0, 0, 0.1, 0.2]))
    far = torch.full((10,), 0.1)
    close(real_heads.binned(far, 5, False)[[0, 8]], torch.tensor([0.1, 0.1]))


def test_the_nearer_sense_wins_and_ties_are_half(real_heads):
    seen = [SimpleNamespace(x=torch.tensor([a, b])) for a, b in ((0.0, 1.0), (1.0, 1.0), (3.0, 1.0))]
    held = [real_heads.Triple("a", 0, 1, 2), real_heads.Triple("a", 2, 0, 1), real_heads.Triple("b", 1, 0, 2)]
    right = real_heads.closer(lambda one, other: (one.x - other.x).abs(), seen, held)
    assert right.tolist() == [[1, 0.5], [0, 0.5], [1, 0.5]]
    assert real_heads.by_word(right, held).tolist() == [[0.5, 0.5], [1, 0.5]]


def test_a_head_is_chosen_by_other_words(real_heads):
    """A head that is right on the even words alone is not credited with them."""
    even = (torch.arange(20) % 2 == 0).double()
    found, chosen = real_heads.best_of_the_others(torch.stack([even, 1 - even], 1))
    assert found.mean() == 0
    assert chosen == [1, 0]
