"""Canaries: items that no source of data holds, planted in a training file, to be looked for in what a model makes.

A canary that a generator repeats, or finds likelier than others of its kind that were not planted, was remembered from
the training file and from nowhere else.
"""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from molgen.atomic_files import sha256, write_text
from molgen.domain import Domain, Invalid, Item, Record
from molgen.errors import UsageError
from molgen.evaluation.features import FeatureExtractor
from molgen_datasets.audit.sets import RecordSet

FORMAT = 1
#: Real items that canaries are made after, and the made-up items that are tried for each that is wanted.
_MODELS, _TRIES = 1000, 50


@dataclass(frozen=True)
class Canaries:
    """Planted canaries, and others of their kind that were not planted.

    Attributes:
        planted, controls: in canonical form.
        about: how they were planted, JSON values.
    """

    planted: Sequence[Item]
    controls: Sequence[Item]
    about: Mapping[str, Any]

    @classmethod
    def load(cls, path: str | Path, domain: Domain, name: str) -> Canaries:
        """Those that `plant` noted in a file.

        Raises:
            UsageError: there is no such file, or it holds none of this domain.
        """
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
            kept = {side: [_value(one) for one in found[side]] for side in ("planted", "controls")}
            about = {key: value for key, value in found.items() if key not in kept}
            of_domain = about["domain"], about["format"]
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UsageError(f"{path} holds no canaries; molgen dataset canaries writes such files") from error
        if of_domain != (name, FORMAT):
            raise UsageError(f"{path} holds canaries of {of_domain[0]} (format {of_domain[1]}), not of {name}")
        sides = {side: _items(domain, values, path) for side, values in kept.items()}
        return cls(sides["planted"], sides["controls"], about)

    def save(self, path: Path, domain: Domain) -> None:
        """Write them to a file that `load` reads."""
        sides = {"planted": self.planted, "controls": self.controls}
        values = {side: [_stored(domain, item) for item in items] for side, items in sides.items()}
        write_text(path, json.dumps({**self.about, **values}, indent=1) + "\n")


def _stored(domain: Domain, item: Item) -> str | dict[str, str]:
    value = domain.stored(item)
    return value if isinstance(value, str) else {"base64": base64.b64encode(value).decode("ascii")}


def _value(found: Any) -> str | bytes:
    if isinstance(found, str):
        return found
    return base64.b64decode(found["base64"], validate=True)


def _items(domain: Domain, values: Sequence[str | bytes], path: str | Path) -> list[Item]:
    found = [domain.from_stored(value) for value in values]
    found = [item if isinstance(item, Invalid) else domain.canonical(item) for item in found]
    if not found or any(isinstance(item, Invalid) for item in found):
        raise UsageError(f"{path} holds no canaries that this version reads as items")
    return found


# --- planting -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Planting:
    """How many canaries, and where they come from.

    Attributes:
        count: canaries to plant.
        controls: others of their kind that are kept beside, and not planted.
        copies: how often each canary is planted.
        seed: of all randomness.
        source: canaries to take, such as items that were held out; by default the domain makes them up.
    """

    count: int
    controls: int = 500
    copies: int = 1
    seed: int = 0
    source: RecordSet | None = None


