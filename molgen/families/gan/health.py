"""How generated samples compare with real ones, from distances between packed elements; no network is needed.

The squared distance of two samples is the number of elements of other classes, and the sum of the squared differences
of numbers.

Letters in shapes: B batch, N samples, D numbers of a sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from molgen.families.gan.generator import Elements
from molgen.families.parts.elements import PackedElements, beside
from molgen.family import Diagnostics
from molgen.space import Categorical

#: The neighbour whose distance is the radius around a generated sample.
NEIGHBOUR = 3
#: Samples nearer than this share of their mean distance in the data are the same.
SAME = 1e-4
#: Fewer distinct samples, in parts of those of as many data, or a smaller spread, are a collapse.
LEAST_DISTINCT, LEAST_SPREAD = 0.5, 0.25


def points(elements: PackedElements, values: Elements) -> Tensor:
    """Samples as points, (B, D), between which distances are those of this module."""
    parts = []
    for name, own in values.items():
        kept = torch.where(beside(elements.exists[name], own), own, 0.0).flatten(1).float()
        # Two one-hot vectors of different classes are the root of 2 apart.
        parts.append(kept * 0.5**0.5 if isinstance(elements.space[name], Categorical) else kept)
    return torch.cat(parts, dim=1)


def energy_score(real: Tensor, drawn: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """E|y - x| and E|y - y'| / 2 of each real sample x, (B,) each, over some generated ones y, (B, D) each.

    Their difference is the energy score (Gneiting & Raftery, JASA 102, 2007), which is in expectation
    the least where y is distributed like x: above that it is half the energy distance of the two.
    """
    far = torch.stack([(own - real).norm(dim=1) for own in drawn]).mean(0)
    pairs = [(a - b).norm(dim=1) for k, a in enumerate(drawn) for b in drawn[:k]]
    return far, torch.stack(pairs).mean(0) / 2


@dataclass(frozen=True)
class Health:
    """What tells of a collapse.

    Attributes:
        duplicates: the share of generated samples that equal an earlier one.
        duplicates_real: the same of the data.
        spread: the mean distance of generated samples, in parts of that of the data.
        recall: the share of the data that lie nearer to some generated sample than its third neighbour among these
            (Kynkäänniemi et al., arXiv 1904.06991, with the distances of this module).
    """

    duplicates: float
    duplicates_real: float
    spread: float
    recall: float

    @classmethod
    def of(cls, real: Tensor, fake: Tensor) -> Health:
        """From as many real as generated samples, (N, D) each, N at least 2."""
        own, theirs = _distances(fake, fake), _distances(real, real)
        scale = float(_others(theirs).mean())
        radius = _others(own).sort(dim=1).values[:, min(NEIGHBOUR, len(own) - 1) - 1]
        return cls(
            _duplicates(own, scale),
            _duplicates(theirs, scale),
            float(_others(own).mean()) / max(scale, torch.finfo(own.dtype).tiny),
            float((_distances(real, fake) <= radius).any(1).float().mean()),
        )

    @property
    def collapsed(self) -> bool:
        """Whether samples are much more alike than the data."""
        few = 1 - self.duplicates < LEAST_DISTINCT * (1 - self.duplicates_real)
        return few or self.spread < LEAST_SPREAD

    def diagnostics(self) -> Diagnostics:
        """The numbers, and what to say."""
        # In tenths, so that it is said again when things have changed, and not at each check.
        text = (
            f"the generator collapses: a share of {self.duplicates:.1f} of its samples are duplicates (of the data "
            f"{self.duplicates_real:.1f}), they are {self.spread:.1f} times as far apart as the data, and a share of "
            f"{self.recall:.1f} of the data is near one; a larger family.penalty or a smaller learning rate may help"
        )
        return Diagnostics(asdict(self), (text,) if self.collapsed else ())


def _distances(first: Tensor, second: Tensor) -> Tensor:
    # The faster way by a product of matrices leaves rounding where samples are equal.
    return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")


def _others(distances: Tensor) -> Tensor:
    """Distances to other samples, (N, N - 1): without the diagonal."""
    rows = len(distances)
    return distances.flatten()[1:].view(rows - 1, rows + 1)[:, :-1].reshape(rows, rows - 1)


def _duplicates(distances: Tensor, scale: float) -> float:
    return float((distances <= SAME * scale).tril(-1).any(1).float().mean())
