"""From a model that predicts the next word to a translation: greedy and beam search, for batches."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["Start", "Stepped", "Steps", "Translation", "beam", "greedy"]


@runtime_checkable
class Start(Protocol):
    """What a model keeps of its sources: whatever it likes, and the state before the first step."""

    @property
    def state(self) -> Any:
        """A tensor, or a tuple of them, with the batch on the first axis."""


@runtime_checkable
class Stepped(Protocol):
    """What a step gives: the state after it, the logits ``(batch, word)``, the weights ``(batch, source)``."""

    @property
    def state(self) -> Any: ...

    @property
    def logits(self) -> Tensor: ...

    @property
    def weights(self) -> Tensor: ...


@runtime_checkable
class Steps(Protocol):
    """What the searches need of a model. :class:`~attnlib.recurrent.rnnsearch.RNNsearch` and ``RNNencdec`` have it."""

    def encode(self, source: Tensor, source_mask: Tensor, /) -> Start:
        """What the decoder keeps of the sources."""

    def repeated(self, encoded: Any, times: int, /) -> Start:
        """The same with each row so many times, neighbours alike: a copy for each beginning of a beam."""

    def step(self, word: Tensor, state: Any, encoded: Any, /) -> Stepped:
        """One step of the decoder."""


class Translation(NamedTuple):
    r"""The best translations that were found.

    Their words, each translation closed by the end mark unless ``longest`` came first, and filled with end marks behind
    that; a mask, True for a word and for the mark that closes it; :math:`\log p(y \mid x)`, not normalised; and the
    weights :math:`\alpha_{tj}`, zeros after the end.
    """

    words: Int[Tensor, "batch time"]
    mask: Bool[Tensor, "batch time"]
    log_probability: Float[Tensor, "*batch"]
    weights: Float[Tensor, "batch time source"]


def greedy(
    model: Steps,
    source: Int[Tensor, "batch T_x"],
    source_mask: Bool[Tensor, "batch T_x"],
    *,
    begin: int,
    end: int,
    longest: int,
) -> Translation:
    r"""Take the most probable word at each step.

    .. math:: y_t = \arg\max_y p(y \mid y_{<t}, x)

    Args:
        model: what encodes and takes steps; call its ``eval()`` first.
        source: indices of words, ``(batch, T_x)``.
        source_mask: ``(batch, T_x)``, True for a real word.
        begin: index of the mark of beginning.
        end: index of the end mark.
        longest: words at most, the end mark included.

    Returns:
        A :class:`Translation`.

    Raises:
        ValueError: ``longest`` is not positive.

    Source: Bahdanau et al. 2015, section 4.2, with a beam of one [bahdanau2015].

    >>> from attnlib.recurrent.rnnsearch import RNNencdec
    >>> model = RNNencdec(4, 4, embedding=2, hidden=2, maxout=1).eval()
    >>> with torch.no_grad():
    ...     model.output.bias[:] = torch.tensor([0.0, 0.0, 1.0, 9.0])  # so that it always says 3
    >>> source = torch.tensor([[2]])
    >>> greedy(model, source, source > 0, begin=1, end=2, longest=4).words
    tensor([[3, 3, 3, 3]])
    """
    return beam(model, source, source_mask, begin=begin, end=end, longest=longest, width=1)


@torch.no_grad()
def beam(
    model: Steps,
    source: Int[Tensor, "batch T_x"],
    source_mask: Bool[Tensor, "batch T_x"],
    *,
    begin: int,
    end: int,
    longest: int,
    width: int = 12,
    length_power: float = 1.0,
) -> Translation:
    r"""Keep the ``width`` most probable beginnings at each step; give the one that is best for its length.

    .. math:: \hat y = \arg\max_{y \in \text{beam}} \frac{\log p(y \mid x)}{|y|^a}

    where :math:`|y|` counts the end mark and :math:`a` is ``length_power``. A finished translation keeps its place in
    the beam, and the search ends when all are finished.

    Args:
        model: what encodes and takes steps; call its ``eval()`` first.
        source: indices of words, ``(batch, T_x)``.
        source_mask: ``(batch, T_x)``, True for a real word.
        begin: index of the mark of beginning.
        end: index of the end mark.
        longest: words at most, the end mark included.
        width: beginnings that are kept. With 1 the search is :func:`greedy`.
        length_power: :math:`a`; with 0 the most probable translation wins, and that is often too short.

    Returns:
        A :class:`Translation` of the winners.

    Raises:
        ValueError: ``longest`` or ``width`` is not positive, or ``length_power`` is negative.

    Source: Bahdanau et al. 2015, section 4.2, where neither width nor normalisation is said
    [bahdanau2015]; dividing by the length, which their code has as an option, is the simplest of the usual remedies for
    translations that end too early.

    >>> from attnlib.recurrent.rnnsearch import RNNencdec
    >>> model = RNNencdec(4, 4, embedding=2, hidden=2, maxout=1).eval()
    >>> source = torch.tensor([[2, 0], [3, 2]])
    >>> beam(model, source, source > 0, begin=1, end=2, longest=5, width=3).weights.shape[2]
    1
    """
    for name, number in (("longest", longest), ("width", width)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    if length_power < 0:
        raise ValueError(f"length_power must not be negative, got {length_power}")
    batch, encoded = len(source), model.repeated(model.encode(source, source_mask), width)
    state = encoded.state
    word = source.new_full((batch * width,), begin)
    total = torch.full((batch, width), -torch.inf, device=source.device)
    total[:, 0] = 0.0  # at first all beginnings are the same: only one of them counts
    done = torch.zeros_like(total, dtype=torch.bool)
    words: list[Tensor] = []
    weights: list[Tensor] = []
    for _ in range(longest):
        step = model.step(word, state, encoded)
        gain = step.logits.log_softmax(-1).view(batch, width, step.logits.shape[-1])
        gain = gain.masked_fill(done.unsqueeze(-1), -torch.inf)
        gain[..., end] = gain[..., end].masked_fill(done, 0.0)  # a finished one goes on as itself, at no cost
        size = gain.shape[-1]
        total, chosen = (total.unsqueeze(-1) + gain).flatten(1).topk(width)
        parent = (torch.arange(batch, device=source.device)[:, None] * width + chosen // size).flatten()
        word = (chosen % size).flatten()
        alpha = step.weights * ~done.flatten()[:, None]
        words = [*(earlier[parent] for earlier in words), word]
        weights = [earlier[parent] for earlier in [*weights, alpha]]
        state = _picked(step.state, parent)
        done = (done.flatten()[parent] | (word == end)).view(batch, width)
        if done.all():
            break
    written = torch.stack(words, 1).view(batch, width, len(words))
    before = (written == end).cumsum(-1) - (written == end).long()  # end marks that stand before a word
    mask = before == 0
    best = (total / mask.sum(-1) ** length_power).argmax(1)
    row = torch.arange(batch, device=source.device)
    alphas = torch.stack(weights, 1).view(batch, width, len(words), weights[0].shape[1])
    longest_found = int(mask[row, best].sum(-1).max()) if batch else 0
    found = Translation(written[row, best], mask[row, best], total[row, best], alphas[row, best])
    return Translation(
        found.words[:, :longest_found],
        found.mask[:, :longest_found],
        found.log_probability,
        found.weights[:, :longest_found],
    )


def _picked(state: Any, rows: Tensor) -> Any:
    """Rows of a state: of a tensor, or of each tensor of a tuple."""
    if isinstance(state, Tensor):
        return state[rows]
    assert isinstance(state, tuple)
    parts = (_picked(part, rows) for part in state)
    return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)
