"""A family over the samples of a case, made small and moved away from its first weights, for each check anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cached_property, partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from molgen import registry
from molgen.backbone import (
    Backbone,
    Build,
    CausalBackbone,
    Head,
    default_backbone,
    make_build,
)
from molgen.batch import Batch, collate
from molgen.config import make_settings
from molgen.family import Family, LogDensity, phases_of
from molgen.seeding import Rng
from molgen.space import Field, Real, Space
from molgen.testing.batches import CONDITION, in_float64, shake
from molgen.testing.checks import Skipped, require
from molgen.testing.random_samples import draw_samples
from molgen.testing.spaces import Case


@dataclass(frozen=True)
class FamilyTrial:
    """One family over one case.

    Attributes:
        cls: the family.
        config: its settings.
        case: the space and some samples.
        backbone: its networks; by default those that serve the layout.
    """

    cls: type[Family]
    config: Any
    case: Case
    backbone: type[Backbone] | None = None

    @property
    def space(self) -> Space:
        """Of the samples."""
        return self.case.space

    @property
    def batch(self) -> Batch:
        """The samples, as a family is given them."""
        return self.case.batch

    @property
    def rng(self) -> Rng:
        """Random numbers for the rows of the batch."""
        return Rng(0, range(len(self.batch)))

    def family(self, condition: Space | None = None, seed: int = 0, state: Mapping[str, Any] | None = None) -> Family:
        """The family in evaluation, with weights away from their start: initialised from the data, or from its state.

        Raises:
            Skipped: it, or its network, does not take the space.
        """
        parts = (self.space, self._build(condition), self.config, condition)
        trained = {name: self._trained(name, choices, condition) for name, choices in trained_choices(self.cls).items()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                make: Any = self.cls if state is None else partial(self.cls.from_state, state)
                family: Family = make(*parts, **trained)
            except ValueError as error:
                raise Skipped(str(error)) from error
            if state is None:
                family.initialise(self.batch, self.case.statistics)
        family.set_statistics(self.case.statistics)
        shake(family, seed)
        return family.eval()

    def _trained(self, name: str, choices: Sequence[str], condition: Space | None) -> Family:
        """A small family for a setting that names a trained model: the first of the choices that takes the space."""
        reasons = []
        for choice in choices:
            cls = registry.get("family", choice)
            try:
                return FamilyTrial(cls, tiny_config(cls), self.case).family(condition)
            except Skipped as reason:
                reasons.append(str(reason))
        raise Skipped(f"there is no trained model for the setting {name}: {'; '.join(reasons)}")

    def _build(self, condition: Space | None) -> Build:
        chosen = (self.backbone, tiny_config(self.backbone)) if self.backbone else None
        backbone, config = chosen or _tiny_network(self.space, self.cls.causal)
        return make_build(backbone, config, condition, self.space, _tiny_network)

    def training(self, family: Family, steps: int, rate: float) -> Iterator[tuple[str, Tensor]]:
        """Train on the batch by Adam; gives the phase and the mean loss before each step is taken."""
        family.train()
        optimisers = {name: torch.optim.Adam(p.parameters(), lr=rate) for name, p in phases_of(family).items()}
        for step, (phase, optimiser) in product(range(steps), optimisers.items()):
            optimiser.zero_grad()
            loss = family.loss(self.batch, None, self.rng.fold(f"step {step}"), phase=phase).total.mean()
            yield phase, loss
            loss.backward()
            optimiser.step()
        family.eval()

    def density(self, family: Family, batch: Batch | None = None, rng: Rng | None = None) -> LogDensity:
        """The log-density of a batch, or of the samples."""
        batch = self.batch if batch is None else batch
        density = family.log_density(batch, rng=self.rng if rng is None else rng)
        require(
            density.value.shape == (len(batch),),
            f"the log-density has the shape {tuple(density.value.shape)}, where a number for each of {len(batch)} rows "
            "belongs",
        )
        return density


def _tiny_network(space: Space, causal: bool) -> tuple[type[Backbone], Any]:
    """The default network of a space, made small."""
    backbone = registry.get("backbone", default_backbone(space, causal).name)
    return backbone, tiny_config(backbone)


#: The attribute of an encoder, a family or a backbone that holds its small settings.
HOOK = "molgen_tiny"
#: The attribute of a family that names, for each setting of the type `config.TrainedModel`, families to try it with.
TRAINED_HOOK = "molgen_trained"


def trained_choices(cls: type[Any]) -> Mapping[str, Sequence[str]]:
    """The registry names of families to try a class with, for each of its settings that name trained models."""
    return getattr(cls, TRAINED_HOOK, {})


def tiny_config(cls: type[Any]) -> Any:
    """The small settings of a class as its `Config`.

    Raises:
        UsageError: the class names a setting that it does not have, or a value of a wrong type.
    """
    return make_settings(cls.Config, getattr(cls, HOOK, {}), f"{cls.__name__}.{HOOK}")


def missing_settings(cls: type[Any]) -> list[str]:
    """The settings without which a class cannot be made, and which it has no small values for."""
    without = [
        field.name
        for field in fields(cls.Config)
        if field.init and field.default is MISSING and field.default_factory is MISSING
    ]
    return [name for name in without if name not in getattr(cls, HOOK, {})]


#: Rows of a batch, width of the heads, and the name of the head without axes.
ROWS, WIDTH, POOLED = 4, 3, "pooled"


@dataclass(frozen=True)
class BackboneTrial:
    """One kind of network over one space, in float64.

    Attributes:
        cls: the class by its registry name; `make` chooses the one that runs causally.
        config: its settings.
        space: what it reads.
        causal: whether in the generation order.
    """

    cls: type[Backbone]
    config: Any
    space: Space
    causal: bool = False

    @cached_property
    def batch(self) -> Batch:
        """Random samples, of the smallest and the largest sizes too."""
        return in_float64(collate(self.space, draw_samples(self.space, ROWS, 0)))

    @property
    def heads(self) -> dict[str, Head]:
        """A head for each field, and one without axes where all elements are read at once."""
        own = {name: Head(WIDTH, field.axes, rotates=_rotates(field)) for name, field in self.space.items()}
        return own if self.causal else {**own, POOLED: Head(WIDTH)}

    def network(self, condition: Space | None = CONDITION, seed: int = 0) -> Backbone:
        """The network in evaluation, in float64.

        Raises:
            Skipped: it does not take the space.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                network = self.cls.make(self.space, self.heads, self.config, condition, self.causal)
            except ValueError as error:
                raise Skipped(str(error)) from error
        shake(network, seed)
        return network.double().eval()

    def causal_network(self) -> CausalBackbone:
        """The same, in the generation order."""
        network = self.network()
        if not isinstance(network, CausalBackbone):
            raise TypeError(f"make(..., causal=True) gives a {type(network).__name__}, which is no CausalBackbone")
        return network


def _rotates(field: Field) -> bool:
    return isinstance(field, Real) and field.rotates


def times(rows: int) -> Tensor:
    """A time for each row, (B,)."""
    return torch.linspace(0.1, 0.9, rows, dtype=torch.float64)


def of_fields(space: Space, outputs: Mapping[str, Tensor]) -> Batch:
    """The outputs over axes as if they were fields."""
    return Batch({name: outputs[name] for name in space}, {})
