"""Do a model's maps look like a person's? Heads of two models against gaze, and a trained reader against rated words.

    python book/experiments/gaze.py

``gaze``: MiniLM and SmolLM2, run with attnlib's attention, read the question and the paragraph that two people read.
What each word receives, from all tokens, from the question, or from one token, by layer and head, is held against how
long each of the two looked at it: by rank correlation, and by the words looked at longest, a fifth of them. A head is
chosen on other paragraphs than it is judged on. Beside it stand length, rarity, GPT-2's surprisal, place, chance, and
the other person. Does a map add to length, rarity and surprisal? Asked by the partial rank correlation within a
paragraph, of a head and a sign that were chosen on others, and by a regression on ranks that is judged on paragraphs
that were left out. Some minutes on one core; what is done lies in ``runs/gaze``.
"""

import functools
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from scipy.stats import rankdata
from torch import Tensor

from attnlib.data import gaze
from attnlib.frontiers.selection import random_like, top
from attnlib.frontiers.similarity import auc
from attnlib.pretrained import minilm, smollm

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance
from book._tools.kept import kept

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "gaze", HERE / "results" / "gaze"
SETTING: dict[str, Any] = {
    "share": 0.2,
    "draws": 100,
    "shuffles": 20,
    "lucks": 20,
    "ridges": [0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0],
}
PARTS = (
    "ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "NOUN", "NUM",
    "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB",
)  # fmt: skip
KNOWN = ("length", "rarity", "surprisal")
MORE = (*KNOWN, "letters", "marks", "early")


class Text(NamedTuple):
    """A paragraph with its question, and as two people read it."""

    key: str
    question: str
    words: tuple[str, ...]
    people: tuple[Tensor, Tensor]  # milliseconds on each word
    features: dict[str, Tensor]  # beside the known ones how early, letters without marks, and whether it has a mark
    parts: Tensor
    answers: Tensor


def texts() -> list[Text]:
    """The twelve paragraphs; the first of the two people is the first in the file."""
    readings = gaze.load()
    names = list(dict.fromkeys(reading.reader for reading in readings))
    by = {(reading.reader, reading.key): reading for reading in readings}
    found = []
    for key in dict.fromkeys(reading.key for reading in readings):
        one, other = (by[name, key] for name in names)
        assert [word.text for word in one.words] == [word.text for word in other.words]
        features = {name: torch.tensor([float(getattr(word, name)) for word in one.words]) for name in KNOWN}
        features["early"] = -torch.arange(float(len(one.words)))
        features["letters"] = torch.tensor([float(sum(map(str.isalnum, word.text))) for word in one.words])
        features["marks"] = (features["letters"] != features["length"]).float()
        dwell = tuple(torch.tensor([float(word.dwell) for word in each.words]) for each in (one, other))
        assert len(dwell) == 2
        parts = torch.tensor([PARTS.index(word.part) for word in one.words])
        answers = torch.tensor([word.answers for word in one.words])
        words = tuple(word.text for word in one.words)
        found.append(Text(key, one.question, words, dwell, features, parts, answers))
    return found


# --- maps of models ---------------------------------------------------------------------------------------------------


class Reader(NamedTuple):
    """A model, its pieces, and the sources from which a word receives."""

    name: str
    model: Any
    pieces: Any
    sources: tuple[str, ...]


def readers() -> Iterator[Reader]:
    yield Reader("MiniLM", *minilm.load(), ("all", "question", "first token"))
    yield Reader("SmolLM2", *smollm.load(), ("all", "question", "last token"))


