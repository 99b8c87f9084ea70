"""When masked elements are unmasked.

Letters in shapes: B batch, E packed elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from molgen.families.parts.elements import ElementNoise

Elements = Mapping[str, Tensor]
#: Unmasking times and the confidence of masked elements, -inf for all others, to unmasking times: (B, E) by field.
Order = Callable[[Elements, Elements], Elements]


def unmasking_times(noise: ElementNoise, masked: Elements) -> dict[str, Tensor]:
    """Times in (0, 1) for the masked elements of each row, (B, E): evenly spaced, in random order."""
    elements = noise.elements
    drawn = {name: torch.where(masked[name], noise.uniform(name, "turn"), 2.0) for name in masked}
    count = elements.join(masked).sum(1, keepdim=True)
    return elements.split((elements.join(drawn).argsort(1).argsort(1) + 0.5) / count.clamp(min=1))


def most_confident_first(times: Elements, confidence: Elements) -> Elements:
    """The times of a row's masked elements, assigned anew: the next one to the most confident (MaskGIT, 2202.04200)."""
    names = list(times)
    own, certain = (torch.cat([part[name] for name in names], dim=1) for part in (times, confidence))
    masked = certain > -torch.inf
    rank = certain.argsort(dim=1, descending=True, stable=True).argsort(1)
    free = own.masked_fill(~masked, -torch.inf).sort(dim=1, descending=True).values
    assigned = torch.where(masked, free.gather(1, rank), own)
    return dict(zip(names, assigned.split([times[name].shape[1] for name in names], dim=1), strict=True))


#: The orders by their names in the options; None leaves times as they were drawn.
ORDERS: dict[str, Order | None] = {"random": None, "confidence": most_confident_first}
