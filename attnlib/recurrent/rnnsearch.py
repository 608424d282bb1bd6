"""RNNsearch, which learns to align and translate jointly, and RNNencdec, which puts a sentence into one vector.

Both as appendix A of Bahdanau et al. 2015 gives them: gated units that reset the state before the matrix, the alignment
model, deep output with maxout. :mod:`attnlib.recurrent.decoding` turns their step into translations.
"""

import math
from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from .._rows import times
from ..attention import attend
from .gated_unit import GatedUnit, both_ways

__all__ = ["Encoded", "RNNencdec", "RNNsearch", "Step", "Teacher", "maxout"]


class Encoded(NamedTuple):
    r"""What a decoder keeps of a source sentence.

    The annotations :math:`h_j` (RNNencdec has a single one, of size n); :math:`U_a h_j`, which no step changes, or None
    where nothing is aligned; the mask, True for a real word; and :math:`s_0`.
    """

    annotations: Float[Tensor, "batch source d"]
    projected: Float[Tensor, "batch source d_a"] | None
    mask: Bool[Tensor, "batch source"]
    state: Float[Tensor, "batch n"]


class Step(NamedTuple):
    r"""One step of a decoder, and how it came about.

    The new state :math:`s_t`; the logits of :math:`y_t`; the context :math:`c_t`; the weights :math:`\alpha_{tj}`, all
    on the one vector of RNNencdec; and the energies :math:`e_{tj}`, -inf where the mask is False.
    """

    state: Float[Tensor, "batch n"]
    logits: Float[Tensor, "batch word"]
    context: Float[Tensor, "batch d"]
    weights: Float[Tensor, "batch source"]
    energies: Float[Tensor, "batch source"]


class Teacher(NamedTuple):
    """All steps with the reference as input: ``logits (batch, T_y, K_y)`` and ``weights (batch, T_y, T_x)``."""

    logits: Float[Tensor, "batch target word"]
    weights: Float[Tensor, "batch target source"]