def laid_out(reader: Reader, question: str, words: tuple[str, ...]) -> tuple[list[int], Tensor, list[int]]:
    """Numbers of the tokens; of each the word of the paragraph that it is of, else -1; and the question's places."""
    encode = reader.pieces.encode
    if reader.name == "MiniLM":  # [CLS] question [SEP] paragraph [SEP]
        before = [piece.number for piece in encode(question)]
        parts = [[piece.number for piece in encode(word)[1:-1]] for word in words]
        numbers = [*before, *(n for part in parts for n in part), encode("")[-1].number]
        assert numbers[len(before) - 1 :] == [encode("")[-1].number, *(p.number for p in encode(" ".join(words))[1:])]
        owners = [-1] * len(before) + [i for i, part in enumerate(parts) for _ in part] + [-1]
        return numbers, torch.tensor(owners), list(range(1, len(before) - 1))
    # A decoder sees nothing that comes later, so its question stands behind the paragraph.
    parts = [[piece.number for piece in encode(word if i == 0 else f" {word}")] for i, word in enumerate(words)]
    after = [piece.number for piece in encode(f"\nQuestion: {question}\nAnswer:")]
    numbers = [n for part in parts for n in part]
    assert numbers == [piece.number for piece in encode(" ".join(words))]
    owners = [i for i, part in enumerate(parts) for _ in part] + [-1] * len(after)
    return [*numbers, *after], torch.tensor(owners), list(range(len(numbers), len(numbers) + len(after)))


def received(reader: Reader, question: str, words: tuple[str, ...]) -> Tensor:
    """What each word receives, summed over its pieces and as their mean: ``(way, source, layer * head, word)``."""
    numbers, owners, asked = laid_out(reader, question, words)
    weights = reader.model(torch.tensor([numbers])).weights[0].flatten(0, 1)
    n = len(numbers)
    if reader.name == "MiniLM":
        everyone, one = weights.mean(1), weights[:, 0]
    else:  # the mean over those who can see it, or else early words receive more
        everyone, one = weights.sum(1) / torch.arange(n, 0, -1), weights[:, -1]
    of_tokens = torch.stack([everyone, weights[:, asked].mean(1), one])
    place = owners >= 0
    sums = torch.zeros(*of_tokens.shape[:-1], len(words)).index_add(-1, owners[place], of_tokens[..., place])
    return torch.stack([sums, sums / owners[place].bincount()])


def all_maps(reader: Reader, of: list[Text], turned: bool) -> list[Tensor]:
    """Of each paragraph; with the question of a paragraph of the other article, if turned."""
    half = len(of) // 2
    return [received(reader, of[(i + turned * half) % len(of)].question, text.words) for i, text in enumerate(of)]


# --- how alike --------------------------------------------------------------------------------------------------------


def ranks(values: Tensor) -> Tensor:
    """Ranks along the words, ties shared, with the mean 0 and the length 1; all 0 where nothing differs."""
    found = torch.from_numpy(rankdata(values.double().numpy(), axis=-1)).double()
    found = found - found.mean(-1, keepdim=True)
    return found / found.norm(dim=-1, keepdim=True).clamp(min=1e-9)


def correlation(scores: Tensor, dwell: Tensor) -> Tensor:
    """Spearman's, of any number of maps with one person's times."""
    return ranks(scores) @ ranks(dwell)


def longest(dwell: Tensor, share: float = SETTING["share"]) -> Tensor:
    """The words looked at longest, so large a share of all, at most as many as were looked at."""
    return top(dwell, min(math.ceil(share * len(dwell)), int((dwell > 0).sum())))


def likeness(text: Text, scores: Tensor) -> dict[str, Any]:
    """A map against each person, and against the answer; and what kinds of words its largest are."""
    told: dict[str, Any] = {"rank": [], "auc": [], "tenth": [], "any": [], "kinds": []}
    for dwell in text.people:
        chosen = longest(dwell)
        told["rank"].append(float(correlation(scores, dwell)))
        for name, words in (("auc", chosen), ("tenth", longest(dwell, 0.1)), ("any", dwell > 0)):
            told[name].append(float(auc(words, scores.double())))
        told["kinds"].append(text.parts[top(scores, int(chosen.sum()))].bincount(minlength=len(PARTS)).tolist())
    told["answer"] = float(auc(text.answers, scores.double()))
    return told


def gathered(of: list[Text], scores: list[Tensor]) -> dict[str, Any]:
    found = [likeness(text, each) for text, each in zip(of, scores, strict=True)]
    return {name: [each[name] for each in found] for name in found[0]}


