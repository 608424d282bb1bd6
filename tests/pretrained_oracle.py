"""The two models once more, from their papers' equations, a token and a head at a time; and small ones for the tests.

Nothing here imports attnlib. Weights come as a mapping from the names in the files to arrays.
"""

import math

import numpy as np

HEADS, GROUPS, HEAD, SIZE, HIDDEN, WORDS, PLACES, DEPTH = 4, 2, 6, 24, 19, 13, 11, 2
BASE, TINY = 100.0, 1e-5


def softmax(energies):
    powers = [math.exp(e - max(energies)) for e in energies]
    return np.array([p / sum(powers) for p in powers])


def attention(queries, keys, values, visible):
    """Weights and contexts of one head, of whose keys query ``t`` sees the first ``visible(t)``."""
    weights, contexts = np.zeros((len(queries), len(keys))), []
    for t, query in enumerate(queries):
        energies = [query @ keys[s] / math.sqrt(len(query)) for s in range(visible(t))]
        weights[t, : visible(t)] = softmax(energies)
        contexts.append(sum(weights[t, s] * values[s] for s in range(visible(t))))
    return weights, np.array(contexts)


def standard(x, weight, bias):
    middle = x.mean()
    return (x - middle) / math.sqrt(((x - middle) ** 2).mean() + 1e-12) * weight + bias


def bert(w, tokens, heads):
    """Outputs and weights ``(layer, head, query, key)`` of an encoder that normalises after each sum."""
    w = {name: np.asarray(value, np.float64) for name, value in w.items()}
    n, every = len(tokens), []
    rows = [
        w["embeddings.word_embeddings.weight"][token]
        + w["embeddings.position_embeddings.weight"][t]
        + w["embeddings.token_type_embeddings.weight"][0]
        for t, token in enumerate(tokens)
    ]
    x = [standard(r, w["embeddings.LayerNorm.weight"], w["embeddings.LayerNorm.bias"]) for r in rows]
    layers = 1 + max(int(name.split(".")[2]) for name in w if name.startswith("encoder"))
    for i in range(layers):
        name = f"encoder.layer.{i}."

        def through(part, vectors, name=name):
            return np.array([w[f"{name}{part}.weight"] @ v + w[f"{name}{part}.bias"] for v in vectors])

        q, k, v = (through(f"attention.self.{part}", x) for part in ("query", "key", "value"))
        size = q.shape[1] // heads
        parts = [slice(h * size, (h + 1) * size) for h in range(heads)]
        found = [attention(q[:, p], k[:, p], v[:, p], lambda t: n) for p in parts]
        every.append([weights for weights, _ in found])
        added = through("attention.output.dense", np.concatenate([context for _, context in found], 1))
        norm = [w[f"{name}attention.output.LayerNorm.{kind}"] for kind in ("weight", "bias")]
        x = [standard(old + new, *norm) for old, new in zip(x, added, strict=True)]
        hidden = through("intermediate.dense", x)
        erf = np.vectorize(math.erf)
        hidden = hidden * (1 + erf(hidden / math.sqrt(2))) / 2
        norm = [w[f"{name}output.LayerNorm.{kind}"] for kind in ("weight", "bias")]
        x = [standard(old + new, *norm) for old, new in zip(x, through("output.dense", hidden), strict=True)]
    return np.array(x), np.array(every)


def halves(rows, heads):
    """Rows of a matrix of queries or keys as Llama's own files have them: of each head first the even, then the odd."""
    size = len(rows) // heads
    order = [h * size + i for h in range(heads) for i in (*range(0, size, 2), *range(1, size, 2))]
    return rows[order]


def turned(vector, t, base):
    """Component ``i`` and the one half a vector later are turned together, by ``t / base^(2i / d)``."""
    half = len(vector) // 2
    found = np.empty(len(vector))
    for i in range(half):
        angle = t * base ** (-2 * i / len(vector))
        a, b = vector[i], vector[i + half]
        found[i], found[i + half] = (
            a * math.cos(angle) - b * math.sin(angle),
            b * math.cos(angle) + a * math.sin(angle),
        )
    return found


