"""An audit from end to end: three sets, perhaps a model and canaries, and what they say of each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from molgen import registry
from molgen.data.cache import cache_folder
from molgen.domain import Domain
from molgen.errors import UsageError
from molgen.evaluation.evaluate import chosen as chosen_metrics
from molgen.evaluation.reference_cache import Request, Summaries
from molgen.metrics.identity import Keys, TrainingConfig, hashed
from molgen.versions import versions
from molgen_datasets.audit import closeness, exposure, fidelity, labels, learners, membership, quality, utility
from molgen_datasets.audit.canaries import Canaries
from molgen_datasets.audit.closeness import Comparison
from molgen_datasets.audit.findings import Audit, Section
from molgen_datasets.audit.items import Examiner, Items
from molgen_datasets.audit.measure import Measure, nearest, vectors
from molgen_datasets.audit.membership import Densities, density_of
from molgen_datasets.audit.sets import domain_name, open_set, sampled
from molgen_datasets.audit.settings import Settings

if TYPE_CHECKING:
    from molgen.model.generative_model import GenerativeModel

Pair = tuple[np.ndarray, np.ndarray]

#: Changes whenever programs that read the JSON would have to.
FORMAT = 1


def audit(
    synthetic: str | Path,
    train: str | Path,
    holdout: str | Path,
    *,
    domain: str | None = None,
    model: GenerativeModel | None = None,
    reference_model: GenerativeModel | Sequence[GenerativeModel] | None = None,
    canaries: str | Path | None = None,
    settings: Settings | None = None,
    watch: Callable[[str], object] = lambda doing: None,
) -> Audit:
    """What a synthetic set gives away of its training data, and how new and how useful it is.

    Example:
        >>> from molgen_datasets.audit import audit
        >>> found = audit("set", "train.smi", "holdout.smi")  # doctest: +SKIP
        >>> found.figure("closeness", "exact copies of training items").estimate.value  # doctest: +SKIP
        0.031

    Args:
        synthetic: the folder of a set, or a file.
        train: what the generator learned from: a file, or NAME:SPLIT of a data set.
        holdout: items drawn as the training items were, which the generator has not seen.
        domain: what the items are, by registry name; by default as the sets say.
        model: the generator, where it is at hand.
        reference_model: a model of other data of the same kind, which has seen neither set, or several of them.
        canaries: the file of those that were planted in the training data.
        settings: see `Settings`.
        watch: called with what is being done.

    Raises:
        UsageError: a set is not there, holds no item, or is of another domain than the others.
    """
    sources = {"synthetic": str(synthetic), "train": str(train), "holdout": str(holdout)}
    name = domain or next(filter(None, map(domain_name, sources.values())), None)
    if name is None:
        raise UsageError("none of the sets says what its items are; name the domain, such as molecules")
    settings = settings or Settings()
    references = list(reference_model) if isinstance(reference_model, Sequence) else [reference_model]
    return _Run(name, sources, model, [one for one in references if one is not None], canaries, settings, watch).audit()


class _Run:
    """One audit; what several sections need is found once."""

    def __init__(
        self,
        name: str,
        sources: Mapping[str, str],
        model: GenerativeModel | None,
        references: Sequence[GenerativeModel],
        canaries: str | Path | None,
        settings: Settings,
        watch: Callable[[str], object],
    ) -> None:
        self.name, self.settings, self.watch = name, settings, watch
        self.domain: Domain = registry.get("domain", name)()
        self.sets = {
            role: open_set(source, self.domain, name, column=settings.column, split=_SPLITS[role])
            for role, source in sources.items()
        }
        self.model, self.references = model, references
        #: a sample of each set, and the canaries with those that were not planted, once they are examined.
        self.drawn: dict[str, Items] = {}
        self.marked: list[Items] = []
        for one in (model, *references):
            if one is not None and one.config.domain != name:
                raise UsageError(f"the model makes {one.config.domain}, and the sets hold {name}")
        if references and model is None:
            raise UsageError("a reference model calibrates the attack on a model; name that too")
        if self.settings.metrics is not None:
            chosen_metrics(self.domain, self.settings.metrics)  # raises where a name is none
        self.canaries = Canaries.load(canaries, self.domain, name) if canaries is not None else None

    def audit(self) -> Audit:
        """All sections for which there is what they need."""
        self._examine()
        sections = list(self._sections())
        return Audit(sections, self.about(), self.per_item())

    def _sections(self) -> Iterator[Section]:
        self.watch("comparing")
        keys = self.synthetic.keys, self.holdout.keys, self.whole_keys("train")
        yield (
            closeness.section(self.compared, keys, self.settings.near, self.rng(0))
            if self.compared is not None
            else closeness.without_measure(keys, self.name)
        )
        self.watch("inferring membership")
        yield membership.section(self.compared, self.densities, self.reference_densities, self.rng(1))
        if self.canaries is not None:
            self.watch("looking for canaries")
            yield self._canaries(self.canaries)
        yield from self._fidelity()
        if self.settings.use:
            self.watch("learning from real and from synthetic items")
            yield self._use()
        if self.settings.metrics is not None:
            self.watch("evaluating")
            yield self._metrics(self.settings.metrics)

    # --- what sections share ----------------------------------------------------------------------

    def rng(self, section: int) -> np.random.Generator:
        """The randomness of a section, whatever the others draw."""
        return np.random.default_rng([self.settings.seed, section])

    def _examine(self) -> None:
        """Sample and examine all sets, and the canaries."""
        feature, settings = self.domain.distance_feature, self.settings
        features = () if feature is None else (feature,)
        drawing = settings.most, settings.seed, settings.device, settings.processes
        with Examiner(self.domain, features, self._properties(), *drawing) as examiner:
            for role, one in self.sets.items():
                self.watch(f"reading {one.name}")
                self.drawn[role] = examiner.examine(one)
            if self.canaries is not None:
                sides = self.canaries.planted, self.canaries.controls
                self.marked = [examiner.examine_all("canaries", items) for items in sides]

    def _properties(self) -> list[str]:
        """Those that are compared as columns, and the one that is learned."""
        usual, label = self.domain.usual_properties, self.settings.label
        asked = [label] if label is not None and label in self.domain.descriptors().properties else []
        return list(dict.fromkeys([*usual, *asked]))

    @cached_property
    def samples(self) -> dict[str, Items]:
        """The sample of each set, with as many training items as held-out ones."""
        found = self.drawn
        size = min(len(found["train"]), len(found["holdout"]))
        if size < 2:
            raise UsageError("an audit needs at least 2 training items and 2 held-out ones")
        return {role: one if role == "synthetic" else one.take(slice(size)) for role, one in found.items()}

    @property
    def synthetic(self) -> Items:
        """The sample of the synthetic set."""
        return self.samples["synthetic"]

    @property
    def training(self) -> Items:
        """That of the training set."""
        return self.samples["train"]

    @property
    def holdout(self) -> Items:
        """That of the holdout."""
        return self.samples["holdout"]

    def whole_keys(self, role: str) -> np.ndarray:
        """Hashes of the keys of all items of a set, not only of its sample, ascending; kept in the cache."""
        rows, drawn = self.drawn[role].rows
        if rows == drawn:
            return np.unique(self.drawn[role].keys)
        found, request = self.sets[role].items(), Request(Keys, TrainingConfig())
        self.watch(f"reading all of {found.name}")
        settings, folder = self.settings, cache_folder() / "summaries"
        summaries = Summaries(self.domain, folder, versions(), settings.device, settings.processes)
        summaries.make(found, [request])
        keys = summaries.get(request, found)
        assert isinstance(keys, Keys)
        return keys.hashes

    @cached_property
    def measured(self) -> tuple[Measure, list[np.ndarray]] | None:
        """How items are compared, and the vectors of training, holdout, synthetic items and canaries."""
        feature = self.domain.distance_feature
        if feature is None:
            return None
        sides = [one.features[feature] for one in (self.training, self.holdout, self.synthetic)]
        return vectors([*sides, *(one.features[feature] for one in self.marked)])

    @cached_property
    def compared(self) -> Comparison | None:
        """The synthetic items beside the real ones; None where the domain has no distances."""
        if self.measured is None:
            return None
        measure, (training, holdout, synthetic, *_) = self.measured
        return closeness.compare(measure, synthetic, training, holdout, self.rng(7))

    @cached_property
    def densities(self) -> Densities | None:
        """Of the model."""
        return self._densities(self.model, self.settings.options)

    @cached_property
    def reference_densities(self) -> list[Densities]:
        """Of each reference model."""
        found = [self._densities(one, {}) for one in self.references]
        return [one for one in found if one is not None]

    def _densities(self, model: GenerativeModel | None, options: Mapping[str, Any]) -> Densities | None:
        if model is None:
            return None
        sides = self.training.items, self.holdout.items, self.synthetic.items
        return membership.densities(model, sides, self.settings.batch_size, options)

    # --- canaries ---------------------------------------------------------------------------------

    def _canaries(self, found: Canaries) -> Section:
        planted, controls = (hashed(map(self.domain.key, items)) for items in (found.planted, found.controls))
        keys = planted, controls, self.whole_keys("synthetic")
        return exposure.section(keys, self._canary_densities(found), self._canary_distances(), self.rng(2))

    def _canary_densities(self, found: Canaries) -> Pair | None:
        if self.model is None:
            return None
        size, options = self.settings.batch_size, self.settings.options
        planted, _ = density_of(self.model, found.planted, size, options)
        return planted, density_of(self.model, found.controls, size, options)[0]

    def _canary_distances(self) -> Pair | None:
        if self.measured is None:
            return None
        measure, (_, _, synthetic, planted, controls) = self.measured
        return nearest(measure, planted, synthetic).first, nearest(measure, controls, synthetic).first

    # --- likeness and use -------------------------------------------------------------------------

    @property
    def sides(self) -> tuple[Items, Items, Items]:
        """The samples of training, held-out and synthetic items."""
        return self.training, self.holdout, self.synthetic

    def _fidelity(self) -> Iterator[Section]:
        training, holdout, synthetic = (fidelity.cells_of(one, self.domain.distance_feature) for one in self.sides)
        if training and training[0]:
            yield fidelity.section(training, holdout, synthetic, self.rng(3))

    def _use(self) -> Section:
        feature, settings = self.domain.distance_feature, self.settings
        name = labels.chosen(settings.label, self.domain, self.sides)
        if name is None or feature is None:
            why = "no set names a label; name a column or a property" if name is None else "the domain names no feature"
            return utility.without(name, why)
        found = labels.labels_of(name, self.sides)
        if found is None:
            return utility.without(name, "a set does not have it")
        trials = {
            "factory": learners.factory(self.domain.predictor),
            "repeats": settings.repeats,
            "most": settings.learned,
            "rng": self.rng(4),
        }
        return utility.section(found, feature, self.sides, trials)

    def _metrics(self, names: Sequence[str]) -> Section:
        records, _ = sampled(self.sets["synthetic"].records(), self.settings.most, self.settings.seed)
        return quality.section(
            self.domain,
            names,
            (record.item for record in records),
            self.sets["holdout"].items(),
            self.sets["train"].items(),
            cache=cache_folder() / "summaries",
            versions=versions(),
            device=self.settings.device,
            processes=self.settings.processes,
            seed=self.settings.seed,
        )

    # --- what is kept -----------------------------------------------------------------------------

    def about(self) -> dict[str, Any]:
        """What was compared with what, and how."""
        return {
            "format": FORMAT,
            "domain": self.name,
            "sets": {role: self._set(role) for role in self.sets},
            "model": _model(self.model),
            "reference_model": _model(self.references[0]) if self.references else None,
            "reference_models": [_model(one) for one in self.references],
            "canaries": dict(self.canaries.about) if self.canaries is not None else None,
            "seed": self.settings.seed,
            "versions": versions(),
        }

    def _set(self, role: str) -> dict[str, Any]:
        one, sample = self.sets[role], self.samples[role]
        rows, drawn = sample.rows
        return {
            "name": one.name,
            "source": one.source,
            "sha256": one.digest,
            "rows": rows,
            "sampled": drawn,
            "compared": len(sample),
        }

    def per_item(self) -> dict[str, list[Any]]:
        """Figures of the real items that were compared, training items first."""
        size = len(self.training)
        found: dict[str, list[Any]] = {"set": ["training"] * size + ["holdout"] * size}
        found["key"] = [f"{key:016x}" for one in (self.training, self.holdout) for key in one.keys.tolist()]
        reference = membership.mean_of(self.reference_densities) if self.references else None
        for name, one in (("nll", self.densities), ("reference_nll", reference)):
            if one is not None:
                found[name] = (-np.concatenate([one.training, one.holdout])).tolist()
        if self.compared is not None:
            found["nearest_synthetic"] = self.compared.real_to_synthetic.tolist()
        return found


#: The split of a data set that is meant where none is named.
_SPLITS = {"synthetic": "train", "train": "train", "holdout": "test"}


def _model(model: GenerativeModel | None) -> dict[str, Any] | None:
    if model is None:
        return None
    parts = {kind: getattr(model.config, kind).name for kind in ("encoder", "family", "backbone")}
    return {"sha256": model.digest, **parts}
