"""A generative model: an encoder, a family on its space, and a network, as one thing to use, save and load.

Letters in shapes: B batch.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from molgen import __version__, registry
from molgen.backbone import Backbone, default_backbone, make_build
from molgen.config import ModelConfig, Part, make_settings, named_part, settings_of, with_all_settings
from molgen.data.bloom import BloomFilter
from molgen.data.conditions import Conditions
from molgen.data.statistics import Statistics
from molgen.domain import Domain, Encoder, Item
from molgen.errors import UsageError
from molgen.family import Family
from molgen.layers.condition_embedding import ConditionEmbedding
from molgen.model.bounds import no_more_than, require_moderate
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
from molgen.model.sampling import WithSamples
from molgen.model.trained import encoder_over, load_named, trained_family
from molgen.model.workflow import Workflow
from molgen.space import without_grammars


class GenerativeModel(Workflow, WithSamples, WithLatents):
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
        trained: the trained models that the family is made over, by the setting that names each; by default they are
            loaded from there. The new model reads samples as they do.

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
        trained: Mapping[str, GenerativeModel] | None = None,
    ) -> None:
        encoder, family = named_part("encoder", encoder, domain), named_part("family", family)
        #: the trained models inside this one, by the setting of the family that names each.
        self.trained: dict[str, GenerativeModel] = dict(trained or {})
        if trained is None:
            self.trained = load_named(family, GenerativeModel.load)
            encoder = encoder_over(self.trained, encoder)
        encoder_class, encoder_config = settings_of("encoder", encoder)
        self.encoder: Encoder = encoder_class(encoder_config)
        self._chosen_backbone = backbone is not None
        backbone = named_part("backbone", backbone) if backbone is not None else self._default_backbone(family)
        self.config = with_all_settings(ModelConfig(encoder, family, backbone, tuple(conditions)))
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
        #: what the checkpoint that this model came from says of the family.
        self._family_state: Mapping[str, Any] | None = None
        for model in self.trained.values():
            self._read_samples_as(model)

    def _read_samples_as(self, model: GenerativeModel) -> None:
        """Take what fixes the meaning of samples and conditions from a trained model, and whose items it knows."""
        self.encoder.load_state(model.encoder.state())
        self.conditions, self.statistics = model.conditions, model.statistics
        self.keys |= model.keys

    def _default_backbone(self, family: Part) -> Part:
        return default_backbone(self.encoder.space, registry.get("family", family.name).causal)

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
            self.config = with_all_settings(replace(self.config, backbone=self._default_backbone(self.config.family)))

    def build(self, seed: int = 0, state: Mapping[str, Any] | None = None) -> Family:
        """Make the family with fresh weights for the space as the encoder has it now.

        Args:
            seed: of the weights.
            state: of the family, where it is that of a checkpoint; see `Family.from_state`.
        """
        self.choose_backbone()
        family_class: Any
        family_class, family_config = settings_of("family", self.config.family)
        backbone_class, backbone_config = settings_of("backbone", self.config.backbone)
        build = make_build(backbone_class, backbone_config, self.conditions.space, self.encoder.space)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                parts = (self.encoder.space, build, family_config, self.conditions.space)
                trained = {name: trained_family(name, model, self) for name, model in self.trained.items()}
                make = family_class if state is None else partial(family_class.from_state, state)
                self._family = make(*parts, **trained)
            except ValueError as error:
                raise UsageError(f"{self.config.family.name} over {self.config.encoder.name}: {error}") from error
        return self.family

    def family_or_build(self) -> Family:
        """The family, made from what its checkpoint says of it where it has no weights yet."""
        return self._family if self._family is not None else self.build(state=self._family_state)

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
        model = GenerativeModel(encoder, config.family, config.backbone, names, trained=self.trained)
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
        own = [pair for pair in [*parts, ("domain", self.config.domain)] if registry.is_session(*pair)]
        inside = [name for model in self.trained.values() for name in model._session_parts()]
        return list(dict.fromkeys([*(f"{kind} {name}" for kind, name in own), *inside]))

    def _to_json(self) -> dict[str, Any]:
        trained = {name: model._to_json() | {"keys": {}} for name, model in self.trained.items()}
        return {
            "molgen": __version__,
            "model": self.config.to_json(),
            "encoder_state": self.encoder.state(),
            "conditions": self.conditions.to_json(),
            "statistics": self.statistics.to_json(),
            "family_state": self.family.state(),
            "keys": {name: {"hashes": keys.hashes, "count": keys.count} for name, keys in self.keys.items()},
            "info": self.info,
            **({"trained": trained} if trained else {}),
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
            trained = cls.trained_from_json(data, path)
            model = cls(config.encoder, config.family, config.backbone, config.conditions, trained=trained)
            model.keys = {}
            model.encoder.load_state(data["encoder_state"])
            model.conditions = Conditions.from_json(data["conditions"])
            model.statistics = Statistics.from_json(data["statistics"])
            model.info = dict(data["info"])
            model._family_state = data.get("family_state", {})
            if "resume" in model.info:
                model.unfinished_step = int(model.info.pop("resume")["state"]["step"])
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None
        except DAMAGED as error:
            raise CheckpointError(f"{path}: the configuration is damaged ({type(error).__name__}: {error})") from error
        require_moderate(config.family, model.encoder.space, path)
        return model

    @classmethod
    def trained_from_json(cls, data: Mapping[str, Any], path: Path) -> dict[str, GenerativeModel]:
        """The trained models inside that of a checkpoint, whose weights come with those of its family.

        Raises:
            CheckpointError: the configuration is damaged.
        """
        return {name: cls._from_json(own, path) for name, own in data.get("trained", {}).items()}

    def _load_weights(self, checkpoint: Checkpoint) -> None:
        try:
            with no_more_than(checkpoint.shapes(), checkpoint.path):
                family = self.family_or_build()
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
