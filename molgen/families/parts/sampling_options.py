"""How the sampling of tokens departs from a model's distribution.

Letters in shapes: A rows, K tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor


@dataclass(frozen=True)
class SamplingOptions:
    """How sampling departs from the model's distribution; the defaults do not depart.

    `temperature` divides the logits; `top_k` keeps the k likeliest tokens and their equals (0: all); `top_p` the
    smallest set of tokens whose probability reaches p (Holtzman et al., arXiv 1904.09751).
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < inf:
            raise ValueError(f"temperature must be above 0, not {self.temperature}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be 0 (all) or more, not {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, not {self.top_p}")

    def probabilities(self, logits: Tensor) -> Tensor:
        """The distribution to draw from, (A, K) in float64."""
        logits = logits.double()
        # The largest becomes 0, so that no temperature is too low.
        p = torch.softmax((logits - logits.amax(-1, keepdim=True)) / self.temperature, -1)
        if 0 < self.top_k < p.shape[-1]:
            p = torch.where(p >= p.topk(self.top_k).values[:, -1:], p, 0.0)
        if self.top_p < 1:
            p = _nucleus(p / p.sum(-1, keepdim=True), self.top_p)
        return p


def _nucleus(p: Tensor, mass: float) -> Tensor:
    ranked, places = p.sort(dim=-1, descending=True, stable=True)
    # A token stays while the tokens before it have not reached the mass yet.
    ranked = torch.where(ranked.cumsum(-1) - ranked < mass, ranked, 0.0)
    return torch.zeros_like(p).scatter(-1, places, ranked)
