"""Write what CoAttentionViewer shows: the networks that ``coattention.py`` trained, and scenes to ask about.

    python book/experiments/coattention_viewer.py

It tells how far the stored weights, of 16 bits, move the weights of regions and words, over 200 questions. Of each kind
it is the seed that is best on the questions that rates are chosen by.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attnlib.data import visual_questions
from attnlib.input_representations.coattention_network import PhraseCoAttention
from attnlib.widgets.image import packed
from attnlib.widgets.input_representations.co_attention_model import KINDS, packed_model, unpacked_network
from attnlib.widgets.input_representations.co_attention_viewer import STORE

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book.experiments.coattention import ANSWERS, RESULTS, SETTING, WORDS, network

# Words of questions that the networks were never asked, about what lies beside a thing.
UNSEEN = ("of", "left", "right", "above", "below")
KNOWN = [word for word in WORDS if word not in UNSEEN]

# Which of the scenes tested with, each with its own question and others that are asked about it.
SHOWN = {
    0: [
        "what colour is the triangle",
        "how many circles are there",
        "is there a red square",
        "is there a blue circle",
        "i like red squares but what shape is the yellow thing",
    ],
    22: [
        "i like red circles but what colour is the triangle",
        "what shape is the green thing",
        "how many red things are there",
        "is there a blue cross",
    ],
    18: ["how many squares are there", "what colour is the circle", "is there a purple square"],
    36: [
        "what colour is the cross",
        "what shape is the yellow thing",
        "how many purple things are there",
        "is there a red cross",
    ],
    32: ["what colour is the circle", "how many triangles are there", "is there a purple triangle"],
}


def scenes() -> list[dict[str, Any]]:
    options = {"side": SETTING["side"], "kinds": SETTING["kinds"]}
    made = visual_questions.make(count=1 + max(SHOWN), seed=2, **options)
    found = []
    for n, place in enumerate(SHOWN):
        things = made[place].things
        asked = [" ".join(made[place].words), *SHOWN[place]]
        right = [visual_questions.ask(things, text.split(), SETTING["side"]).answer for text in asked]
        image = packed(visual_questions.draw(things, SETTING["side"]))
        told = ", ".join(f"{thing.colour} {thing.shape} in cell {thing.cell + 1}" for thing in things)
        one = {"name": f"Scene {n + 1}, {len(things)} things", "told": told, "image": image}
        found.append({**one, "questions": asked, "answers": right})
    return found


def loaded(stored: dict[str, Tensor], chosen: dict[str, int]) -> tuple[nn.Conv2d, dict[str, PhraseCoAttention]]:
    """What sees a cell, and a network of each kind, of the seed that is chosen for it."""
    seen = nn.Conv2d(3, SETTING["d"], visual_questions.CELL, stride=visual_questions.CELL)
    seen.load_state_dict({name: stored[f"seen {name}"].float() for name in seen.state_dict()})
    made = {}
    for kind in KINDS:
        made[kind] = network(kind)
        state = {name: stored[f"{kind} {name}"][chosen[kind]].float() for name in made[kind].state_dict()}
        made[kind].load_state_dict(state)
        rows = made[kind].embedding.weight.detach()[[WORDS.index(word) for word in KNOWN]]
        made[kind].embedding = nn.Embedding.from_pretrained(rows)
    return seen, made


def trained() -> tuple[nn.Conv2d, dict[str, PhraseCoAttention]]:
    runs = json.loads((RESULTS / "metrics.json").read_text(encoding="utf-8"))["runs"]
    best = {}
    for kind in KINDS:
        found = runs[kind]["search"][str(runs[kind]["rate"])]
        best[kind] = found.index(max(found))
    return loaded(torch.load(RESULTS / "model.pt", weights_only=True), best)


def stored(seen: nn.Conv2d, networks: dict[str, PhraseCoAttention]) -> dict[str, Any]:
    return {"model": packed_model(seen, networks, KNOWN, ANSWERS), "scenes": scenes()}


@torch.no_grad()
def main() -> None:
    seen, networks = trained()
    made = stored(seen, networks)
    regions = torch.randn(200, SETTING["side"] ** 2, SETTING["d"], generator=torch.Generator().manual_seed(0)).double()
    words = torch.randint(len(KNOWN), (200, 9), generator=torch.Generator().manual_seed(1))
    for kind, each in networks.items():
        found = [net(regions.tanh(), words).levels[0] for net in (each.double(), unpacked_network(made["model"], kind))]
        sides = [[getattr(level, side).weights for level in found] for side in ("image", "question")]
        print(f"{kind}: weights moved by at most {max((a - b).abs().max().item() for a, b in sides):.1e}")
    STORE.write_text(json.dumps(made, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{STORE.name}: {STORE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