def maxout(values: Float[Tensor, "*batch two_l"]) -> Float[Tensor, "*batch l"]:
    r"""The larger one of each two neighbours.

    .. math:: t_j = \max\{\tilde t_{2j-1}, \tilde t_{2j}\}

    Args:
        values: :math:`\tilde t`, ``(*batch, 2l)``.

    Returns:
        ``(*batch, l)``.

    Raises:
        ValueError: the last axis is odd.

    Source: Bahdanau et al. 2015, A.2.2 [bahdanau2015].

    >>> maxout(torch.tensor([1.0, 2.0, 4.0, 3.0]))
    tensor([2., 4.])
    """
    if values.shape[-1] % 2:
        raise ValueError(f"values must have an even number of entries to pair, got {values.shape[-1]}")
    return values.reshape(*values.shape[:-1], values.shape[-1] // 2, 2).amax(-1)


class _Translator(nn.Module):
    """What RNNsearch and RNNencdec share: the embeddings, the decoder's unit and the deep output.

    A subclass says what it keeps of a sentence (``encode``) and what context a state finds in it (``_look``).
    """

    @abstractmethod
    def encode(self, source: Tensor, source_mask: Tensor) -> Encoded:
        """What the decoder keeps of a sentence."""

    @abstractmethod
    def _look(self, state: Tensor, encoded: Encoded) -> tuple[Tensor, Tensor, Tensor]:
        """Context, weights and energies."""

    def __init__(
        self,
        source_size: int,
        target_size: int,
        *,
        context: int,
        embedding: int,
        hidden: int,
        maxout: int,
        dropout: float,
    ) -> None:
        super().__init__()
        sizes = {
            "source_size": source_size,
            "target_size": target_size,
            "embedding": embedding,
            "hidden": hidden,
            "maxout": maxout,
        }
        for name, size in sizes.items():
            if not isinstance(size, int) or size < 1:
                raise ValueError(f"{name} must be a positive integer, got {size!r}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and less than 1, got {dropout!r}")
        self.dropout = dropout
        self.source_embedding = nn.Embedding(source_size, embedding)
        self.target_embedding = nn.Embedding(target_size, embedding)
        self.start = nn.Linear(hidden, hidden)
        self.unit = GatedUnit(embedding, hidden, context=context)
        self.output_state = nn.Linear(hidden, 2 * maxout)
        self.output_word = nn.Linear(embedding, 2 * maxout, bias=False)
        self.output_context = nn.Linear(context, 2 * maxout, bias=False)
        self.output = nn.Linear(maxout, target_size)

    def reset_parameters(self) -> None:
        """As the paper begins: recurrent matrices orthogonal, biases 0, everything else from N(0, 0.01^2)."""
        for name, parameter in self.named_parameters():
            if name.endswith("recurrent"):
                for matrix in torch.split(parameter, parameter.shape[1]):
                    nn.init.orthogonal_(matrix)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, std=0.01)

    def repeated(self, encoded: Encoded, times: int) -> Encoded:
        """What was kept of the sentences with each row so many times, neighbours alike: what a beam asks for."""
        parts: Any = (part if part is None else part.repeat_interleave(times, 0) for part in encoded)
        return Encoded(*parts)

    def step(self, word: Int[Tensor, "batch"], state: Float[Tensor, "batch n"], encoded: Encoded) -> Step:
        """Take one step of the decoder.

        Args:
            word: :math:`y_{t-1}`, the word before, ``(batch,)``.
            state: :math:`s_{t-1}`, ``(batch, n)``.
            encoded: what :meth:`encode` gave.
        """
        embedded = self._dropped(self.target_embedding(word))
        context, weights, energies = self._look(state, encoded)
        after = self.unit(self.unit.read(embedded), state, self.unit.read_context(context))
        return Step(after, self._logits(state, embedded, context), context, weights, energies)

    def forward(
        self,
        source: Int[Tensor, "batch T_x"],
        source_mask: Bool[Tensor, "batch T_x"],
        target_in: Int[Tensor, "batch T_y"],
    ) -> Teacher:
        """Predict each word of a given translation from those before it.

        Args:
            source: indices of words, ``(batch, T_x)``.
            source_mask: ``(batch, T_x)``, True for a real word; words behind it change nothing.
            target_in: the translation, shifted by one to begin with the mark of beginning, ``(batch, T_y)``.

        Raises:
            ValueError: shapes do not fit, or ``T_y`` is 0.
        """
        if target_in.ndim != 2 or target_in.shape[0] != source.shape[0] or not target_in.shape[1]:
            raise ValueError(
                f"target_in must have shape (batch={source.shape[0]}, T_y > 0), got {tuple(target_in.shape)}"
            )
        encoded = self.encode(source, source_mask)
        embedded = self._dropped(self.target_embedding(target_in))
        state, read = encoded.state, self.unit.read(embedded)
        states, contexts, weights = [], [], []
        for t in range(target_in.shape[1]):
            context, alpha, _ = self._look(state, encoded)
            states.append(state)
            contexts.append(context)
            weights.append(alpha)
            state = self.unit(read[:, t], state, self.unit.read_context(context))
        logits = self._logits(torch.stack(states, 1), embedded, torch.stack(contexts, 1))
        return Teacher(logits, torch.stack(weights, 1))

    def _logits(self, state: Tensor, embedded: Tensor, context: Tensor) -> Tensor:
        """W_o maxout(U_o s_{t-1} + V_o E y_{t-1} + C_o c_t), for one step or for all at once."""
        before = self.output_state(state) + self.output_word(embedded) + self.output_context(context)
        logits: Tensor = self.output(self._dropped(maxout(before)))
        return logits

    def _dropped(self, values: Tensor) -> Tensor:
        return F.dropout(values, self.dropout, self.training)

    def _embedded_source(self, source: Tensor, mask: Tensor) -> Tensor:
        if source.ndim != 2 or source.shape != mask.shape:
            raise ValueError(
                "source and source_mask must both have shape (batch, T_x), "
                f"got {tuple(source.shape)} and {tuple(mask.shape)}"
            )
        if mask.dtype != torch.bool:
            raise TypeError(f"source_mask must be boolean (True = a real word), got dtype {mask.dtype}")
        if not source.shape[1]:
            raise ValueError("source has no words (T_x = 0); give an empty sentence its end mark")
        # A word behind the mask may be any number, one outside the vocabulary too.
        return self._dropped(self.source_embedding(source.masked_fill(~mask, 0)))


