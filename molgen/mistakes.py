"""Learning from own draws that are no items: their probability is made part of the loss.

The data say what is likely; that a string means nothing a family has to conclude from never seeing it, which takes
many items. A domain knows it of any draw. The loss gets the term weight * P(a draw is no item), whose slope is
weight * E[(1_invalid - b) slope of log p(x)] over draws x of the family itself (Williams, Mach. Learn. 8, 1992), with
b the share of invalid ones among the other draws of the step (Kool et al., ICLR 2019 workshop, 1d0k2).

Letters in shapes: B batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from molgen.batch import Partial, separate
from molgen.domain import Domain, Encoder
from molgen.errors import UsageError
from molgen.family import Density, Family
from molgen.judging import Judge
from molgen.seeding import Rng
from molgen.sharding import Weighted
from molgen.standard import restore
from molgen.statistics import Statistics


class Mistakes:
    """Draws from a family in training, judged by the domain, as rows whose weighted loss has the slope of that term.

    Args:
        family: has an exact density and a loss that is its negative logarithm.
        encoder: decodes the draws.
        domain: judges what they decode to.
        statistics: of the training data.
        weight: of the probability of a draw that is no item, in nats.

    Raises:
        UsageError: the density of the family is not exact.
    """

    def __init__(self, family: Family, encoder: Encoder, domain: Domain, statistics: Statistics, weight: float) -> None:
        if family.capability.density is not Density.EXACT or family.capability.coupled:
            raise UsageError(
                "training.mistakes must be 0: only a family with an exact density can learn from its draws"
            )
        self._family, self._encoder, self._statistics, self._weight = family, encoder, statistics, weight
        self._judge = Judge(domain, processes=1)
        #: the share of the last draws that are no items.
        self.share = 0.0

    def draw(self, count: int, condition: Partial | None, rng: Rng) -> Weighted:
        """So many draws, at least 2, with the weights of their losses.

        Args:
            count: the number of rows B.
            condition: what they are drawn under, of B rows.
            rng: of B rows.
        """
        self._family.eval()
        batch = self._family.sample(count, condition=condition, rng=rng).batch
        samples = separate(self._encoder.space, restore(self._encoder.space, self._statistics, batch))
        verdicts = self._judge.submit([self._encoder.decode(sample) for sample in samples]).result()
        invalid = torch.tensor([float(verdict.item is None) for verdict in verdicts])
        self.share = float(invalid.mean())
        return Weighted(batch, condition, rng, self._weight * weights_of(invalid).to(self._family.device))

    def close(self) -> None:
        """End the worker."""
        self._judge.close()


def weights_of(invalid: Tensor) -> Tensor:
    """The weights of the losses -log p of draws, (B,): their slope is on average that of P(invalid).

    Args:
        invalid: 1 where a draw is no item, else 0, (B,) with B > 1.
    """
    others = (invalid.sum() - invalid) / (len(invalid) - 1)
    return (others - invalid) / len(invalid)
