"""A recurrent encoder-decoder without attention that others trained to say English words: the network of g2p-en."""

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attnlib.data import DataError, Package, fetch
from attnlib.data.pronunciations import LETTERS
from attnlib.recurrent.decoding import greedy
from attnlib.recurrent.rnnsearch import Encoded, Step, Teacher

__all__ = ["BEGIN", "END", "PACKAGE", "SOUNDS", "LettersToSounds", "load", "plain", "say", "spelt"]

PACKAGE = Package(
    "g2p-en",
    "2.1.0",
    "g2p_en-2.1.0-py3-none-any.whl",
    "2a7aabf1fc7f270fcc3349881407988c9245173c2413debbe5432f4a4f31319f",
)
FILE = "g2p_en/checkpoint20.npz"
BEGIN, END = 2, 3
_UNKNOWN, _LAST = 1, 2  # a mark that is no letter from a to z; what ends a word's letters
_FIRST_LETTER, _FIRST_SOUND = 3, 4
_VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW"
_CONSONANTS = (
    "B CH D DH F G HH JH K L M N NG P R S SH T TH UW V W Y Z ZH"  # UW: the package lists it without a stress, too
)
_STRESSED = [f"{vowel}{stress}" for vowel in _VOWELS.split() for stress in (0, 1, 2)]
# What stands at each place of the decoder's output; the first four are marks.
SOUNDS = ("<pad>", "<unk>", "<s>", "</s>", *sorted([*_STRESSED, *_CONSONANTS.split()]))
LONGEST = 20  # sounds that the package asks for at most
Arrays = Mapping[str, Tensor]


class LettersToSounds(nn.Module):
    r"""A word is read into one vector, which the decoder starts from and never sees again.

    .. math::
        \begin{aligned}
        h_j &= \mathrm{GRU}(E_x x_j, h_{j-1}), \quad h_0 = 0, \qquad s_0 = h_{T_x} \\
        s_t &= \mathrm{GRU}(E_y y_{t-1}, s_{t-1}), \qquad p(y_t) \propto \exp(W s_t + b)
        \end{aligned}

    The unit is that of ``torch.nn.GRU``, which the package writes out in numpy:

    .. math::
        \begin{aligned}
        r &= \sigma(W_r x + b_r + U_r h + d_r), \quad z = \sigma(W_z x + b_z + U_z h + d_z) \\
        n &= \tanh(W_n x + b_n + r \circ (U_n h + d_n)), \quad h' = (1 - z) \circ n + z \circ h
        \end{aligned}

    It is no :class:`~attnlib.recurrent.rnnsearch.RNNencdec` with other names. There the reset gate comes before the
    matrix, which no change of parameters can undo; the decoder is given the vector at each step; and a sound is said
    from the state before it, through a maxout. What they share is the fixed vector. So this class has the methods of
    :class:`~attnlib.recurrent.rnnsearch.RNNencdec`, which the searches of :mod:`attnlib.recurrent.decoding` ask for,
    and torch's own unit.

    Args:
        arrays: the weights by the names that they have in the package, ``enc_emb``, ``enc_w_ih`` and so on. They are
            copied.

    Raises:
        KeyError: one is missing.
        RuntimeError: their shapes do not fit.

    Source: the package g2p-en 2.1.0 [g2pen]; the unit: Cho et al. 2014, section 2.3 [cho2014].

    >>> from torch import randn
    >>> sizes = {"emb": (5, 2), "w_ih": (9, 2), "w_hh": (9, 3), "b_ih": (9,), "b_hh": (9,)}
    >>> arrays = {f"{side}_{name}": randn(size) for side in ("enc", "dec") for name, size in sizes.items()}
    >>> model = LettersToSounds({**arrays, "fc_w": randn(5, 3), "fc_b": randn(5)})
    >>> word = torch.tensor([[3, 4, 2]])
    >>> model.encode(word, word > 0).annotations.shape
    torch.Size([1, 1, 3])
    """

    def __init__(self, arrays: Arrays) -> None:
        super().__init__()
        self.source_embedding, self.target_embedding = (_embedding(arrays[f"{side}_emb"]) for side in ("enc", "dec"))
        self.reader, self.writer = (_unit(arrays, side) for side in ("enc", "dec"))
        words, hidden = arrays["fc_w"].shape
        self.output = nn.Linear(hidden, words)
        self.output.load_state_dict({"weight": arrays["fc_w"], "bias": arrays["fc_b"]})

    def encode(self, source: Int[Tensor, "batch T_x"], source_mask: Bool[Tensor, "batch T_x"]) -> Encoded:
        """Read words and keep the last state; where the mask is False the state stays as it was.

        Args:
            source: numbers of letters, the end mark behind them, as :func:`spelt` gives them, ``(batch, T_x)``.
            source_mask: ``(batch, T_x)``, True for a real letter and for the end mark.
        """
        embedded = self.source_embedding(source.masked_fill(~source_mask, 0))
        state = embedded.new_zeros(len(source), self.reader.hidden_size)
        for j in range(source.shape[1]):
            state = torch.where(source_mask[:, j, None], self.reader(embedded[:, j], state), state)
        return Encoded(state.unsqueeze(1), None, source_mask.any(-1, keepdim=True), state)

    def repeated(self, encoded: Encoded, times: int) -> Encoded:
        """What was kept of the words with each row so many times, neighbours alike."""
        annotations, _, mask, state = (part if part is None else part.repeat_interleave(times, 0) for part in encoded)
        assert annotations is not None
        assert mask is not None
        assert state is not None
        return Encoded(annotations, None, mask, state)

    def step(self, word: Int[Tensor, "batch"], state: Float[Tensor, "batch n"], encoded: Encoded) -> Step:
        """One step of the decoder, with all weight on the one vector, which only ``s_0`` has seen."""
        after = self.writer(self.target_embedding(word), state)
        ones = encoded.mask.to(state.dtype)
        return Step(after, self.output(after), encoded.annotations.squeeze(1), ones, torch.zeros_like(ones))

    def forward(
        self,
        source: Int[Tensor, "batch T_x"],
        source_mask: Bool[Tensor, "batch T_x"],
        target_in: Int[Tensor, "batch T_y"],
    ) -> Teacher:
        """Predict each sound of given ones from those before it; ``target_in`` begins with ``BEGIN``."""
        encoded = self.encode(source, source_mask)
        state, steps = encoded.state, []
        for t in range(target_in.shape[1]):
            steps.append(self.step(target_in[:, t], state, encoded))
            state = steps[-1].state
        return Teacher(torch.stack([one.logits for one in steps], 1), torch.stack([one.weights for one in steps], 1))


