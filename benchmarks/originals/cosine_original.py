"""The cosine of molsets 0.3.1 with today's scipy: `python cosine_original.py REQUEST.json ANSWER.json`.

A request holds `sizes`, numbers of molecules. The reference are the counts of fragments that the authors of MOSES
published for their test set. For each size an answer holds two sets against them: the same counts, scaled to
that many molecules, whose cosine is nearly 1, and those with the two commonest fragments exchanged, whose cosine
is not; with what the original's `cos_similarity` gives, or its error, and what is right.

The product of the squared norms of two vectors of int64 overflows at 2^63: since scipy 1.12 they are multiplied as
they are, while scipy before it took means, which are floating point.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import packages
import shims
from clock import Clock


def main(request: Path, answer: Path) -> None:
    """Answer one request."""
    shims.apply()
    packages.add_to_path(packages.MOSES, packages.FCD_TORCH)
    from moses.dataset import get_statistics
    from moses.metrics.metrics import cos_similarity

    statistics = get_statistics("test")
    reference, molecules = dict(statistics["Frag"]["frag"]), len(statistics["SNN"]["fps"])
    found = [
        {"molecules": size, "counts": kind, **tried(cos_similarity, reference, scaled(counts, size / molecules))}
        for kind, counts in (("as in test", reference), ("two commonest exchanged", exchanged(reference)))
        for size in json.loads(request.read_text())["sizes"]
    ]
    answer.write_text(json.dumps(found))


def tried(cos_similarity: Any, reference: Mapping[str, int], counts: Mapping[str, int]) -> dict[str, Any]:
    """What the original's function makes of two sets of counts, and what is right."""
    clock = Clock()
    value = clock.run("cosine", cos_similarity, reference, counts)
    return {
        "right": cosine(reference, counts),
        "original": None if math.isnan(value) else float(value),
        "error": clock.errors.get("cosine", ""),
        "squared norms, multiplied, as a multiple of 2^63": squared(reference) * squared(counts) / 2**63,
    }


def exchanged(counts: Mapping[str, int]) -> dict[str, int]:
    """The counts with those of the two commonest names exchanged."""
    first, second = sorted(counts, key=lambda name: -counts[name])[:2]
    return {**counts, first: counts[second], second: counts[first]}


def scaled(counts: Mapping[str, int], factor: float) -> dict[str, int]:
    """Counts of a set of another size."""
    return {name: round(count * factor) for name, count in counts.items()}


def cosine(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """The cosine of two mappings of counts, whose products are Python's integers."""
    product = sum(count * other.get(name, 0) for name, count in one.items())
    return product / math.sqrt(squared(one) * squared(other))


def squared(counts: Mapping[str, int]) -> int:
    """The squared norm."""
    return sum(int(count) ** 2 for count in counts.values())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