def person(of: list[Text]) -> dict[str, Any]:
    """Each of the two as a map for the other; as a map against the answer, both."""
    names = ("rank", "auc", "tenth", "any", "kinds")
    told: dict[str, Any] = {name: [] for name in (*names, "answer")}
    for text in of:
        one, other = (likeness(text, dwell) for dwell in text.people)
        for name in names:
            told[name].append([other[name][0], one[name][1]])
        told["answer"].append([one["answer"], other["answer"]])
        one_set, other_set = (longest(dwell) for dwell in text.people)
        both = (auc(one_set, other_set.double()), auc(other_set, one_set.double()))
        told.setdefault("set against set", []).append([float(area) for area in both])
    return told


def folds(of: list[Text], way: str) -> Iterator[tuple[list[int], list[int]]]:
    """Places of paragraphs to learn from, and of those that are left out: one, or all of an article."""
    names = [text.key if way == "paragraph" else text.key.rpartition(", ")[0] for text in of]
    for name in dict.fromkeys(names):
        yield [i for i, n in enumerate(names) if n != name], [i for i, n in enumerate(names) if n == name]


def by_head(of: list[Text], maps: list[Tensor]) -> Tensor:
    """The mean rank correlation with both people, ``(paragraph, map)``."""
    return torch.stack(
        [
            torch.stack([correlation(each, dwell) for dwell in text.people]).mean(0)
            for text, each in zip(of, maps, strict=True)
        ]
    )


def chosen(of: list[Text], maps: list[Tensor], way: str) -> tuple[list[Tensor], list[int]]:
    """For each paragraph the map that does best on those that are not left out with it; and which it is."""
    quality, which = by_head(of, maps), [0] * len(of)
    for learn, left in folds(of, way):
        best = int(quality[learn].mean(0).argmax())
        for i in left:
            which[i] = best
    return [each[k] for each, k in zip(maps, which, strict=True)], which


# --- beyond what is known ---------------------------------------------------------------------------------------------


def fitted(learn: list[tuple[Tensor, Tensor]], left: Tensor, ridge: float) -> Tensor:
    """Predictions for a paragraph left out, by ridge regression; ``(feature, word)`` to ``(word,)``."""
    x, y = torch.cat([a for a, _ in learn], -1), torch.cat([b for _, b in learn], -1)
    if len(x) <= x.shape[1]:
        return torch.linalg.solve(x @ x.T + ridge * torch.eye(len(x)).double(), x @ y) @ left
    return torch.linalg.solve(x.T @ x + ridge * torch.eye(x.shape[1]).double(), y) @ (x.T @ left)


def wide(values: Tensor) -> Tensor:
    """Ranks with the mean square 1 within a paragraph, so that long paragraphs count more."""
    return ranks(values) * math.sqrt(values.shape[-1])


def added(known: Tensor, maps: Tensor, target: Tensor) -> Tensor:
    """Of each map the share of what is left unexplained that it explains: the squared partial correlation."""
    basis, _ = torch.linalg.qr(known.T)

    def without(values: Tensor) -> Tensor:
        return values - (values @ basis) @ basis.T

    left, rest = without(maps), without(target)
    return (left @ rest).square() / (left.square().sum(-1) * rest.square().sum()).clamp(min=1e-9)


