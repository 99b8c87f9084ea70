"""Some fields of a sample given the others: another family learns them, with the given ones as its condition.

So the second of two stages is a model by itself: positions of a graph that another model drew, or that a user names.

Letters in shapes: B batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from molgen.backbone import Backbone, Build, Head
from molgen.batch import Batch, Partial, field_mask
from molgen.config import Part, settings_of, to_settings
from molgen.data.statistics import Statistics
from molgen.errors import UnsupportedSpace
from molgen.families.parts.elements import PackedElements, fitted
from molgen.family import Capability, Density, Diagnostics, Family, Generated, LogDensity, Loss, Phase
from molgen.seeding import Rng
from molgen.space import Space, variable_axes


@dataclass(frozen=True)
class ConditionalConfig:
    """What is given, and what learns the rest.

    Attributes:
        given: the names of fields, such as atoms and bonds where positions are learned.
        rest: the family that learns the other fields, by its registry name.
        rest_settings: of that family. Its networks are those of the backbone of the model.
    """

    given: tuple[str, ...] = ()
    rest: str = "diffusion"
    rest_settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # With every default written out, so that later defaults cannot change a model.
        _, settings = settings_of("family", Part(self.rest, self.rest_settings))
        object.__setattr__(self, "rest_settings", to_settings(settings))


class Conditional(Family):
    """loss, samples and densities of p(rest | given, condition), which are those of the family of the rest.

    A sample needs the given fields, whole, as its known part; what else is known is kept as that family keeps it.

    Raises:
        UnsupportedSpace: a given field that is none, nothing else, or a size that only given fields have.
    """

    Config = ConditionalConfig
    molgen_tiny: ClassVar[Mapping[str, Any]] = {"rest_settings": {"steps": 2, "samples": 2}}
    capability: ClassVar[Capability] = Capability(density=Density.CRITIC)

    def __init__(self, space: Space, build: Build, config: ConditionalConfig, condition: Space | None = None) -> None:
        super().__init__(space, build, config, condition)
        _require_fields(space, config.given)
        self.given = {name: space[name] for name in config.given}
        rest = {name: own for name, own in space.items() if name not in self.given}
        cls, settings = settings_of("family", Part(config.rest, config.rest_settings))
        given = self.given

        def build_given(
            inputs: Space, outputs: Mapping[str, Head], causal: bool = False, condition: Space | None = None
        ) -> Backbone:
            return build(inputs, outputs, causal, {**given, **(condition or {})})

        self.rest: Family = cls(rest, build_given, settings, {**self.condition_space, **given})
        self.loss_unit = self.rest.loss_unit
        # Of this object: what can be done depends on the family of the rest.
        self.capability = replace(self.rest.capability, latent=False)  # type: ignore[misc]

    @property
    def phases(self) -> Mapping[str, Phase | torch.nn.Module]:
        """Those of the family of the rest."""
        return self.rest.phases

    def loss(self, batch: Batch, condition: Partial | None, rng: Rng, phase: str = "model") -> Loss:
        """That of the family of the rest."""
        return self.rest.loss(self._rest(batch), self._asked(batch, condition), rng, phase=phase)

    def validate(self, batch: Batch, condition: Partial | None, rng: Rng) -> Loss:
        """That of the family of the rest."""
        return self.rest.validate(self._rest(batch), self._asked(batch, condition), rng)

    def diagnose(self, batch: Batch, condition: Partial | None, rng: Rng) -> Diagnostics:
        """That of the family of the rest."""
        return self.rest.diagnose(self._rest(batch), self._asked(batch, condition), rng)

    def log_density(
        self, batch: Batch, condition: Partial | None = None, rng: Rng | None = None, **options: Any
    ) -> LogDensity:
        """log p(rest | given, condition); options are those of the family of the rest."""
        return self.rest.log_density(self._rest(batch), self._asked(batch, condition), rng, **options)

    def sample(
        self,
        count: int,
        condition: Partial | None = None,
        rng: Rng | None = None,
        known: Partial | None = None,
        sizes: Mapping[str, Tensor] | None = None,
        **options: Any,
    ) -> Generated:
        """Draw the rest of samples; options are those of the family of the rest.

        Raises:
            ValueError: a given field that is not known as a whole.
        """
        if not self.given:
            return self.rest.sample(count, condition, rng, known, sizes, **options)
        whole = self._whole(known)
        others = _without(known, self.given) if known is not None else None
        found = self.rest.sample(count, self._asked(whole, condition), rng, others, None, **options)
        return Generated(self._together(whole, found.batch), found.log_density)

    def initialise(self, batch: Batch, statistics: Statistics) -> None:
        """As the family of the rest does."""
        self.rest.initialise(self._rest(batch), statistics)

    def set_statistics(self, statistics: Statistics) -> None:
        """As the family of the rest does."""
        self.rest.set_statistics(statistics)

    def begin_step(self, step: int, steps: int) -> None:
        """As the family of the rest does."""
        self.rest.begin_step(step, steps)

    def training_state(self) -> dict[str, Tensor]:
        """That of the family of the rest."""
        return self.rest.training_state()

    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        """As the family of the rest does."""
        self.rest.load_training_state(state)

    # --- given and rest ---------------------------------------------------------------------------------

    def _rest(self, batch: Batch) -> Batch:
        return batch.with_fields({name: batch.fields[name] for name in self.rest.space})

    def _asked(self, batch: Batch, condition: Partial | None) -> Partial | None:
        """The condition and the given fields of a batch as one condition."""
        if not self.given:
            return condition
        fields = {name: batch.fields[name].to(self.device) for name in self.given}
        given = {
            name: torch.ones(field_mask(self.given, batch, name).shape, dtype=torch.bool, device=self.device)
            for name in self.given
        }
        sizes = {name: size.to(self.device) for name, size in batch.sizes.items()}
        if condition is None:
            return Partial(Batch(fields, sizes), given)
        own = Batch({**condition.batch.fields, **fields}, {**condition.batch.sizes, **sizes})
        return Partial(own, {**condition.given, **given})

    def _whole(self, known: Partial | None) -> Batch:
        """The samples whose given fields are known."""
        missing = [
            name
            for name, own in self.given.items()
            if known is None
            or name not in known.given
            or not bool((known.given[name] | ~field_mask({name: own}, known.batch, name)).all())
        ]
        if missing or known is None:
            raise ValueError(
                f"the model draws {', '.join(self.rest.space)} of what is given, and needs all of "
                f"{', '.join(missing)}; name an item that has them"
            )
        return known.batch

    def _together(self, whole: Batch, drawn: Batch) -> Batch:
        """Samples with the given fields and what was drawn."""
        elements = PackedElements.of_batch(self.rest.space, drawn)
        reach = {
            axis.name: elements.places[name].shape[1 + place]
            for name, own in self.rest.space.items()
            for place, axis in enumerate(own.axes)
        }
        fields = dict(drawn.fields)
        for name, own in self.given.items():
            shape = [reach[axis.name] for axis in own.axes]
            fields[name] = fitted(whole.fields[name].to(self.device), shape)
        return Batch({name: fields[name] for name in self.space}, drawn.sizes)


def _without(known: Partial, names: Mapping[str, Any]) -> Partial | None:
    """What is known beside some fields; None for nothing."""
    given = {name: mask for name, mask in known.given.items() if name not in names and bool(mask.any())}
    return replace(known, given=given) if given else None


def _require_fields(space: Space, given: tuple[str, ...]) -> None:
    if unknown := [name for name in given if name not in space]:
        raise UnsupportedSpace(f"there is no field {unknown[0]!r} to be given; there are {', '.join(space)}")
    rest = {name: own for name, own in space.items() if name not in given}
    if not rest:
        raise UnsupportedSpace("all fields are given, and nothing is left to learn")
    if lost := [name for name in variable_axes(space) if name not in variable_axes(rest)]:
        raise UnsupportedSpace(f"only given fields say the size of the axis {lost[0]!r}")