class RNNsearch(_Translator):
    r"""Encoder, alignment model and decoder, trained as one.

    .. math::
        \begin{aligned}
        h_j &= [\overrightarrow h_j; \overleftarrow h_j], \quad s_0 = \tanh(W_s \overleftarrow h_1) \\
        e_{tj} &= v_a^\top \tanh(W_a s_{t-1} + U_a h_j), \quad \alpha_t = \mathrm{softmax}(e_t), \quad
        c_t = \sum_j \alpha_{tj} h_j \\
        s_t &= \mathrm{unit}(y_{t-1}, s_{t-1}, c_t), \quad
        p(y_t) \propto \exp\bigl(W_o\, \mathrm{maxout}(U_o s_{t-1} + V_o E y_{t-1} + C_o c_t)\bigr)
        \end{aligned}

    Args:
        source_size: :math:`K_x`, words of the source vocabulary.
        target_size: :math:`K_y`, words of the target vocabulary.
        embedding: :math:`m`, size of a word's vector.
        hidden: :math:`n`, size of a state; an annotation has twice as many.
        alignment: :math:`n'`, size of the alignment model's hidden layer.
        maxout: :math:`l`, size of the last layer before the words.
        dropout: share of embeddings and of last-layer values dropped in training.

    Raises:
        ValueError: a size is not a positive integer, or ``dropout`` is not in [0, 1).

    Source: Bahdanau et al. 2015, section 3 and appendix A; sizes and start from B.1 [bahdanau2015].

    Departs from the source: biases, which the paper leaves out of its equations, stand in the units, in :math:`s_0` and
    in the two last layers; dropout is ours, and off unless asked for.

    >>> model = RNNsearch(7, 5, embedding=2, hidden=3, alignment=4, maxout=2)
    >>> source = torch.tensor([[4, 6, 2]])
    >>> given = model(source, torch.ones(1, 3, dtype=torch.bool), torch.tensor([[1, 3]]))
    >>> given.logits.shape, given.weights
    (torch.Size([1, 2, 5]), tensor([[[0.3333, 0.3333, 0.3333],
             [0.3333, 0.3333, 0.3333]]], grad_fn=<StackBackward0>))
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        *,
        embedding: int = 620,
        hidden: int = 1000,
        alignment: int = 1000,
        maxout: int = 500,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(
            source_size,
            target_size,
            context=2 * hidden,
            embedding=embedding,
            hidden=hidden,
            maxout=maxout,
            dropout=dropout,
        )
        if not isinstance(alignment, int) or alignment < 1:
            raise ValueError(f"alignment must be a positive integer, got {alignment!r}")
        self.forwards = GatedUnit(embedding, hidden)
        self.backwards = GatedUnit(embedding, hidden)
        self.align_state = nn.Linear(hidden, alignment, bias=False)
        self.align_annotation = nn.Linear(2 * hidden, alignment, bias=False)
        self.align_vector = nn.Parameter(torch.empty(alignment))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As the paper begins; with :math:`v_a = 0` the first weights are uniform."""
        super().reset_parameters()
        nn.init.normal_(self.align_state.weight, std=0.001)
        nn.init.normal_(self.align_annotation.weight, std=0.001)
        nn.init.zeros_(self.align_vector)

    def encode(self, source: Int[Tensor, "batch T_x"], source_mask: Bool[Tensor, "batch T_x"]) -> Encoded:
        """Read a sentence both ways; :math:`U_a h_j` is computed here, once.

        Args:
            source: indices of words, ``(batch, T_x)``.
            source_mask: ``(batch, T_x)``, True for a real word.

        Raises:
            ValueError: shapes do not fit, or there is no word.
            TypeError: the mask is not boolean.
        """
        forth, back = both_ways(self.forwards, self.backwards, self._embedded_source(source, source_mask), source_mask)
        annotations = torch.cat([forth, back], -1)
        return Encoded(annotations, self.align_annotation(annotations), source_mask, torch.tanh(self.start(back[:, 0])))

    def _look(self, state: Tensor, encoded: Encoded) -> tuple[Tensor, Tensor, Tensor]:
        """Context, weights and energies: :func:`attnlib.attend` with the additive score, its key half done before."""

        def score(query: Tensor, key: Tensor) -> Tensor:
            return times(torch.tanh(self.align_state(query).unsqueeze(-2) + key.unsqueeze(-3)), self.align_vector)

        annotations, projected, mask, _ = encoded
        assert projected is not None
        found = attend(state.unsqueeze(1), projected, annotations, score=score, mask=mask.unsqueeze(1))
        assert found.weights is not None
        assert found.energies is not None
        return found.context.squeeze(1), found.weights.squeeze(1), found.energies.squeeze(1)


