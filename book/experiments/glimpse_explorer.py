"""Write what GlimpseExplorer shows: the model that ``glimpses.py`` trained, and scenes of digits that it has not seen.

    python book/experiments/glimpse_explorer.py
    python book/experiments/glimpse_explorer.py --model PATH      weights of the same setting from elsewhere

It tells how far the stored weights, of 16 bits, move beliefs along the model's own path, over 200 scenes.
"""

import argparse
import base64
import json
import sys
from pathlib import Path
from typing import Any

import torch

from attnlib.data import scenes, split
from attnlib.input_features.recurrent_attention import RecurrentAttention
from attnlib.widgets.input_features.glimpse_explorer import STORE
from attnlib.widgets.input_features.glimpse_model import packed_model, unpacked_model

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book.experiments.glimpses import RESULTS, SETTING, glimpses

MODEL = RESULTS / "model.pt"
# Which of the scenes tested with.
SHOWN = {
    "A 3 at the upper right": 20,
    "A 2 on the right": 16,
    "A 6 at the lower right": 1,
    "A 3 in the middle": 3,
    "A 4 at the upper left": 42,
    "A 2 at the lower right": 31,
}


def tested(count: int) -> scenes.Scenes:
    """The first of the scenes that ``glimpses.py`` tests with."""
    digits = split(scenes.load(), dev=0.1, test=0.3)[2]
    side, options = SETTING["side"], {"digit": SETTING["digit"], "pieces": SETTING["pieces"], "seed": 2}
    made = scenes.make(digits, count=count, size=(side, side), **options)
    return made._replace(image=(255 * made.image).round() / 255)


def stored(model: RecurrentAttention) -> dict[str, Any]:
    """What is written: the model, whose digits these are, and the scenes, grey, a byte a pixel."""
    given, shown = tested(1 + max(SHOWN.values())), []
    for name, place in SHOWN.items():
        grey = (255 * given.image[place, 0]).round().to(torch.uint8)
        data = base64.b64encode(bytes(grey.flatten().tolist())).decode()
        shown.append({"name": name, "kind": int(given.kind[place]), "height": len(grey), "grey": data})
    credit = "Alpaydin and Kaynak 1998, as scikit-learn has them"
    return {"model": packed_model(model, SETTING["glimpses"]), "digits": credit, "scenes": shown}


def trained(path: Path) -> RecurrentAttention:
    model = glimpses(SETTING)
    assert isinstance(model, RecurrentAttention)
    model.load_state_dict(torch.load(path, weights_only=True))
    return model


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=MODEL)
    model = trained(parser.parse_args().model)
    made, given = stored(model), tested(200)
    image = given.image.double()
    paths = [each(image, SETTING["glimpses"], sample=False) for each in (model.double(), unpacked_model(made["model"]))]
    beliefs = [path.log_probability.exp() for path in paths]
    print(f"beliefs moved by at most {(beliefs[0] - beliefs[1]).abs().max():.1e}")
    print(f"{(beliefs[1][-1].argmax(-1) == given.kind).float().mean():.3f} of 200 scenes right along its own path")
    STORE.write_text(json.dumps(made, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{STORE.name}: {STORE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
