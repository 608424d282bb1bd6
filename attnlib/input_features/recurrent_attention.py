"""Location-wise hard attention: a network that looks at one place after another and learns where to look next.

A place is drawn, and a draw has no derivative. So two things are trained by two losses (:func:`hybrid_loss`): what is
done with a glimpse, by the slope of the answer's likelihood; where to look, by REINFORCE, from right and wrong alone.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..softness.baselines import LearnedBaseline, baseline_loss
from ..softness.hard import reinforce_loss
from ._images import as_image, check_whole
from .glimpse import GlimpseNetwork

__all__ = ["Glimpses", "HybridLoss", "RecurrentAttention", "draw_location", "hybrid_loss"]


class Glimpses(NamedTuple):
    """Where a model looked, what it believed after each glimpse, and what it drew.

    A step is *drawn* when its place came from the model's policy: all but the first, or all, where a context gives the
    first too. The model looks at every place that is drawn: after the last glimpse none is.
    """

    log_probability: Float[Tensor, "step batch kind"]
    location: Float[Tensor, "step batch 2"]
    log_density: Float[Tensor, "drawn batch"]
    baseline: Float[Tensor, "drawn batch"]


class HybridLoss(NamedTuple):
    """The loss to minimise, its three parts, and the reward of each image: 1 for a right answer, else 0."""

    total: Float[Tensor, ""]
    answer: Float[Tensor, ""]
    policy: Float[Tensor, ""]
    baseline: Float[Tensor, ""]
    reward: Float[Tensor, " batch"]


def draw_location(
    mean: Float[Tensor, "*batch 2"], spread: float, *, generator: torch.Generator | None = None
) -> tuple[Float[Tensor, "*batch 2"], Float[Tensor, "*batch"]]:
    r"""Draw a place from a Gaussian of fixed spread, the same in both directions.

    .. math::
        l \sim \mathcal N(\mu, \sigma^2 I), \qquad
        \log p(l) = -\frac{\lVert l - \mu \rVert^2}{2 \sigma^2} - \log(2 \pi \sigma^2)

    Args:
        mean: :math:`\mu`, ``(*batch, 2)``.
        spread: :math:`\sigma`, above 0.
        generator: where the random numbers come from.

    Returns:
        The place, a constant to whatever reads it, and its log-density, which has the derivative of the mean. The place
        may lie outside of the image.

    Raises:
        ValueError: ``spread`` is not a number above 0.

    Source: Mnih et al. 2014, sections 3.1 and 4 [mnih2014].

    >>> place, density = draw_location(torch.zeros(2), 1e-6)
    >>> place.abs().max() < 1e-4
    tensor(True)
    """
    _check_spread(spread)
    noise = torch.empty_like(mean).normal_(generator=generator)
    location = (mean + spread * noise).detach()
    return location, _log_density(location, mean, spread)


def _log_density(location: Tensor, mean: Tensor, spread: float) -> Tensor:
    return -(location - mean).square().sum(-1) / (2 * spread**2) - math.log(2 * math.pi * spread**2)


def _check_spread(spread: float) -> None:
    if not 0 < spread < math.inf:
        raise ValueError(f"spread must be a finite number above 0, got {spread}")


class RecurrentAttention(nn.Module):
    r"""The recurrent attention model: a glimpse, a new state, a belief and a next place, again and again.

    .. math::
        \begin{aligned}
        g_t &= f_g(x, l_t) & h_t &= \mathrm{ReLU}(U h_{t-1} + W g_t + b) \\
        p_t &= \mathrm{softmax}(A h_t + a) & l_{t+1} &\sim \mathcal N(M h_t + m, \sigma^2 I)
        \end{aligned}

    The place is a constant to the glimpse that is taken there, and the state is one to the layers of the place and of
    the baseline, so that the slope of the answer trains glimpse, core and action, and REINFORCE the place alone.

    With a ``context`` there is an upper state that begins as what this network makes of the whole image:
    :math:`r_0 = C(x)`, :math:`r_t = \mathrm{ReLU}(U' r_{t-1} + W' h_t + b')`. Places and baselines come from it, the
    first place too; the belief still comes from :math:`h_t`, so that it rests on glimpses alone. The upper layer and
    the context are trained by REINFORCE, as what says where to look.

    Args:
        n_kinds: how many answers there are.
        glimpse: :math:`f_g`, a :class:`~attnlib.input_features.glimpse.GlimpseNetwork`.
        d_state: size of the states; 256 in the paper.
        spread: :math:`\sigma`, of places in coordinates. The paper's is fixed too, and not told.
        context: a network ``image -> (batch, d_state)``, as
            :class:`~attnlib.input_features.glimpse.ContextNetwork`; None: the model of the paper.

    Raises:
        TypeError: a size is not whole.
        ValueError: a size is below 1; ``spread`` is not above 0.

    Source: Mnih et al. 2014, sections 3 and 4 [mnih2014]; the context, Ba et al. 2015, section 3 [ba2015].

    Departs from the source: with a context, rectifiers in place of LSTMs, glimpses add what and where as those of Mnih
    et al. do, and the two losses stay apart.

    >>> model = RecurrentAttention(10, GlimpseNetwork(8, scales=3))
    >>> seen = model(torch.zeros(5, 1, 60, 60), 6)
    >>> seen.log_probability.shape, seen.location.shape, seen.log_density.shape
    (torch.Size([6, 5, 10]), torch.Size([6, 5, 2]), torch.Size([5, 5]))
    """

    def __init__(
        self,
        n_kinds: int,
        glimpse: GlimpseNetwork,
        *,
        d_state: int = 256,
        spread: float = 0.1,
        context: nn.Module | None = None,
    ) -> None:
        super().__init__()
        check_whole("n_kinds", n_kinds)
        check_whole("d_state", d_state)
        _check_spread(spread)
        self.glimpse, self.context, self.d_state, self.spread = glimpse, context, d_state, spread
        self.from_state = nn.Linear(d_state, d_state)
        self.from_glimpse = nn.Linear(glimpse.d_glimpse, d_state, bias=False)
        self.action = nn.Linear(d_state, n_kinds)
        if context is not None:
            self.from_upper = nn.Linear(d_state, d_state)
            self.from_lower = nn.Linear(d_state, d_state, bias=False)
        self.place = nn.Linear(d_state, 2)
        self.baseline = LearnedBaseline(d_state)

    def forward(
        self,
        image: Float[Tensor, "batch channel height width"],
        n_glimpses: int,
        *,
        start: Float[Tensor, "batch 2"] | None = None,
        sample: bool = True,
        generator: torch.Generator | None = None,
    ) -> Glimpses:
        """Look so many times.

        Args:
            image: ``(batch, channel, height, width)``, of any size: it changes neither parameters nor cost.
            n_glimpses: at least 1.
            start: the first place, ``(batch, 2)``. None: anywhere in the image, as likely everywhere; with a context,
                where this says; the centre where nothing is drawn.
            sample: draw the places; False: take the middle of each Gaussian.
            generator: where the random numbers come from.

        Returns:
            :class:`Glimpses`. A pixel that is NaN matters where it is seen.

        Raises:
            TypeError: ``image`` is not floating point, ``n_glimpses`` not whole.
            ValueError: there are no pixels, or no glimpses.
        """
        as_image(image)
        check_whole("n_glimpses", n_glimpses)
        state = image.new_zeros(len(image), self.d_state)
        upper = None if self.context is None else self.context(image)
        beliefs, places, drawn = [], [], []
        for step in range(n_glimpses):
            if step == 0 and (start is not None or upper is None):
                place = self.first_place(image, sample, generator) if start is None else start.detach()
            else:
                place, *rest = self.next_place(state if upper is None else upper, sample, generator)
                drawn.append(rest)
            state = torch.relu(self.from_state(state) + self.from_glimpse(self.glimpse(image, place)))
            if upper is not None:
                upper = torch.relu(self.from_upper(upper) + self.from_lower(state.detach()))
            beliefs.append(self.action(state).log_softmax(-1))
            places.append(place)
        densities, baselines = zip(*drawn, strict=True) if drawn else ((), ())
        none = image.new_zeros(0, len(image))
        return Glimpses(
            torch.stack(beliefs),
            torch.stack(places),
            torch.stack(densities) if drawn else none,
            torch.stack(baselines) if drawn else none,
        )

    def first_place(self, image: Tensor, sample: bool, generator: torch.Generator | None) -> Tensor:
        """Anywhere in the image, as likely everywhere; the centre where nothing is drawn."""
        place = image.new_zeros(len(image), 2)
        return place.uniform_(-1, 1, generator=generator) if sample else place

    def next_place(
        self, state: Tensor, sample: bool, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The next place, its log-density, and the reward that is expected before it is drawn."""
        mean = self.place(state if self.context is not None else state.detach())
        if sample:
            place, density = draw_location(mean, self.spread, generator=generator)
        else:
            place, density = mean.detach(), _log_density(mean.detach(), mean, self.spread)
        return place, density, self.baseline(state)


