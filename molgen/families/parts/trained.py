"""A trained family inside another one, which uses it and never moves it."""

from __future__ import annotations

from torch import nn

from molgen.batch import Batch, Partial
from molgen.family import Family
from molgen.space import Space


class Trained(nn.Module):
    """Holds a trained family: in evaluation whatever the family around it does, with weights that stay as they are.

    Args:
        family: that of a trained model, see `config.TrainedModel`.
        condition: what the family around it is conditioned on.

    Raises:
        ValueError: the trained family has another idea of a condition that both have.
    """

    def __init__(self, family: Family, condition: Space | None = None) -> None:
        super().__init__()
        for name, field in (condition or {}).items():
            if family.condition_space.get(name, field) != field:
                raise ValueError(f"the condition {name!r} is of another kind in the trained model")
        self.family = family.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Trained:
        """Stay in evaluation."""
        super().train(False)
        return self

    def condition(self, condition: Partial | None) -> Partial | None:
        """What the trained family can be asked for of a condition; it was not asked for the rest."""
        own = self.family.condition_space
        given = {name: mask for name, mask in condition.given.items() if name in own} if condition is not None else {}
        if condition is None or not given:
            return None
        fields = {name: condition.batch.fields[name] for name in given}
        return Partial(Batch(fields, dict(condition.batch.sizes)), given)
