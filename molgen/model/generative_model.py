"""A generative model: an encoder, a family on its space, and a network, as one thing to use, save and load.

Letters in shapes: B batch.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from molgen import __version__, registry
from molgen.backbone import Backbone, default_backbone, make_build
from molgen.batch import Batch, Partial, collate, field_mask, separate
from molgen.config import ModelConfig, Part, make_settings, named_part, settings_of, to_settings
from molgen.data.bloom import BloomFilter
from molgen.data.conditions import Conditions
from molgen.data.standardise import log_abs_det, restore, standardise
from molgen.data.statistics import Statistics
from molgen.domain import Domain, Encoder, Invalid, Item, Sample
from molgen.errors import UnsupportedSpace, UsageError
from molgen.family import Density, Family, LogDensity
from molgen.inference.pictures import as_html
from molgen.layers.condition_embedding import ConditionEmbedding
from molgen.model.bounds import no_more_than
from molgen.model.card import model_card
from molgen.model.checkpoint import (
    DAMAGED,
    Checkpoint,
    CheckpointError,
    array_tensor,
    require_finite,
    save_checkpoint,
    to_half,
)
from molgen.model.latent import WithLatents
from molgen.model.pretrained import resolve
from molgen.model.workflow import Workflow, require_items
from molgen.seeding import Rng, content_key
from molgen.space import without_grammars


@dataclass(frozen=True)
class Drawn:
    """One raw draw: its number, what it decodes to, and the log-density of `sample`, which it was decoded from."""

    index: int
    item: Item | Invalid
    log_density: float
    kind: Density | None
    sample: Sample
    domain: Domain | None = field(default=None, repr=False, compare=False)

    def _repr_html_(self) -> str | None:
        return as_html(self.domain, [self.item]) if self.domain is not None else None


@dataclass(frozen=True)
class Scored:
    """log p of an item in nats, NaN where the model cannot represent it, with the reason."""

    log_density: float
    kind: Density | None
    error: str | None = None


class GenerativeModel(Workflow, WithLatents):
    """Generates and scores items of one domain: `fit`, `sample`, `log_density`, `save`, `load`; see `WithLatents`.

    Example:
        >>> model = GenerativeModel.load("moses")
        >>> [drawn.item for drawn in model.sample(3, seed=0)]  # doctest: +SKIP

    Args:
        encoder: registry name such as `molecules.smiles`, a `Part` with settings, an encoder, or a class of one.
        family: registry name, `Part`, or a class of your own.
        backbone: the same; by default the one that serves the space, by its layout and its size.
        conditions: names of numbers and classes that come with the training items and can be asked for later.
        domain: of an encoder that is not installed, by its registry name, unless it is a domain itself.

    A class that is not installed serves as it is. A model with one is loaded by `load(folder, classes=[ThatClass])`,
    or once a distribution registers the class.
    """

    def __init__(
        self,
        encoder: str | Part | Encoder | type[Encoder],
        family: str | Part | type[Family] = "autoregressive",
        backbone: str | Part | type[Backbone] | None = None,
        conditions: Sequence[str] = (),
        domain: str | None = None,
    ) -> None:
        encoder, family = named_part("encoder", encoder, domain), named_part("family", family)
        encoder_class, encoder_config = settings_of("encoder", encoder)
        self.encoder: Encoder = encoder_class(encoder_config)
        self._chosen_backbone = backbone is not None
        backbone = named_part("backbone", backbone) if backbone is not None else self._default_backbone(family)
        self.config = _with_all_settings(ModelConfig(encoder, family, backbone, tuple(conditions)))
        self.conditions = Conditions()
        self.statistics = Statistics()
        #: the keys of the training items, per data set.
        self.keys: dict[str, BloomFilter] = {}
        #: what the card says: data, licence, training; JSON values.
        self.info: dict[str, Any] = {}
        #: the SHA-256 of the weights file that the model came from.
        self.digest: str | None = None
        #: the step of a run that is not finished, where the weights are its last average.
        self.unfinished_step: int | None = None
        self._family: Family | None = None

    def _default_backbone(self, family: Part) -> Part:
        try:
            return default_backbone(self.encoder.space, registry.get("family", family.name).causal)
        except UnsupportedSpace as error:
            raise UsageError(str(error)) from None

    @property
    def domain(self) -> Domain:
        """A domain object that knows the items of this model."""
        cls = registry.get("domain", self.config.domain)
        return cls(make_settings(cls.Config, {}, f"domain {self.config.domain}"))

    @property
    def family(self) -> Family:
        """The trained family.

        Raises:
            UsageError: the model was neither fitted nor loaded.
        """
        if self._family is None:
            raise UsageError("the model has no weights yet: fit it, or load one")
        return self._family

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.family.device

    def to(self, device: str | torch.device) -> GenerativeModel:
        """Move the weights to a device."""
        self.family.to(device)
        return self

    def choose_backbone(self) -> None:
        """Take the default network of the space as the encoder has it now, where none was named.

        Only once the encoder is prepared it is known how large the samples of the data are.
        """
        if not self._chosen_backbone:
            self.config = _with_all_settings(replace(self.config, backbone=self._default_backbone(self.config.family)))

    def build(self, seed: int = 0, state: Mapping[str, Any] | None = None) -> Family:
        """Make the family with fresh weights for the space as the encoder has it now.

        Args:
            seed: of the weights.
            state: of the family, where it is that of a checkpoint; see `Family.from_state`.
        """
        self.choose_backbone()
        family_class: type[Family]
        family_class, family_config = settings_of("family", self.config.family)
        backbone_class, backbone_config = settings_of("backbone", self.config.backbone)
        build = make_build(backbone_class, backbone_config, self.conditions.space, self.encoder.space)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                parts = (self.encoder.space, build, family_config, self.conditions.space)
                self._family = family_class(*parts) if state is None else family_class.from_state(state, *parts)
            except ValueError as error:
                raise UsageError(f"{self.config.family.name} over {self.config.encoder.name}: {error}") from error
        return self.family

    def use(self, family: Family) -> None:
        """Take a trained family of this model's space."""
        self._family = family.eval()

    def with_encoder(self, encoder: Part, conditions: Sequence[str] = ()) -> GenerativeModel:
        """The same weights behind other settings of the encoder, to be tuned for them.

        Args:
            encoder: the encoder with its settings.
            conditions: names that the model is to gain beside its own; see `gain_conditions`.

        Raises:
            UsageError: an encoder of another name, or one whose samples the weights do not fit.
        """
        config = self.config
        if encoder.name != config.encoder.name:
            raise UsageError(f"a model of {config.encoder.name} cannot go on with {encoder.name}")
        names = tuple(dict.fromkeys([*config.conditions, *conditions]))
        model = GenerativeModel(encoder, config.family, config.backbone, names)
        model.encoder.load_state(self.encoder.state())
        if without_grammars(model.encoder.space) != without_grammars(self.encoder.space):
            raise UsageError(f"encoder {encoder.name}: with these settings it makes samples that the model cannot read")
        model.conditions, model.statistics = self.conditions, self.statistics
        model.keys, model.info, model.digest = dict(self.keys), dict(self.info), self.digest
        model.build(state=self.family.state()).load_state_dict(self.family.state_dict())
        model.use(model.family)
        return model

    def gain_conditions(self, conditions: Conditions) -> None:
        """Let the model be asked for more; what it generates and how it scores changes with the next training only.

        The networks get an embedding of each new condition, at first with nothing behind it: all that adds to what
        was there before begins at zero.

        Args:
            conditions: the new ones.
        """
        before, state = self.family.state_dict(), self.family.state()
        self.conditions = self.conditions.joined(conditions)
        family = self.build(state=state)
        missing = set(family.load_state_dict(before, strict=False).missing_keys)
        new = {parameter for name, parameter in family.named_parameters() if name in missing}
        for module in [module for module in family.modules() if isinstance(module, ConditionEmbedding)]:
            module.begin_at_zero(new)
            new -= set(module.parameters())
        for parameter in new:
            nn.init.zeros_(parameter)
        self.use(family)

    def is_novel(self, item: Item) -> bool:
        """Whether a canonical item is outside the training data: certain when True.

        Raises:
            UsageError: the model does not carry the keys of its training data.
        """
        if not self.keys:
            raise UsageError("this model carries no keys of its training data, so it cannot say what is novel")
        key = self.domain.key(item)
        return not any(key in known for known in self.keys.values())

    # --- generating -------------------------------------------------------------------------------

    def sample(
        self,
        count: int,
        *,
        seed: int = 0,
        first: int = 0,
        batch_size: int = 1024,
        condition: Mapping[str, float | str] | None = None,
        known: Item | Partial | None = None,
        **options: Any,
    ) -> Iterator[Drawn]:
        """Draw items one after the other, made in batches; the same seed gives the same items.

        Args:
            count: how many raw draws; a draw may turn out to be `Invalid`.
            seed: of all randomness; draw number i depends on (seed, i) alone.
            first: the number of the first draw, to go on where an earlier call ended.
            batch_size: draws at a time; halved when memory runs out.
            condition: what is asked for, by name.
            known: what every sample has, as `Encoder.known_part` reads it or as a `Partial` of one row.
            **options: of the family, such as temperature, top_k and top_p.
        """
        stop, asked = first + count, self.conditions.numbers(condition or {})
        while first < stop:
            size = min(batch_size, stop - first)
            try:
                drawn = self._draw(range(first, first + size), seed, asked, known, options)
            except (MemoryError, RuntimeError) as error:
                if not _out_of_memory(error) or batch_size == 1:
                    raise
                batch_size = max(1, size // 2)
                continue
            yield from drawn
            first += size

    def _draw(
        self, items: range, seed: int, condition: Mapping[str, Any], known: Any, options: Mapping[str, Any]
    ) -> list[Drawn]:
        asked, rng = self.conditions.encode(condition, len(items)), Rng(seed, items)
        generated = self.family.sample(
            len(items),
            condition=asked.to(self.device) if asked else None,
            rng=rng,
            known=self._known(known, rng, asked, options),
            **options,
        )
        density, space = generated.log_density, self.encoder.space
        values = self._in_user_units(density, generated.batch) if density else [math.nan] * len(items)
        samples = separate(space, restore(space, self.statistics, generated.batch))
        kind, domain = density.kind if density else None, self.domain
        return [
            Drawn(index, self.encoder.decode(sample), value, kind, sample, domain)
            for index, sample, value in zip(items, samples, values, strict=True)
        ]

    def sample_batch(
        self,
        count: int,
        *,
        seed: int = 0,
        condition: Mapping[str, float | str] | None = None,
        known: Item | Partial | None = None,
        **options: Any,
    ) -> Batch:
        """Samples as the tensors of `encoder.space` with their sizes, in the units of the encoder, undecoded.

        Example:
            >>> from molgen import GenerativeModel
            >>> batch = GenerativeModel.load("moses").sample_batch(4, seed=0)
            >>> {name: tensor.shape[0] for name, tensor in batch.fields.items()}
            {'tokens': 4}

        Args:
            count: rows, all at once.
            seed: of all randomness; row i is that of sample i.
            condition: what is asked for, by name.
            known: what every sample has.
            **options: of the family.
        """
        asked = self.conditions.encode(self.conditions.numbers(condition or {}), count)
        given = asked.to(self.device) if asked else None
        rng = Rng(seed, range(count))
        kept = self._known(known, rng, asked, options)
        generated = self.family.sample(count, given, rng, kept, **options)
        return restore(self.encoder.space, self.statistics, generated.batch)

    def _known(
        self, known: Item | Partial | None, rng: Rng, condition: Partial | None, options: Mapping[str, Any]
    ) -> Partial | None:
        """What each row of a batch has, one of the ways to have the known part where there are several."""
        plain = torch.zeros(len(rng), dtype=torch.long)
        if known is None or isinstance(known, Partial):
            return known.take(plain) if known is not None else None
        part = self.encoder.known_part(known)
        if isinstance(part, Invalid):
            raise UsageError(f"the known part {known!r}: {part.reason}")
        batch = self._collate(part.ways or [part.sample])
        given = {name: field_mask(self.encoder.space, batch, name) for name in batch.fields}
        closed = {name: torch.as_tensor(mask)[None].expand(len(batch), -1) for name, mask in part.closed.items()}
        ways = Partial(batch, given, closed)
        return ways.take(self._ways_drawn(ways, rng, condition, options) if len(batch) > 1 else plain)

    def _ways_drawn(self, ways: Partial, rng: Rng, condition: Partial | None, options: Mapping[str, Any]) -> Tensor:
        """Which of the ways each row takes, (B,): each as often as draws begin with it; the first if none is known."""
        # What is asked for is the same in all rows.
        asked = condition.take(torch.zeros(len(ways.batch), dtype=torch.long)) if condition else None
        log_p = self.family.log_known(ways, asked.to(self.device) if asked else None, **options)
        if log_p is None or bool(log_p.isneginf().all()):
            return torch.zeros(len(rng), dtype=torch.long)
        likely = torch.softmax(log_p, 0).cpu().expand(len(rng), -1)
        return rng.categorical(likely, "way")

    # --- scoring ----------------------------------------------------------------------------------

    def log_density(
        self,
        items: Sequence[Item],
        *,
        batch_size: int = 1024,
        condition: Mapping[str, Any] | None = None,
        seed: int = 0,
        **options: Any,
    ) -> list[Scored]:
        """log p of each item in nats, in the order of the items; the kind says what the number means."""
        require_items(items)
        encoded = [self.encoder.encode(item) for item in items]
        return self.log_density_of(encoded, batch_size=batch_size, condition=condition, seed=seed, **options)

    def log_density_of(
        self,
        encoded: Sequence[Sample | Invalid],
        *,
        batch_size: int = 1024,
        condition: Mapping[str, Any] | None = None,
        seed: int = 0,
        **options: Any,
    ) -> list[Scored]:
        """The same for what the encoder made of the items."""
        scored = [Scored(math.nan, None, s.reason) if isinstance(s, Invalid) else None for s in encoded]
        valid = {i: sample for i, sample in enumerate(encoded) if not isinstance(sample, Invalid)}
        asked = self.conditions.numbers(condition or {})
        columns = {name: np.broadcast_to(values, len(encoded)) for name, values in asked.items()}
        # Neighbours of one size pad least.
        ranked = sorted(valid, key=lambda i: sum(int(np.size(array)) for array in valid[i].values()))
        for start in range(0, len(ranked), batch_size):
            rows = ranked[start : start + batch_size]
            given = {name: values[rows] for name, values in columns.items()}
            for row, value in zip(rows, self._score([valid[i] for i in rows], given, seed, options), strict=True):
                scored[row] = value
        return [value for value in scored if value is not None]

    def _score(
        self, samples: list[Sample], asked: Mapping[str, Any], seed: int, options: Mapping[str, Any]
    ) -> list[Scored]:
        batch = self._collate(samples).to(self.device)
        condition = self.conditions.encode(asked, len(samples))
        # An estimate is of the item, wherever in a file it stands.
        rng = Rng(seed, [content_key(sample) for sample in samples])
        density = self.family.log_density(batch, condition.to(self.device) if condition else None, rng, **options)
        return [Scored(value, density.kind) for value in self._in_user_units(density, batch)]

    def _collate(self, samples: Sequence[Sample]) -> Batch:
        """Samples of the encoder as the family reads them: at unit scale."""
        return standardise(self.encoder.space, self.statistics, collate(self.encoder.space, samples))

    def _in_user_units(self, density: LogDensity, batch: Batch) -> list[float]:
        """log p per unit of the encoder's samples, where the family gave it per unit of standardised ones.

        What is no normalised density, a critic's score or an energy, has no such unit and stays as it is.
        """
        if density.kind < Density.LOWER_BOUND:
            return density.value.tolist()
        return (density.value - log_abs_det(self.encoder.space, self.statistics, batch)).tolist()

    # --- files ------------------------------------------------------------------------------------

    def save(self, path: str | Path, *, half: bool = False, **extra: Mapping[str, Tensor]) -> None:
        """Write the model as a checkpoint folder.

        Args:
            path: the folder; an existing model there is replaced in one step.
            half: store the weights in float16, half the size.
            **extra: further files of tensors.

        Raises:
            CheckpointError: a weight is not finite, in float16 perhaps.
        """
        if names := self._session_parts():
            warnings.warn(f"{path}: {_NOT_INSTALLED.format(', '.join(names))}", stacklevel=2)
        weights = self.family.state_dict()
        weights = to_half(weights) if half else weights
        require_finite(self.family, weights, Path(path))
        files = dict(extra)
        if self.keys:
            files["training_keys"] = {name: array_tensor(keys.bits) for name, keys in self.keys.items()}
        save_checkpoint(
            Path(path),
            self._to_json(),
            weights,
            model_card(self.config, self.info),
            files,
        )

    def _session_parts(self) -> list[str]:
        """The parts whose classes no installed distribution has."""
        kinds: tuple[registry.Kind, ...] = ("encoder", "family", "backbone")
        parts = [(kind, getattr(self.config, kind).name) for kind in kinds]
        return [
            f"{kind} {name}"
            for kind, name in [*parts, ("domain", self.config.domain)]
            if registry.is_session(kind, name)
        ]

    def _to_json(self) -> dict[str, Any]:
        return {
            "molgen": __version__,
            "model": self.config.to_json(),
            "encoder_state": self.encoder.state(),
            "conditions": self.conditions.to_json(),
            "statistics": self.statistics.to_json(),
            "family_state": self.family.state(),
            "keys": {name: {"hashes": keys.hashes, "count": keys.count} for name, keys in self.keys.items()},
            "info": self.info,
        }

    @classmethod
    def load(
        cls, name: str | Path, device: str | torch.device = "cpu", classes: Sequence[type[Any]] = ()
    ) -> GenerativeModel:
        """A saved model, from its folder or by the name of an embedded one.

        The folder of a run that is not finished gives the averaged weights of its last save; see `unfinished_step`.

        Args:
            name: a folder, or the name of an embedded model.
            device: where the weights go.
            classes: those of its parts that are not installed: encoders, domains, families or networks.

        Raises:
            UsageError: there is no such model, or it needs a plugin that is not installed.
            CheckpointError: it is damaged or was changed.
        """
        checkpoint = Checkpoint(resolve(name))
        _register(checkpoint.config, classes)
        model = cls._from_json(checkpoint.config, checkpoint.path)
        model.digest = checkpoint.digest
        model._load_weights(checkpoint)
        model._load_keys(checkpoint)
        model.use(model.family.to(device))
        return model

    @classmethod
    def _from_json(cls, data: Mapping[str, Any], path: Path) -> GenerativeModel:
        try:
            config = ModelConfig.from_json(data["model"])
            model = cls(config.encoder, config.family, config.backbone, config.conditions)
            model.encoder.load_state(data["encoder_state"])
            model.conditions = Conditions.from_json(data["conditions"])
            model.statistics = Statistics.from_json(data["statistics"])
            model.info = dict(data["info"])
            if "resume" in model.info:
                model.unfinished_step = int(model.info.pop("resume")["state"]["step"])
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None
        except DAMAGED as error:
            raise CheckpointError(f"{path}: the configuration is damaged ({type(error).__name__}: {error})") from error
        return model

    def _load_weights(self, checkpoint: Checkpoint) -> None:
        try:
            with no_more_than(checkpoint.shapes(), checkpoint.path):
                family = self.build(state=checkpoint.config.get("family_state", {}))
        except DAMAGED as error:
            raise CheckpointError(f"{checkpoint.path}: the state of the family is damaged ({error!r})") from error
        weights = {name: t.float() if t.is_floating_point() else t for name, t in checkpoint.tensors().items()}
        require_finite(family, {name: t for name, t in weights.items() if t.is_floating_point()}, checkpoint.path)
        try:
            family.load_state_dict(weights)
        except RuntimeError as error:
            first = str(error).splitlines()[-1].strip()
            raise CheckpointError(f"{checkpoint.path}: the weights do not fit the configuration ({first})") from None

    def _load_keys(self, checkpoint: Checkpoint) -> None:
        if not checkpoint.has("training_keys"):
            return
        bits = checkpoint.tensors("training_keys")
        try:
            numbers = checkpoint.config["keys"].items()
            self.keys = {name: BloomFilter(bits[name].numpy(), n["hashes"], n["count"]) for name, n in numbers}
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise CheckpointError(f"{checkpoint.path}: the training keys are damaged ({error!r})") from None


def _register(config: Mapping[str, Any], classes: Sequence[type[Any]]) -> None:
    """Let the names in a checkpoint mean the given classes, where they are called so."""
    parts = config.get("model", {})
    for given in classes:
        name = given.__name__
        if issubclass(given, Family):
            registry.register("family", name, given)
        elif issubclass(given, Backbone):
            registry.register("backbone", name, given)
        elif issubclass(given, Domain):
            registry.register("domain", name, given)
        else:
            encoder = str(parts.get("encoder", {}).get("name", ""))
            named_part("encoder", given, encoder.partition(".")[0])


_NOT_INSTALLED = (
    "this model can be loaded only where its classes are given, load(..., classes=[...]), or installed as plugins: {}"
)


def _with_all_settings(config: ModelConfig) -> ModelConfig:
    """The same configuration with every default written out, so that later defaults cannot change a model."""

    def full(kind: registry.Kind, part: Part) -> Part:
        return Part(part.name, to_settings(settings_of(kind, part)[1]))

    return replace(
        config,
        encoder=full("encoder", config.encoder),
        family=full("family", config.family),
        backbone=full("backbone", config.backbone),
    )


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
