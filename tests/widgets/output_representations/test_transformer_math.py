"""The page's transformer is attnlib's, number by number, with and without edits; and what a page holds of it."""

import random

import torch
from drawn import arithmetic

from attnlib.output_representations.interventions import Head, Row, chained, rows_set, switched_off
from attnlib.output_representations.transformer import Transformer
from attnlib.widgets.output_representations.transformer_model import packed_model, quantised, unpacked_model

LETTERS, SOUNDS, SIZE, HEADS, LAYERS, HIDDEN = 13, 17, 14, 7, 2, 11
MARK, LONGEST = SOUNDS - 1, 9


def made(seed):
    torch.manual_seed(seed)
    model = Transformer(LETTERS, SOUNDS, size=SIZE, heads=HEADS, layers=LAYERS, hidden=HIDDEN)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        model.logits.bias[MARK] += 1
    return model


def cases(g, n):
    """Words, with heads that are off, and rows of the encoder and across that are set."""
    found = []
    for _ in range(n):
        letters = [g.randrange(LETTERS) for _ in range(g.choice([1, 2, 3, 5, 8]))]
        places = [(g.choice(["encoder", "decoder", "across"]), g.randrange(LAYERS), g.randrange(HEADS)) for _ in "12"]
        rows = []
        for part in ("encoder", "across") if g.random() < 0.7 else ():
            weights = [g.random() for _ in letters]
            row = g.randrange(len(letters)) if part == "encoder" else 0
            rows.append({"part": part, "layer": g.randrange(LAYERS), "head": g.randrange(HEADS), "row": row})
            rows[-1]["weights"] = weights
        found.append({"letters": letters, "off": places if g.random() < 0.7 else [], "rows": rows})
    return found


SAY = """({ stored, cases, mark, longest }) => {
  const net = math.unpackedTransformer(stored);
  const shown = ({ heads, output }) => ({ weights: heads.map((h) => [...h.weights]),
    energies: heads.map((h) => [...h.energies]), context: heads.flatMap((h) => [...h.context]), output: [...output] });
  return cases.map(({ letters, off, rows }) => {
    const edit = math.edits(off, rows);
    const encoded = math.encode(net, letters, edit);
    const { said, steps } = math.greedy(net, encoded, { mark, longest, edit });
    return { said, logits: steps.map(({ logits }) => [...logits]), states: encoded.states.map((each) => [...each]),
      encoder: encoded.layers.map((layer) => layer.map(shown)),
      decoder: steps.map(({ layers }) => layers.map(({ decoder }) => shown(decoder))),
      across: steps.map(({ layers }) => layers.map(({ across }) => shown(across))) };
  });
}"""


def gap(got, wanted):
    return (torch.tensor(got, dtype=torch.float64) - wanted).abs().max().item()


def gaps(page, attended, t=None):
    """Of all that one attention made, of one query."""
    rows = slice(None) if t is None else t
    yield gap(page["context"], attended.context[0, rows])
    yield gap(page["output"], attended.output[0, rows])
    n = len(page["weights"][0])
    yield gap(page["weights"], attended.weights[0, :, rows, :n])
    yield gap(page["energies"], attended.energies[0, :, rows, :n])


def test_arithmetic_is_that_of_attnlib(record_property):
    largest, lengths = 0.0, set()
    for seed in range(2):
        model, g = quantised(made(seed)), random.Random(seed)
        given = cases(g, 14)
        call = {"stored": packed_model(made(seed)), "cases": given, "mark": MARK, "longest": LONGEST}
        for case, page in zip(given, arithmetic("transformer")(SAY, call), strict=True):
            rows = {Row(r["part"], r["layer"], r["head"], r["row"]): r["weights"] for r in case["rows"]}
            edit = chained(rows_set(rows), switched_off([Head(*head) for head in case["off"]]))
            source = torch.tensor([case["letters"]])
            said = model.greedy(source, begin=MARK, end=MARK, longest=LONGEST, edit=edit)
            assert page["said"] == said.words[said.mask].tolist()
            lengths.add(len(page["said"]))
            encoded = model.read(source, edit=edit)
            written = model.write(torch.tensor([[MARK, *page["said"][:-1]]]), encoded, edit=edit)
            found = [gap(page["logits"], written.logits[0]), gap(page["states"], encoded.states[0])]
            for i in range(LAYERS):
                for t in range(len(case["letters"])):
                    found += gaps(page["encoder"][i][t], encoded.layers[i].own, t)
                for t in range(len(page["said"])):
                    found += gaps(page["decoder"][t][i], written.layers[i].own, t)
                    found += gaps(page["across"][t][i], written.layers[i].across, t)
            largest = max(largest, *found)
    assert len(lengths) > 3
    record_property("measured", f"{largest:.1e} largest gap to attnlib  transformer")
    assert largest < 1e-6


def test_what_is_stored_is_within_half_a_step_of_the_weights():
    model = made(0)
    stored = packed_model(model)
    again = unpacked_model(stored)
    for (name, value), got in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        if value.ndim == 2:
            step = value.abs().amax(1, keepdim=True).double() / 127
            assert ((got - value).abs() <= 0.500001 * step).all(), name
        else:
            assert torch.equal(got.float(), value), name
    assert packed_model(again) == stored  # what is stored is read and stored again as it is


def test_one_byte_each_loses_more_than_nothing():
    model = made(0)
    assert (quantised(model).logits.weight - model.logits.weight).abs().max() > 1e-4
    zero = made(1)
    with torch.no_grad():
        zero.logits.weight[3] = 0.0
    assert (quantised(zero).logits.weight[3] == 0).all()