def regressions(of: list[Text], maps: dict[str, list[Tensor]]) -> dict[str, Any]:
    """Predictions of both people's mean rank by ranks of features, from the paragraphs that are not left out."""
    target = [torch.stack([wide(dwell) for dwell in text.people]).mean(0) for text in of]
    known = [wide(torch.stack([text.features[name] for name in KNOWN])) for text in of]
    ranked = {name: [wide(each) for each in every] for name, every in maps.items()}
    arms: dict[str, list[Tensor]] = {}
    used: dict[str, list[int]] = {}
    for learn, (i,) in folds(of, "paragraph"):

        def predict(features: list[Tensor], ridge: float = 1e-6, learn: list[int] = learn, i: int = i) -> Tensor:
            return fitted([(features[j], target[j]) for j in learn], features[i], ridge)

        arms.setdefault("known", []).append(predict(known))
        base = torch.cat([known[j] for j in learn], -1)
        goal = torch.cat([target[j] for j in learn], -1)
        for name, every in ranked.items():
            best = int(added(base, torch.cat([every[j] for j in learn], -1), goal).argmax())
            used.setdefault(name, []).append(best)
            more = [torch.cat([known[j], every[j][best : best + 1]]) for j in range(len(of))]
            arms.setdefault(f"known + {name}", []).append(predict(more))
            arms.setdefault(f"{name}, every map", []).append(ridged(every, target, learn, i))
    for k, (own, other) in enumerate(((0, 1), (1, 0))):
        both = [torch.cat([known[j], wide(text.people[other])[None]]) for j, text in enumerate(of)]
        alone = [wide(text.people[own]) for text in of]
        for learn, (i,) in folds(of, "paragraph"):
            for name, features in (("known", known), ("known + other person", both)):
                found = fitted([(features[j], alone[j]) for j in learn], features[i], 1e-6)
                arms.setdefault(f"{name}, for person {k + 1}", []).append(found)
    told = {name: gathered(of, each) for name, each in arms.items()}
    for name, each in told.items():  # what is predicted for one person is held against that one alone
        if name[-1] in "12" and ", for person " in name:
            for measure in ("rank", "auc", "tenth", "any"):
                each[measure] = [[values[int(name[-1]) - 1]] for values in each[measure]]
    return {"arms": told, "used": used}


def ridged(every: list[Tensor], target: list[Tensor], learn: list[int], i: int) -> Tensor:
    """All maps together; how strongly they are held back is chosen on the paragraphs to learn from, in three parts."""
    quality = []
    for ridge in SETTING["ridges"]:
        found = []
        for part in range(3):
            inner = [j for n, j in enumerate(learn) if n % 3 != part]
            given = [(every[j], target[j]) for j in inner]
            found += [float(ranks(fitted(given, every[j], ridge)) @ ranks(target[j])) for j in learn[part::3]]
        quality.append(sum(found))
    best = SETTING["ridges"][quality.index(max(quality))]
    return fitted([(every[j], target[j]) for j in learn], every[i], best)


def rest(of: list[Text], values: list[Tensor], names: tuple[str, ...], turn: int = 0) -> Tensor:
    """Partial rank correlations within a paragraph: ``(paragraph, person, map)``.

    The values are ``(map, word)``, or ``(person, map, word)`` where each person is held against maps of her own. With a
    turn, the words of the maps are shuffled, all maps of a paragraph alike.
    """
    found = []
    for i, (text, each) in enumerate(zip(of, values, strict=True)):
        known = ranks(torch.stack([text.features[name] for name in names]))
        basis, _ = torch.linalg.qr(known.T)
        maps = ranks(each)
        if turn:
            maps = maps[..., torch.randperm(maps.shape[-1], generator=torch.Generator().manual_seed(100 * turn + i))]
        dwell = torch.stack([ranks(dwell) for dwell in text.people])
        left, goal = maps - (maps @ basis) @ basis.T, dwell - (dwell @ basis) @ basis.T
        left, goal = (x / x.norm(dim=-1, keepdim=True).clamp(min=1e-9) for x in (left, goal))
        found.append((left * goal[:, None]).sum(-1))
    return torch.stack(found)


def signed(of: list[Text], quality: Tensor, way: str) -> tuple[Tensor, list[int], list[int]]:
    """Of each paragraph what the map says that is largest on the others, turned round where it is negative there."""
    found, which, signs = torch.zeros(len(of)).double(), [0] * len(of), [0] * len(of)
    for learn, left in folds(of, way):
        mean = quality[learn].mean(0)
        best = int(mean.abs().argmax())
        for i in left:
            which[i], signs[i] = best, int(mean[best].sign())
            found[i] = signs[i] * quality[i, best]
    return found, which, signs


