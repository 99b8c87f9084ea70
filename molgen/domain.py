"""What objects are, and how they become samples and come back. This module imports no torch.

An item is plain data (a string, an array), because items cross process borders.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar

from molgen.data.records import Invalid as Invalid
from molgen.data.records import Item as Item
from molgen.data.records import Record as Record
from molgen.space import Space, axes

if TYPE_CHECKING:
    import numpy as np

Sample = Mapping[str, "np.ndarray"]

#: The plugin interface that this molgen speaks; every plugin class carries it as `molgen_api`.
API_VERSION = 1


@dataclass(frozen=True)
class Config:
    """The settings of a part that has none; parts with settings define their own frozen dataclass."""


@dataclass(frozen=True)
class Descriptors:
    """Named yes-or-no rules, numbers and features that a domain has for an item.

    `properties` map an item to a number, or NaN where it cannot be computed, never to zero instead.
    `filters` map an item to whether it passes. `features` map it to what metrics read: an array of a
    fixed shape, or other plain data such as a list of strings.
    """

    properties: Mapping[str, Callable[[Item], float]] = field(default_factory=dict)
    filters: Mapping[str, Callable[[Item], bool]] = field(default_factory=dict)
    features: Mapping[str, Callable[[Item], Any]] = field(default_factory=dict)


class Domain(ABC):
    """What the objects are: examples, canonical form, reading, writing, properties, drawing."""

    molgen_api: ClassVar[int] = API_VERSION
    Config: ClassVar[type] = Config
    #: the name of the column that holds an item in a table.
    column: ClassVar[str] = "item"
    #: whether equal items of the training data all count, as rows of a table do; by default each is learned once.
    repeats: ClassVar[bool] = False
    #: names of the metrics that judge samples of this domain when none are asked for.
    metrics: ClassVar[tuple[str, ...]] = ("validity", "uniqueness", "novelty")
    #: `module:factory` of what judges untrusted items in worker processes, or None to judge them in this one by
    #: `canonical` and `descriptors`. The factory is called once in each worker as
    #: `factory(properties=[names], filters=bool, features=[names])`, with `patterns=[texts]` too where some are sought
    #: (see `pattern`), and returns a function of an item. What that returns can be pickled and has the attributes
    #: `error` (a reason, or None), `properties` (numbers by name),
    #: `passes` (all filters; None where not asked), optionally `flags` (each filter by name) and
    #: `matches` (each pattern by its text), `features` (plain data by name) and, under the name of `column`,
    #: the canonical item (None where there is none).
    inspector: ClassVar[str | None] = None
    #: the same for items that are canonical as they are, which saves finding that out; None where it saves nothing.
    canonical_inspector: ClassVar[str | None] = None
    #: feature networks: name -> `module:factory`. The factory is called as `factory(device)` and returns a function
    #: from a list of canonical items to float32 features (count, width). Like those of `descriptors` and of the
    #: inspector they are found by name among the `needs` of metrics; they run in the main process.
    networks: ClassVar[Mapping[str, str]] = {}
    #: features that are found of rows that are no items as well, where they hold something: None of those without.
    row_features: ClassVar[Collection[str]] = ()
    #: the folder of the summaries of reference sets that ship with the domain.
    summaries: ClassVar[Path | None] = None
    #: the properties in tables when nobody names any.
    usual_properties: ClassVar[tuple[str, ...]] = ()
    #: the feature that a report groups items by: text, empty for an item of no group; what one and several are called.
    group_feature: ClassVar[str | None] = None
    group_words: ClassVar[tuple[str, str]] = ("group", "groups")
    #: the feature by which a report finds the most similar training items: bits in bytes, uint8 (B,), of which items
    #: that are alike share many.
    bits_feature: ClassVar[str | None] = None
    #: the feature that says how far items are from each other: bits in bytes, uint8 (B,), by their Tanimoto similarity;
    #: numbers by their Euclidean distance; a mapping from columns to cells by both. None where nothing says it.
    distance_feature: ClassVar[str | None] = None
    #: what learns to predict a label of items from that feature, where synthetic data are judged by their use:
    #: `forest`, `boosting` or `linear`, or `module:factory`, which is called as `factory(classes=bool, seed=int)`; what
    #: it gives has `fit(X, y)` and `predict(X)`, as estimators of scikit-learn do.
    predictor: ClassVar[str] = "forest"
    #: the feature by which a list of things that must not be made knows an item: text that all forms of what is one
    #: thing in substance share, empty where none can be found. By default it is the `key` of the item.
    screening_feature: ClassVar[str | None] = None
    #: the ending of a file that holds one item as `stored` gives it.
    file_ending: ClassVar[str] = "txt"
    #: the registry name of the encoder of a new model when nobody names one; by default that of the domain itself.
    default_encoder: ClassVar[str | None] = None
    #: what a table of generated items is called in a hint.
    usual_output: ClassVar[str | None] = "generated.csv"
    #: the name of the embedded model that is used when nobody names one.
    default_model: ClassVar[str | None] = None

    def __init__(self, config: Any = None) -> None:
        self.config = config if config is not None else self.Config()

    @abstractmethod
    def examples(self) -> list[Item]:
        """A few items that show the range of the domain; the conformance kit starts from them."""

    def canonical(self, item: Item) -> Item | Invalid:
        """The one form that all equal items share, or why `item` is none. Never raises on bad data."""
        return item

    def key(self, item: Item) -> str:
        """A string that is the same for equal canonical items and differs for others."""
        return repr(item)

    def content(self, item: Item) -> str:
        """A string that is the same only for canonical items that every encoder sees alike; by default the key.

        A domain says it where equal items can differ, as two geometries of one molecule do: a model learns from both.
        """
        return self.key(item)

    def unfinished(self, item: Item) -> str:
        """Why a canonical item is no product of a model, although a user's file may hold it; empty where it may be."""
        return ""

    def descriptors(self) -> Descriptors:
        """The properties and filters of the domain by name."""
        return Descriptors()

    def suites(self) -> Mapping[str, Mapping[str, tuple[str, Mapping[str, Any]]]]:
        """Sets of metrics by name, such as a published benchmark: label -> name of the metric, its settings.

        Labels are those of the benchmark. One with `{}` in it is of a comparison: the name of the reference
        comes there. `metrics` may name suites as well as metrics.
        """
        return {}

    def read(
        self, source: str | Path | IO[bytes], *, format: str | None = None, column: str | None = None
    ) -> Iterator[Record]:
        """The rows of a user's file in their order; none is dropped, a bad one has an `Invalid` item.

        By default a table (`.csv`, `.tsv`) with a column of items as text, or a list of them (`.txt`), also gzipped.
        """
        from molgen.data import item_tables

        return item_tables.read(source, self.column, self.from_text, format=format, column=column)

    def write(
        self, rows: Iterable[Mapping[str, Any]], target: str | Path | IO[bytes], *, format: str | None = None
    ) -> int:
        """Write rows of named values to a file and return their count; by default a table or a list as `read` takes."""
        from molgen.data import item_tables

        return item_tables.write(rows, target, self.column, self.to_text, format=format)

    def from_text(self, text: str) -> Item | Invalid:
        """The item that a cell of a table holds, or why it holds none; by default an item is its text."""
        return text if text else Invalid("there is nothing in this row")

    def to_text(self, item: Item) -> str:
        """An item as the text that `from_text` reads."""
        return str(item)

    def stored(self, item: Item) -> str | bytes:
        """A canonical item as one value of a column: text, or the content of a file; by default as `to_text` has it."""
        return self.to_text(item)

    def from_stored(self, value: str | bytes) -> Item | Invalid:
        """The item that `stored` gave, or why a value holds none."""
        return self.from_text(value) if isinstance(value, str) else Invalid("text was expected, not bytes")

    def pattern(self, text: str) -> Callable[[Item], bool] | Invalid:
        """Whether an item has what a text asks for in a language of the domain, such as SMARTS; or why that is none."""
        return Invalid(f"{type(self).__name__} has no language of patterns")

    def canary(self, rng: np.random.Generator, items: Sequence[Item]) -> Item | Invalid:
        """An item made up at random, valid and in nobody's data, by which it shows what a model remembers.

        Args:
            rng: makes it.
            items: a few real ones, which say how large it may be.
        """
        return Invalid(f"{type(self).__name__} makes up no items")

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a file or folder seems to hold items of this domain, as far as its name and first bytes say."""
        return False

    def draw(self, items: Sequence[Item], legends: Sequence[str] | None = None) -> str:
        """A contact sheet of items as one SVG document."""
        raise ValueError(f"{type(self).__name__} does not draw")

    def audible(self, item: Item) -> bytes | None:
        """A WAV file by which a canonical item can be heard; None, as by default, for what makes no sound."""
        return None

    def in_space(self, item: Item) -> str | None:
        """An entry of an SDF file by which a canonical item can be turned in space; None for what has no positions."""
        return None


@dataclass(frozen=True)
class KnownPart:
    """What all samples have in common when they are asked to contain something.

    Attributes:
        sample: the part; its indices are the first ones of every sample.
        closed: of a symmetric field, which indices of the part have class 0 with all that is not of the part,
            bool (indices,).
        ways: where samples with the part can begin in several ways: each of them, of which no sample has two. A family
            that knows how likely each is draws among them; any other keeps `sample`.
        note: what people should know of the samples, in a line; empty for nothing.
        given: of a field, which places of `sample` are known, bool over its axes; a field without one is known as a
            whole.
        sizes: how large samples are, by the names of variable axes, where that is known as well.
    """

    sample: Sample
    closed: Mapping[str, np.ndarray] = field(default_factory=dict)
    ways: Sequence[Sample] = ()
    note: str = ""
    given: Mapping[str, np.ndarray] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Extent:
    """Where the places along an axis lie in a direction that people measure, such as time in seconds.

    Attributes:
        axis: the name of the axis.
        starts, ends: where each of its places begins and ends, (N,) along the longest axis there can be.
        unit: of both, in the plural; places where nothing else is measured.
    """

    axis: str
    starts: np.ndarray
    ends: np.ndarray
    unit: str = "places"


class Encoder(ABC):
    """Turns items into samples of a space and back; decoding never raises on a sample of the space."""

    molgen_api: ClassVar[int] = API_VERSION
    Config: ClassVar[type] = Config
    #: what a table of generated items is called in a hint; by default as the domain says.
    usual_output: ClassVar[str | None] = None
    #: what `repaired` can do to samples that stand for no item, by name; nothing is repaired unless it is asked for.
    repairs: ClassVar[Collection[str]] = ()
    #: whether an encoded item is decoded as itself; where not, as one that is encoded alike, such as a rounded number.
    lossless: bool = True

    def __init__(self, config: Any = None) -> None:
        self.config = config if config is not None else self.Config()

    @property
    @abstractmethod
    def space(self) -> Space:
        """The fields of a sample."""

    @abstractmethod
    def encode(self, item: Item) -> Sample | Invalid:
        """One item as arrays without a batch dimension, one per field, or why it cannot be.

        A quantised field holds level numbers 0..L-1; the core turns them into the values that networks see.
        """

    def encode_fields(self, item: Item, names: Collection[str]) -> Sample | Invalid:
        """Some fields of one item, for a model that draws all others; by default those of `encode`.

        An encoder says it where the others take time to find, or are not there.
        """
        sample = self.encode(item)
        return sample if isinstance(sample, Invalid) else {name: sample[name] for name in names}

    @abstractmethod
    def decode(self, sample: Sample) -> Item | Invalid:
        """One sample as an item, or why it is none. Never raises on a sample of the space."""

    @property
    def item_seconds(self) -> float | None:
        """Seconds of processor time that one item may take to encode, where that is more than a look at it.

        Training items are then encoded one by one, in workers that may be killed; one that takes longer is left out.
        """
        return None

    def provenance(self, item: Item) -> str:
        """Where what a sample says comes from, where its item does not say it; counted in the card of a model."""
        return ""

    def repaired(self, sample: Sample, name: str) -> Sample:
        """A sample as one of `repairs` leaves it; `decode` gives the result."""
        raise ValueError(f"{type(self).__name__} has no repair {name!r}")

    def known_part(self, item: Item) -> KnownPart | Invalid:
        """What every sample has that begins with, or contains, what `item` says, or why there is no such thing."""
        sample = self.encode(item)
        return sample if isinstance(sample, Invalid) else KnownPart(sample)

    def extents(self) -> Mapping[str, Extent]:
        """Directions along which a part of an item can be drawn anew while the rest is kept, by name.

        By default each ordered axis is one, of the numbers of its places from 0 on.
        """
        import numpy as np

        ordered = [axis for axis in axes(self.space).values() if axis.ordered]
        numbers = {axis.name: np.arange(axis.maximum, dtype=np.float64) for axis in ordered}
        return {name: Extent(name, places, places + 1) for name, places in numbers.items()}

    @classmethod
    def settings_for(cls, items: Iterable[Item]) -> Mapping[str, Any]:
        """Settings that fit some training items, such as the size of pictures, for those that nobody sets."""
        return {}

    def prepare(self, items: Iterable[Item]) -> None:
        """Learn what the encoder needs from the training items (a vocabulary, the largest size)."""

    def state(self) -> dict[str, Any]:
        """What `prepare` learned, as JSON values; it lies in the checkpoint."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