def plant(training: RecordSet, target: Path, domain: Domain, name: str, how: Planting) -> Canaries:
    """Write a training file with canaries at random places, and `FILE.canaries.json` beside it, and return them.

    The items of the training file are written in canonical form; rows that hold none are left out.

    Args:
        training: what is learned from.
        target: the file to write, in a format of the domain, or a folder.
        domain: of the items.
        name: its registry name.
        how: see `Planting`.

    Raises:
        UsageError: there are too few canaries, or the training set holds no item.
    """
    keys, models, rows = set[str](), list[Item](), 0
    for item, _ in _rows(training, domain):
        keys.add(domain.key(item))
        models += [item] if len(models) < _MODELS else []
        rows += 1
    if not rows:
        raise UsageError(f"{training.source}: no row of it is an item")
    rng = np.random.default_rng([how.seed, rows])
    found = _distinct(_candidates(how, domain, models, rng), domain, keys, how)
    about = {
        "format": FORMAT,
        "domain": name,
        "count": how.count,
        "copies": how.copies,
        "seed": how.seed,
        "made": how.source is None,
        "training": {"source": training.source, "sha256": training.digest, "rows": rows},
    }
    planted, controls = found[: how.count], found[how.count :]
    added = [item for item in planted for _ in range(how.copies)]
    places = np.sort(rng.integers(0, rows + 1, size=len(added)))
    order = [added[place] for place in rng.permutation(len(added))]
    domain.write(_woven(training, domain, order, places), target)
    canaries = Canaries(planted, controls, {**about, "file": {"name": target.name, "sha256": sha256(target)}})
    canaries.save(notes_of(target), domain)
    return canaries


def notes_of(target: Path) -> Path:
    """Where the canaries of a training file are noted."""
    return target.with_name(f"{target.name}.canaries.json")


def _rows(found: RecordSet, domain: Domain) -> Iterator[tuple[Item, Mapping[str, str]]]:
    """The valid items of a set in canonical form, with what stands beside each."""
    waiting: deque[Record] = deque()

    def items() -> Iterator[Item | Invalid]:
        for record in found.records():
            waiting.append(record)
            yield record.item

    with FeatureExtractor(domain) as extractor:
        for chunk in extractor.chunks(items()):
            good = iter(chunk.items)
            for valid in chunk.valid:
                record = waiting.popleft()
                if valid:
                    yield next(good), record.columns


def _candidates(how: Planting, domain: Domain, models: Sequence[Item], rng: np.random.Generator) -> Iterator[Item]:
    if how.source is not None:
        yield from (item for item, _ in _rows(how.source, domain))
        return
    for _ in range(_TRIES * (how.count + how.controls)):
        item = domain.canary(rng, [models[place] for place in rng.integers(len(models), size=8)])
        if isinstance(item, Invalid):
            raise UsageError(f"{item.reason}; name a file of canaries with --from, such as items that were held out")
        found = domain.canonical(item)
        if not isinstance(found, Invalid):
            yield found


def _distinct(candidates: Iterator[Item], domain: Domain, known: set[str], how: Planting) -> list[Item]:
    """As many different ones as are wanted, none of which is known; of a file, as many controls as it has."""
    wanted, found = how.count + how.controls, dict[str, Item]()
    for item in candidates:
        if (key := domain.key(item)) not in known:
            found.setdefault(key, item)
        if len(found) == wanted:
            break
    least = wanted if how.source is None else how.count + 1
    if len(found) < least:
        whence = how.source.source if how.source is not None else type(domain).__name__
        raise UsageError(f"{whence} gives {len(found):,} different canaries; {least:,} are needed, with controls")
    return list(found.values())


def _woven(
    training: RecordSet, domain: Domain, added: Sequence[Item], places: np.ndarray
) -> Iterator[Mapping[str, Any]]:
    """The rows of the training set with canaries before those of the given numbers, ascending."""
    waiting, names = deque(zip(places.tolist(), added, strict=True)), list[str]()
    for row, (item, columns) in enumerate(_rows(training, domain)):
        names = names or [] if isinstance(item, Mapping) else list(columns)  # a row that is an item has all in it
        while waiting and waiting[0][0] <= row:
            yield _row(domain, waiting.popleft()[1], dict.fromkeys(names, ""))
        yield _row(domain, item, {name: columns.get(name, "") for name in names})
    yield from (_row(domain, item, dict.fromkeys(names, "")) for _, item in waiting)


def _row(domain: Domain, item: Item, columns: Mapping[str, str]) -> Mapping[str, Any]:
    return {domain.column: item, **{name: value for name, value in columns.items() if name != domain.column}}