def _embedding(weight: Tensor) -> nn.Embedding:
    embedding = nn.Embedding(*weight.shape)
    embedding.load_state_dict({"weight": weight})
    return embedding


def _unit(arrays: Arrays, side: str) -> nn.GRUCell:
    parts = {"weight_ih": "w_ih", "weight_hh": "w_hh", "bias_ih": "b_ih", "bias_hh": "b_hh"}
    hidden, inputs = arrays[f"{side}_w_hh"].shape[1], arrays[f"{side}_w_ih"].shape[1]
    unit = nn.GRUCell(inputs, hidden)
    unit.load_state_dict({name: arrays[f"{side}_{part}"] for name, part in parts.items()})
    return unit


def spelt(words: Sequence[str]) -> tuple[Int[Tensor, "batch T_x"], Bool[Tensor, "batch T_x"]]:
    """Numbers of the letters of each word with the mark that ends it, and which of them are real.

    >>> spelt(["ab", "é"])[0]
    tensor([[3, 4, 2],
            [1, 2, 0]])
    """
    numbers = {letter: _FIRST_LETTER + i for i, letter in enumerate(LETTERS)}
    rows = [torch.tensor([*(numbers.get(letter, _UNKNOWN) for letter in word), _LAST]) for word in words]
    source = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return source, source > 0


def plain(sounds: Iterable[str]) -> tuple[str, ...]:
    """Sounds without the stress of vowels.

    >>> plain(["HH", "AH0", "L", "OW1"])
    ('HH', 'AH', 'L', 'OW')
    """
    return tuple(sound.rstrip("012") for sound in sounds)


@torch.no_grad()
def say(model: LettersToSounds, words: Sequence[str], *, longest: int = LONGEST) -> list[tuple[str, ...]]:
    """The sounds of each word, by the likeliest sound at each step.

    Args:
        model: as :func:`load` gives it.
        words: any marks; those that are no letters from a to z are all one to the network.
        longest: sounds at most.

    Returns:
        Names of ``SOUNDS``, the vowels with their stress.
    """
    if not words:
        return []
    # The end mark counts in `longest` of the search: one more step never adds a sound that is given back.
    found = greedy(model, *spelt(words), begin=BEGIN, end=END, longest=longest + 1)
    rows = [row[: row.index(END)] if END in row else row for row in found.words.tolist()]
    return [tuple(SOUNDS[number] for number in row[:longest]) for row in rows]


def load(path: Path | str | None = None) -> LettersToSounds:
    """The network as its package has it.

    Args:
        path: the wheel, or another zip that is laid out like it; by default that of ``PACKAGE``, fetched once.

    Raises:
        DataError: the package could not be fetched, or is not laid out as expected.
    """
    path = fetch(PACKAGE) if path is None else Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            stored = np.load(io.BytesIO(archive.read(FILE)), allow_pickle=False)
            model = LettersToSounds({name: torch.from_numpy(stored[name]) for name in stored.files})
    except (KeyError, ValueError, RuntimeError, TypeError, EOFError, zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path}: expected the network of g2p-en in {FILE}, got: {error!r}") from error
    return model.eval().requires_grad_(False)
