"""A network that starts from what a trained one has learned, as residual energies of text do (Deng et al. 2020).

A network that names the likeliest next element, or removes noise, knows already what samples look like; one from random
weights has to learn that first from how data and draws differ, which is little where the trained model is good.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from molgen.backbone import Backbone

#: The least share of a network's weights that must have a counterpart.
LEAST = 0.5


def counterpart(network: Backbone, trained: nn.Module) -> Mapping[str, Tensor]:
    """The weights of the network in a trained model that is most like another: those of the same names and shapes.

    Raises:
        ValueError: no network in it has so much as half of the weights.
    """
    own = network.state_dict()
    found = [_agreeing(own, other.state_dict()) for other in trained.modules() if isinstance(other, Backbone)]
    best = max(found, key=_count, default={})
    if _count(best) < LEAST * _count(own):
        raise ValueError(
            f"family.warm_start finds {_count(best) / max(1, _count(own)):.0%} of the network in the base; "
            "give the backbone of the base and its settings, or leave it out"
        )
    return best


@torch.no_grad()
def start_from(network: Backbone, weights: Mapping[str, Tensor]) -> None:
    """Take over weights; all others stay as they are."""
    own = network.state_dict()
    for name, values in weights.items():
        own[name].copy_(values)


def _agreeing(own: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: values for name, values in other.items() if name in own and own[name].shape == values.shape}


def _count(weights: Mapping[str, Tensor]) -> int:
    return sum(values.numel() for values in weights.values())