class RNNencdec(_Translator):
    r"""The same decoder with one context for all steps: the last state of an encoder that reads forwards.

    .. math:: c_t = c = \overrightarrow h_{T_x}, \qquad s_0 = \tanh(W_s c)

    Args:
        source_size: :math:`K_x`, words of the source vocabulary.
        target_size: :math:`K_y`, words of the target vocabulary.
        embedding: :math:`m`, size of a word's vector.
        hidden: :math:`n`, size of a state, and of the one vector that a sentence has to fit in.
        maxout: :math:`l`, size of the last layer before the words.
        dropout: share of embeddings and of last-layer values dropped in training.

    Raises:
        ValueError: a size is not a positive integer, or ``dropout`` is not in [0, 1).

    Source: Cho et al. 2014, section 2 [cho2014]; Bahdanau et al. 2015, section 2.1 and A.2.2 [bahdanau2015].

    Departs from the source: as :class:`RNNsearch`.

    >>> model = RNNencdec(7, 5, embedding=2, hidden=3, maxout=2)
    >>> model.encode(torch.tensor([[4, 6, 2]]), torch.ones(1, 3, dtype=torch.bool)).annotations.shape
    torch.Size([1, 1, 3])
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        *,
        embedding: int = 620,
        hidden: int = 1000,
        maxout: int = 500,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(
            source_size,
            target_size,
            context=hidden,
            embedding=embedding,
            hidden=hidden,
            maxout=maxout,
            dropout=dropout,
        )
        self.forwards = GatedUnit(embedding, hidden)
        self.reset_parameters()

    def encode(self, source: Int[Tensor, "batch T_x"], source_mask: Bool[Tensor, "batch T_x"]) -> Encoded:
        """Read a sentence forwards and keep the last state.

        Args:
            source: indices of words, ``(batch, T_x)``.
            source_mask: ``(batch, T_x)``, True for a real word.

        Raises:
            ValueError: shapes do not fit, or there is no word.
            TypeError: the mask is not boolean.
        """
        states = self.forwards.run(self._embedded_source(source, source_mask), source_mask)
        last = states[:, -1]
        return Encoded(last.unsqueeze(1), None, source_mask.any(-1, keepdim=True), torch.tanh(self.start(last)))

    def _look(self, state: Tensor, encoded: Encoded) -> tuple[Tensor, Tensor, Tensor]:
        """The one context, whatever the state asks for."""
        weights = encoded.mask.to(state.dtype)
        energies = torch.zeros_like(weights).masked_fill(~encoded.mask, -math.inf)
        return encoded.annotations.squeeze(1) * weights, weights, energies
