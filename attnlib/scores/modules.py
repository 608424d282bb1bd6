"""Scores with parameters as modules: thin, each holds the parameters and calls its function in :mod:`attnlib.scores`.

Matrices start Glorot-uniform, biases at zero, the vectors of the additive family uniform within one over the root of
their size. An instance is itself a score: ``attend(query, key, value, score=General(d_q, d_k))``.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from . import functions

__all__ = [
    "ActivatedGeneral",
    "Additive",
    "BiasedGeneral",
    "Concat",
    "Deep",
    "FeatureBased",
    "General",
    "LocationBased",
]

Query = Float[Tensor, "*#batch query d_q"]
Key = Float[Tensor, "*#batch key d_k"]
Energies = Float[Tensor, "*batch query key"]
Activation = Callable[[Tensor], Tensor]


class General(nn.Module):
    """:func:`attnlib.scores.general` with its matrix ``weight`` of shape ``(d_q, d_k)``."""

    def __init__(
        self, d_q: int, d_k: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ):
        super().__init__()
        self.weight = _matrix(d_q, d_k, device, dtype)

    def forward(self, query: Query, key: Key) -> Energies:
        """Energies of shape ``(*batch, query, key)``."""
        return functions.general(query, key, weight=self.weight)


class BiasedGeneral(nn.Module):
    """:func:`attnlib.scores.biased_general` with ``weight`` ``(d_k, d_q)`` and ``bias`` ``(d_k,)``."""

    def __init__(
        self, d_q: int, d_k: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ):
        super().__init__()
        self.weight = _matrix(d_k, d_q, device, dtype)
        self.bias = _zeros((d_k,), device, dtype)

    def forward(self, query: Query, key: Key) -> Energies:
        """Energies of shape ``(*batch, query, key)``."""
        return functions.biased_general(query, key, weight=self.weight, bias=self.bias)


class ActivatedGeneral(nn.Module):
    """:func:`attnlib.scores.activated_general` with ``weight`` ``(d_q, d_k)`` and a scalar ``bias``."""

    def __init__(
        self,
        d_q: int,
        d_k: int,
        *,
        activation: Activation = torch.tanh,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.activation = activation
        self.weight = _matrix(d_q, d_k, device, dtype)
        self.bias = _zeros((), device, dtype)

    def forward(self, query: Query, key: Key) -> Energies:
        """Energies of shape ``(*batch, query, key)``."""
        return functions.activated_general(query, key, weight=self.weight, bias=self.bias, activation=self.activation)


class Concat(nn.Module):
    """:func:`attnlib.scores.concat` with ``weight`` ``(d_w, d_q + d_k)``, ``vector`` and ``bias`` ``(d_w,)``."""

    def __init__(
        self,
        d_q: int,
        d_k: int,
        d_w: int,
        *,
        bias: bool = True,
        activation: Activation = torch.tanh,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.activation = activation
        self.vector = _vector(d_w, device, dtype)
        self.weight = _matrix(d_w, d_q + d_k, device, dtype)
        self.bias = _zeros((d_w,), device, dtype) if bias else None

    def forward(self, query: Query, key: Key) -> Energies:
        """Energies of shape ``(*batch, query, key)``."""
        return functions.concat(
            query, key, vector=self.vector, weight=self.weight, bias=self.bias, activation=self.activation
        )


class Additive(nn.Module):
    """:func:`attnlib.scores.additive` with ``query_weight`` ``(d_w, d_q)``, ``key_weight`` ``(d_w, d_k)`` and so on."""

    def __init__(
        self,
        d_q: int,
        d_k: int,
        d_w: int,
        *,
        bias: bool = True,
        activation: Activation = torch.tanh,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.activation = activation
        self.vector = _vector(d_w, device, dtype)
        self.query_weight = _matrix(d_w, d_q, device, dtype)
        self.key_weight = _matrix(d_w, d_k, device, dtype)
        self.bias = _zeros((d_w,), device, dtype) if bias else None

    def forward(self, query: Query, key: Key) -> Energies:
        """Energies of shape ``(*batch, query, key)``."""
        weights = {"query_weight": self.query_weight, "key_weight": self.key_weight}
        return functions.additive(query, key, vector=self.vector, **weights, bias=self.bias, activation=self.activation)


class Deep(nn.Module):
    """:func:`attnlib.scores.deep` with hidden layers of sizes ``d_hidden`` (one size: additive plus a bias)."""

    def __init__(
        self,
        d_q: int,
        d_k: int,
        d_hidden: Sequence[int],
        *,
        activation: Activation = torch.tanh,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.activation = activation
        self.query_weight = _matrix(d_hidden[0], d_q, device, dtype)
        self.key_weight = _matrix(d_hidden[0], d_k, device, dtype)
        self.bias = _zeros((d_hidden[0],), device, dtype)
        sizes = list(zip(d_hidden[1:], d_hidden[:-1], strict=True))
        self.layer_weights = nn.ParameterList(_matrix(d_out, d_in, device, dtype) for d_out, d_in in sizes)
        self.layer_biases = nn.ParameterList(_zeros((d_out,), device, dtype) for d_out, _ in sizes)
        self.vector = _vector(d_hidden[-1], device, dtype)
        self.vector_bias = _zeros((), device, dtype)

    def forward(self, query: Query, key: Key) -> Energies:
        """Energies of shape ``(*batch, query, key)``."""
        return functions.deep(
            query,
            key,
            query_weight=self.query_weight,
            key_weight=self.key_weight,
            bias=self.bias,
            layers=list(zip(self.layer_weights, self.layer_biases, strict=True)),
            vector=self.vector,
            vector_bias=self.vector_bias,
            activation=self.activation,
        )


class LocationBased(nn.Module):
    """:func:`attnlib.scores.location_based` with ``weight`` ``(n_max, d_q)``: a row for each of ``n_max`` positions."""

    def __init__(
        self, d_q: int, n_max: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ):
        super().__init__()
        self.weight = _matrix(n_max, d_q, device, dtype)

    def forward(self, query: Query, key: Key) -> Energies:
        """Energies of shape ``(*batch, query, key)``."""
        return functions.location_based(query, key, weight=self.weight)


class FeatureBased(nn.Module):
    """:func:`attnlib.scores.feature_based`; ``first_map`` gives features of size ``d_1``, ``second_map`` of ``d_2``."""

    def __init__(
        self,
        d_1: int,
        d_2: int,
        d_w: int,
        *,
        first_map: Activation,
        second_map: Activation,
        activation: Activation = torch.tanh,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.first_map, self.second_map, self.activation = first_map, second_map, activation
        self.vector = _vector(d_w, device, dtype)
        self.first_weight = _matrix(d_w, d_1, device, dtype)
        self.second_weight = _matrix(d_w, d_2, device, dtype)
        self.bias = _zeros((d_w,), device, dtype)

    def forward(self, query: Query, key: Key) -> Energies:
        """Energies of shape ``(*batch, query, key)``."""
        return functions.feature_based(
            query,
            key,
            vector=self.vector,
            first_weight=self.first_weight,
            second_weight=self.second_weight,
            first_map=self.first_map,
            second_map=self.second_map,
            bias=self.bias,
            activation=self.activation,
        )


def _matrix(rows: int, columns: int, device: torch.device | str | None, dtype: torch.dtype | None) -> nn.Parameter:
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, columns, device=device, dtype=dtype)))


def _vector(size: int, device: torch.device | str | None, dtype: torch.dtype | None) -> nn.Parameter:
    bound = size**-0.5
    return nn.Parameter(nn.init.uniform_(torch.empty(size, device=device, dtype=dtype), -bound, bound))


def _zeros(shape: tuple[int, ...], device: torch.device | str | None, dtype: torch.dtype | None) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape, device=device, dtype=dtype))
