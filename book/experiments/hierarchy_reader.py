"""Write what HierarchyReader reads with: the small model that ``hierarchy.py`` trained, and what people gave snippets.

    python book/experiments/hierarchy_reader.py

The reviews in the widget are ours. A few snippets of rated reviews stand in one preset, none longer than eight words;
nobody's review is there as a whole.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attnlib.data import reviews
from attnlib.input_representations.hierarchical import HierarchicalAttention
from attnlib.widgets.input_representations.hierarchy_model import packed_model

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
RESULTS = Path(__file__).parent / "results" / "hierarchy"
STORE = Path(__file__).resolve().parents[2] / "attnlib/widgets/input_representations/hierarchy_reader.json"
# Reviews and places in them, of sentences of a few words.
SHOWN = ((7, 1), (12, 1), (13, 1), (6, 1))


def model_of(state: dict[str, Tensor]) -> tuple[Tensor, HierarchicalAttention, nn.Linear]:
    """Vectors, levels and answer of the state of a ``Reader``."""
    vectors = state["vectors.weight"].double()
    levels = HierarchicalAttention(vectors.shape[1], state["answer.weight"].shape[1] // 2, dtype=torch.float64)
    own = {name.removeprefix("levels."): value.double() for name, value in state.items() if name.startswith("levels.")}
    levels.load_state_dict(own)
    answer = nn.Linear(state["answer.weight"].shape[1], 1, dtype=torch.float64)
    answer.load_state_dict({name: state[f"answer.{name}"].double() for name in ("weight", "bias")})
    return vectors, levels, answer


def rated() -> list[dict[str, Any]]:
    """The snippets with their mean rating."""
    by_key = {review.key: review.sentences for review in reviews.load()}
    found = [by_key[str(number)][place - 1] for number, place in SHOWN]
    return [{"text": sentence.text, "rating": round(sentence.rating, 2)} for sentence in found]


def main() -> None:
    words = json.loads((RESULTS / "words.json").read_text(encoding="utf-8"))
    made = {
        "words": words,
        "layers": packed_model(*model_of(torch.load(RESULTS / "page.pt", weights_only=True))),
        "rated": rated(),
    }
    STORE.write_text(json.dumps(made, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{STORE.name}: {STORE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
