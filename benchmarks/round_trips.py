"""Which molecules of whole data sets come back from an encoder as they were, and why the others do not.

    python benchmarks/round_trips.py

Every string of every split is put into canonical form, encoded and decoded; it counts as the same where the canonical
form of what came back is its own, stereochemistry and charges included. What is refused is counted by its reason with
the numbers left out, and each reason has an example. All processor cores take part.
"""

from __future__ import annotations

import argparse
import re
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from common import write_result

from molgen import registry
from molgen.config import Part, settings_of
from molgen.data.encode import make_encoder
from molgen.domain import Encoder, Invalid
from molgen_plugins.molecules.chemistry import rdkit_io as chem

DATA = ("qm9", "zinc250k", "moses")
ENCODERS: Mapping[str, Part] = {
    "SMILES": Part("molecules.smiles"),
    "SELFIES": Part("molecules.selfies"),
    "graph": Part("molecules.graph", {"stereo": "keep"}),
    "graph, aromatic bonds": Part("molecules.graph", {"stereo": "keep", "aromatic": True}),
    "graph, explicit hydrogens": Part("molecules.graph", {"stereo": "keep", "hydrogens": True}),
}
CHUNK = 2000
#: What differs between two molecules that are refused for one reason.
PARTICULARS = re.compile(r"\d+|'[^']*'")


@dataclass
class Outcome:
    """What became of some strings: how many came back the same, and of the others why not, with an example."""

    strings: int = 0
    same: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def refuse(self, item: str, reason: str) -> None:
        """Note one that did not come back the same."""
        reason = PARTICULARS.sub("…", reason)
        self.reasons[reason] += 1
        self.examples.setdefault(reason, item)

    def add(self, other: Outcome) -> None:
        """Note what became of others as well."""
        self.strings += other.strings
        self.same += other.same
        self.reasons += other.reasons
        self.examples = other.examples | self.examples

    def to_json(self) -> dict[str, Any]:
        """The counts, the commonest reason first."""
        others = {
            reason: {"molecules": count, "example": self.examples[reason]}
            for reason, count in self.reasons.most_common()
        }
        return {"molecules": self.strings, "same": self.same, "share": self.same / self.strings, "others": others}


def main() -> None:
    """Go through every data set with every encoder, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", default=DATA)
    parser.add_argument("--encoders", nargs="+", default=list(ENCODERS), choices=ENCODERS)
    parser.add_argument("--limit", type=int, help="only so many strings of each split, for a trial")
    parser.add_argument("--result", default="round-trips", help="name of the result file")
    args = parser.parse_args()
    with ProcessPoolExecutor() as pool:
        found = {name: of_dataset(pool, name, args) for name in args.datasets}
    write_result(args.result, {"data sets": found}, ("selfies",))


def of_dataset(pool: ProcessPoolExecutor, name: str, args: Namespace) -> dict[str, Any]:
    """The outcome of each encoder."""
    found = {}
    for label in args.encoders:
        part = ENCODERS[label]
        cls, config = settings_of("encoder", part)
        encoder: Encoder = cls(config)
        encoder.prepare(strings(name, args.limit))
        outcome = Outcome()
        for some in pool.map(partial(round_trips, part, encoder.state()), chunks(strings(name, args.limit))):
            outcome.add(some)
        found[label] = outcome.to_json()
        print(f"{name}, {label}: {outcome.same:,} of {outcome.strings:,}", flush=True)
    return found


def strings(name: str, limit: int | None) -> Iterator[str]:
    """Those of all splits."""
    dataset = registry.get("dataset", name)()
    for split in dataset.splits:
        yield from islice(dataset.items(split), limit)


def chunks(items: Iterator[str]) -> Iterator[list[str]]:
    """Consecutive items, so many at a time."""
    while some := list(islice(items, CHUNK)):
        yield some


def round_trips(part: Part, state: Mapping[str, Any], items: Sequence[str]) -> Outcome:
    """What becomes of some strings; runs in a worker."""
    return tried(make_encoder(part, state), items)


def tried(encoder: Encoder, items: Sequence[str]) -> Outcome:
    """What becomes of some strings."""
    outcome = Outcome(len(items))
    for item in items:
        reason = loss(encoder, item)
        if reason is None:
            outcome.same += 1
        else:
            outcome.refuse(item, reason)
    return outcome


def loss(encoder: Encoder, item: str) -> str | None:
    """Why a string does not come back as it was; None where it does."""
    expected = chem.canonical(item)
    sample = expected if isinstance(expected, Invalid) else encoder.encode(expected)
    if isinstance(sample, Invalid):
        return sample.reason
    decoded = encoder.decode(sample)
    if isinstance(decoded, Invalid):
        return f"not decoded: {decoded.reason}"
    return None if chem.canonical(decoded) == expected else "comes back as another molecule"


if __name__ == "__main__":
    main()