def partials(of: list[Text], maps: dict[str, list[Tensor]]) -> dict[str, Any]:
    """What is left of the rank correlation when known features are taken out of both, both people's mean."""

    def beyond(name: str, *known: str) -> Tensor:
        return rest(of, [text.features[name][None] for text in of], known).mean(1)[:, 0]

    others = [torch.stack([text.people[1][None], text.people[0][None]]) for text in of]
    simple = {
        "length beyond rarity, surprisal": beyond("length", "rarity", "surprisal"),
        "rarity beyond length": beyond("rarity", "length"),
        "surprisal beyond length": beyond("surprisal", "length"),
        "other person": rest(of, others, KNOWN).mean(1)[:, 0],
        "other person, more": rest(of, others, MORE).mean(1)[:, 0],
    }
    heads: dict[str, Any] = {}
    for model, every in maps.items():
        for names, label in ((KNOWN, ""), (MORE, ", more")):
            quality = rest(of, every, names).mean(1)
            shuffled = [rest(of, every, names, turn + 1).mean(1) for turn in range(SETTING["shuffles"])]
            for way in ("paragraph", "article"):
                found, which, signs = signed(of, quality, way)
                chance = torch.stack([signed(of, each, way)[0] for each in shuffled])
                told = {"rank": found, "map": which, "sign": signs, "shuffled": chance.mean(1)}
                heads.setdefault(model, {})[f"by {way}{label}"] = told
    return {"simple": simple, "heads": heads}


# --- all of it --------------------------------------------------------------------------------------------------------