def llama(w, tokens, heads, groups, base, tiny):
    """Outputs and weights ``(layer, head, query, key)`` of a decoder that normalises before each part."""
    w = {name: np.asarray(value, np.float64) for name, value in w.items()}
    every, x = [], [w["token_embd.weight"][token] for token in tokens]

    def rms(vector, name):
        return vector / math.sqrt((vector**2).mean() + tiny) * w[name]

    layers = 1 + max(int(name.split(".")[1]) for name in w if name.startswith("blk"))
    for i in range(layers):
        name = f"blk.{i}."
        inner = [rms(row, f"{name}attn_norm.weight") for row in x]
        w_q, w_k = halves(w[f"{name}attn_q.weight"], heads), halves(w[f"{name}attn_k.weight"], groups)
        size, found = len(w_q) // heads, []
        for h in range(heads):
            of, shared = slice(h * size, (h + 1) * size), h // (heads // groups)
            lent = slice(shared * size, (shared + 1) * size)
            queries = [turned(w_q[of] @ row, t, base) for t, row in enumerate(inner)]
            keys = [turned(w_k[lent] @ row, t, base) for t, row in enumerate(inner)]
            values = [w[f"{name}attn_v.weight"][lent] @ row for row in inner]
            found.append(attention(queries, keys, values, lambda t: t + 1))
        every.append([weights for weights, _ in found])
        joined = np.concatenate([context for _, context in found], 1)
        x = [row + w[f"{name}attn_output.weight"] @ c for row, c in zip(x, joined, strict=True)]
        for t, row in enumerate(x):
            inside = rms(row, f"{name}ffn_norm.weight")
            gate = w[f"{name}ffn_gate.weight"] @ inside
            hidden = gate / (1 + np.exp(-gate)) * (w[f"{name}ffn_up.weight"] @ inside)
            x[t] = row + w[f"{name}ffn_down.weight"] @ hidden
    return np.array([rms(row, "output_norm.weight") for row in x]), np.array(every)


def small_bert():
    """Names and shapes of a small encoder."""
    shapes = {
        "embeddings.word_embeddings.weight": (WORDS, SIZE),
        "embeddings.position_embeddings.weight": (PLACES, SIZE),
        "embeddings.token_type_embeddings.weight": (2, SIZE),
        "embeddings.LayerNorm.weight": (SIZE,),
        "embeddings.LayerNorm.bias": (SIZE,),
    }
    parts = {f"attention.self.{part}": (SIZE, SIZE) for part in ("query", "key", "value")}
    parts |= {"attention.output.dense": (SIZE, SIZE), "intermediate.dense": (HIDDEN, SIZE)}
    parts |= {"output.dense": (SIZE, HIDDEN), "attention.output.LayerNorm": (SIZE,), "output.LayerNorm": (SIZE,)}
    for i in range(DEPTH):
        for part, shape in parts.items():
            shapes |= {f"encoder.layer.{i}.{part}.weight": shape, f"encoder.layer.{i}.{part}.bias": shape[:1]}
    return shapes


def small_llama():
    """What is said of a small decoder, and its names and shapes."""
    said = {
        "general.architecture": "llama",
        "llama.block_count": DEPTH,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": GROUPS,
        "llama.attention.layer_norm_rms_epsilon": TINY,
        "llama.rope.freq_base": BASE,
    }
    few = GROUPS * HEAD
    parts = {"attn_q": (SIZE, SIZE), "attn_k": (few, SIZE), "attn_v": (few, SIZE), "attn_output": (SIZE, SIZE)}
    parts |= {"ffn_gate": (HIDDEN, SIZE), "ffn_up": (HIDDEN, SIZE), "ffn_down": (SIZE, HIDDEN)}
    parts |= {"attn_norm": (SIZE,), "ffn_norm": (SIZE,)}
    shapes = {"token_embd.weight": (WORDS, SIZE), "output_norm.weight": (SIZE,)}
    return said, shapes | {f"blk.{i}.{part}.weight": shape for i in range(DEPTH) for part, shape in parts.items()}