def hybrid_loss(
    seen: Glimpses, target: Int[Tensor, " batch"], *, policy_weight: float = 1.0, baseline_weight: float = 1.0
) -> HybridLoss:
    r"""What was seen is trained by its likelihood, where to look by REINFORCE, what to expect by its error.

    .. math::
        -\log p_T(y) \; - \; \lambda_p \sum_t (R - b_t) \, \log p(l_t)
        \; + \; \lambda_b \frac{1}{T} \sum_t (R - b_t)^2,
        \qquad R = [\arg\max p_T = y]

    a mean over images. The sums go over the drawn places, each of which was looked at. Within the second term
    :math:`R - b_t` is a constant.

    Args:
        seen: from :class:`RecurrentAttention`.
        target: :math:`y`, ``(batch,)``.
        policy_weight: :math:`\lambda_p`.
        baseline_weight: :math:`\lambda_b`.

    Returns:
        A :class:`HybridLoss`. The *value* of its policy part is minus the reward, once a drawn place: only its
        derivative is meant, that of :func:`~attnlib.softness.hard.reinforce_loss`.

    Raises:
        TypeError: ``target`` is not of whole numbers.
        ValueError: ``target`` does not fit the beliefs.

    Source: Mnih et al. 2014, sections 3.1 and 3.2 [mnih2014]; Williams 1992 [williams1992].

    >>> belief = torch.tensor([[[0.75, 0.25]]]).log()
    >>> seen = Glimpses(belief, torch.zeros(1, 1, 2), torch.zeros(1, 1), torch.tensor([[0.5]]))
    >>> loss = hybrid_loss(seen, torch.tensor([0]))
    >>> loss.answer, loss.baseline, loss.reward  # -log 0.75, (1 - 0.5)^2
    (tensor(0.2877), tensor(0.2500), tensor([1.]))
    """
    final = seen.log_probability[-1]
    if target.dtype != torch.long:
        raise TypeError(f"target must be whole numbers of dtype torch.int64, got dtype {target.dtype}")
    if target.shape != final.shape[:1]:
        raise ValueError(f"target must have shape {tuple(final.shape[:1])}, got shape {tuple(target.shape)}")
    reward = (final.argmax(-1) == target).to(final.dtype)
    answer = F.nll_loss(final, target)
    policy = expected = torch.zeros_like(answer)
    if len(seen.log_density):
        rewards = reward.expand(seen.log_density.shape).unsqueeze(0)
        policy = reinforce_loss(rewards, seen.log_density.unsqueeze(0), baseline=seen.baseline).sum(0).mean()
        expected = baseline_loss(seen.baseline, rewards)
    return HybridLoss(answer + policy_weight * policy + baseline_weight * expected, answer, policy, expected, reward)