def arms_of(of: list[Text], reader: Reader, maps: list[Tensor], turned: list[Tensor]) -> dict[str, Any]:
    """What one model's maps are like: the mean of all heads, heads chosen elsewhere, and with another's question."""
    heads = maps[0].shape[2]
    found: dict[str, Any] = {"arms": {}, "chosen": {}, "heads": {}}

    ranked = {name: [ranks(each[0]) for each in every] for name, every in (("", maps), (", other question", turned))}
    for s, source in enumerate(reader.sources):
        for name, every in ranked.items():
            if not name or source == "question":
                mean = gathered(of, [each[s].mean(0) for each in every])
                found["arms"][f"mean of ranked heads, {source}{name}"] = mean
    areas = torch.stack([area_of_all(text, each[0].flatten(0, 1)) for text, each in zip(of, maps, strict=True)])
    found["best area"] = areas.mean(0).amax(-1)  # of each person, chosen on what it is judged on

    def place(k: int) -> tuple[str, int, int]:
        source, head = divmod(k, heads)
        return (reader.sources[source], *divmod(head, heads // len(reader.model.layers)))

    for w, way in enumerate(("sum", "mean")):
        for s, source in enumerate(reader.sources):
            found["arms"][f"mean of heads, {source}, {way}"] = gathered(of, [each[w, s].mean(0) for each in maps])
        flat = [each[w].flatten(0, 1) for each in maps]
        for fold in ("paragraph", "article"):
            best, which = chosen(of, flat, fold)
            found["arms"][f"chosen head, by {fold}, {way}"] = gathered(of, best)
            found["chosen"][f"by {fold}, {way}"] = [place(k) for k in which]
            if fold == "paragraph":
                other = [each[w].flatten(0, 1)[k] for each, k in zip(turned, which, strict=True)]
                found["arms"][f"chosen head, other question, {way}"] = gathered(of, other)
        found["heads"][way] = by_head(of, flat).mean(0).view(len(reader.sources), -1)
        # The head that finds the answer, chosen by the answers of other paragraphs.
        finds = torch.stack(
            [auc(t.answers.expand(len(each), -1), each.double()) for t, each in zip(of, flat, strict=True)]
        )
        for name, given in (("answer head", maps), ("answer head, other question", turned)):
            which = [int(finds[[j for j in range(len(of)) if j != i]].mean(0).argmax()) for i in range(len(of))]
            picked = [each[w].flatten(0, 1)[k] for each, k in zip(given, which, strict=True)]
            found["arms"][f"{name}, {way}"] = gathered(of, picked)
            found["chosen"][f"answer, {way}"] = [place(k) for k in which]
    return found


def area_of_all(text: Text, maps: Tensor) -> Tensor:
    """The area of each map against each person, ``(person, map)``."""
    return torch.stack([auc(longest(dwell).expand(len(maps), -1), maps.double()) for dwell in text.people])


def luck(of: list[Text], maps: int) -> list[float]:
    """The best mean rank correlation of so many maps of random numbers with both people, a number a draw."""
    g, found = torch.Generator().manual_seed(2), []
    for _ in range(SETTING["lucks"]):
        drawn = [torch.rand(maps, len(text.words), generator=g) for text in of]
        found.append(float(by_head(of, drawn).mean(0).max()))
    return found


def baselines(of: list[Text]) -> dict[str, Any]:
    g = torch.Generator().manual_seed(0)
    simple: dict[str, Callable[[Text], Tensor]] = {
        **{name: functools.partial(_feature, name=name) for name in (*KNOWN, "early", "letters")},
        "answer": lambda text: text.answers.float(),
        "random": lambda text: torch.rand(len(text.words), generator=g),
    }
    found = {name: gathered(of, [make(text) for text in of]) for name, make in simple.items()}
    return found | {"other person": person(of)}


def _feature(text: Text, name: str) -> Tensor:
    return text.features[name]


def chance(of: list[Text]) -> list[list[list[list[int]]]]:
    """Kinds of words of random selections, as many as each person's: ``[paragraph][person][draw][kind]``."""
    g, found = torch.Generator().manual_seed(1), []
    for text in of:
        drawn = [random_like(longest(d).expand(SETTING["draws"], -1), generator=g) for d in text.people]
        found.append([[text.parts[row].bincount(minlength=len(PARTS)).tolist() for row in each] for each in drawn])
    return found


def rounded(values: Any) -> Any:
    values = values.tolist() if isinstance(values, Tensor) else values
    return json.loads(json.dumps(values), parse_float=lambda x: round(float(x), 4))


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    of = texts()
    found: dict[str, Any] = {"baselines": baselines(of), "models": {}}
    flat: dict[str, list[Tensor]] = {}
    for reader in readers():
        both = [
            kept(RUNS / f"{reader.name}, {turned}.pt", functools.partial(all_maps, reader, of, turned))
            for turned in (False, True)
        ]
        found["models"][reader.name] = arms_of(of, reader, *both)
        flat[reader.name] = [each[0].flatten(0, 1) for each in both[0]]
        for name, each in found["models"][reader.name]["arms"].items():
            print(reader.name, name, _mean(each), flush=True)
    found["luck"] = {name: luck(of, len(every[0])) for name, every in flat.items()}
    found["partials"] = partials(of, flat)
    for name, each in found["partials"]["heads"].items():
        print(name, {way: (round(told["rank"].mean().item(), 3), told["map"]) for way, told in each.items()})
    found["regressions"] = regressions(of, flat)
    for name, each in (*found["baselines"].items(), *found["regressions"]["arms"].items()):
        print(name, _mean(each), flush=True)
    own = [[text.parts[longest(d)].bincount(minlength=len(PARTS)).tolist() for d in text.people] for text in of]
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "paragraphs": [{"key": t.key, "words": len(t.words), "answer": int(t.answers.sum())} for t in of],
        "parts": PARTS,
        "kinds of people": own,
        "kinds of chance": chance(of),
        **found,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    text = json.dumps(rounded_all(metrics), separators=(",", ":"), ensure_ascii=False)
    (RESULTS / "metrics.json").write_text(text + "\n", encoding="utf-8")


def rounded_all(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: rounded_all(each) for name, each in value.items()}
    return rounded(value)


def _mean(each: dict[str, Any]) -> dict[str, float]:
    return {name: round(torch.tensor(each[name]).double().mean().item(), 3) for name in ("rank", "auc", "answer")}


if __name__ == "__main__":
    main()
