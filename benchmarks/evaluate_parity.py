"""Whether our metrics equal those of MOSES and GuacaMol as their own code gives them, on one machine and RDKit.

    python benchmarks/samples.py FOLDER
    python benchmarks/evaluate_parity.py FOLDER --reference-count 20000 --training-count 100000

Both sides get the same raw strings, references and training molecules: random parts of the splits of MOSES, which the
original has to summarise itself. Its code runs unchanged, see `originals/`, and its answers are kept: stopped, the same
command goes on behind the last one. GuacaMol's metrics are of as many rows, and as many molecules of `test`, as its
protocol has. A setting of ours that follows the letter of the original, such as `as_stored`, stands beside the default.
The cosine of the original is also tried on the counts of fragments that its authors published, at sizes where the
integers of today's scipy overflow.
Needs `pip install pandas`.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import math
import random
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from common import write_result
from originals.calling import kept_call
from samples import NAMES, read

from molgen import registry
from molgen.config import make_settings
from molgen.data.cache import cache_folder
from molgen.errors import UsageError
from molgen.evaluation.evaluate import Evaluation, Figure, Wanted, chosen
from molgen.evaluation.reference_cache import ItemSet
from molgen_datasets.sources.moses import Moses

#: The largest relative difference that counts as equal.
TOLERANCE, FCD_TOLERANCE = 1e-6, 1e-3
#: Rows of GuacaMol's protocol, and molecules of its reference.
GUACAMOL = 10_000
#: Our label -> the name of the original, where they differ.
NAMED = {
    "Valid": "valid",
    "Unique@1k": "unique@1000",
    "Unique@10k": "unique@10000",
    **{f"{name}/Test": name for name in ("logP", "SA", "QED", "weight", "KL score", "FCD score")},
}
#: Molecules at which the original's cosine is tried.
SIZES = (10_000, 17_000, 18_000, 20_000, 25_000, 26_000, 30_000)


def main() -> None:
    """Compare the metrics of every file of samples, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the files that samples.py made")
    parser.add_argument("--count", type=int, help="only so many rows of each file")
    parser.add_argument("--reference-count", type=int, default=20_000)
    parser.add_argument("--training-count", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=1, help="worker processes of the original")
    parser.add_argument("--only", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--result", default="evaluate-parity", help="name of the result file")
    args = parser.parse_args()
    sets = {
        "Test": part("test", args.reference_count),
        "TestSF": part("test_scaffolds", args.reference_count),
        "training": part("train", args.training_count),
    }
    found = {name: compared(read(args.folder / f"{name}.csv")[: args.count], sets, args) for name in args.only}
    result = {
        "sets": {name: len(items) for name, items in sets.items()},
        "tolerance": {"FCD": FCD_TOLERANCE, "other": TOLERANCE},
        "outside the tolerance": [f"{name}: {label}" for name, one in found.items() for label in outside(one)],
        "samples": found,
        "cosine of the original on published counts": original("cosine_original.py", {"sizes": SIZES}),
    }
    write_result(args.result, result, ("scipy", "pandas", "fcd"))


def part(split: str, count: int) -> list[str]:
    """A random part of a split of MOSES, the same one each time."""
    rows = list(Moses().items(split))
    return random.Random(0).sample(rows, min(count, len(rows)))


# --- both sides -----------------------------------------------------------------------------------


def compared(rows: Sequence[str], sets: Mapping[str, list[str]], args: Namespace) -> dict[str, Any]:
    """All metrics of one file of samples by both."""
    request = {"gen": rows, "test": sets["Test"], "test_scaffolds": sets["TestSF"], "train": sets["training"]}
    moses = original("moses_original.py", {**request, "n_jobs": args.jobs})
    ours = evaluated("moses", rows, {name: sets[name] for name in ("Test", "TestSF")}, sets["training"])
    few, reference = rows[:GUACAMOL], sets["Test"][:GUACAMOL]
    request = {"generated": few, "reference": reference, "training": sets["training"]}
    guacamol = original("guacamol_original.py", request)
    our_guacamol = evaluated("guacamol", few, {"Test": reference}, sets["training"])
    return {"rows": len(rows), "moses": table(moses, ours), "guacamol": table(guacamol, our_guacamol)}


def original(script: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of an original, asked for once."""
    return kept_call(script, request, cache_folder() / "benchmarks" / "originals")


def evaluated(
    suite: str, rows: Sequence[str], references: Mapping[str, list[str]], training: list[str]
) -> list[Figure]:
    """A suite by our own code, with and without the settings that follow the letter of the original."""
    domain = registry.get("domain", "molecules")()
    evaluation = Evaluation(
        domain,
        with_letter(chosen(domain, (suite,))),
        [item_set(name, items) for name, items in references.items()],
        item_set("training", training),
        cache_folder() / "benchmarks" / "summaries",
    )
    return evaluation.evaluate(rows)


def with_letter(wanted: Wanted) -> Wanted:
    """The metrics, and behind each the same with every setting that is named `as_...` switched on."""
    both: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for label, (name, settings) in wanted.items():
        both[label] = (name, settings)
        fields = dataclasses.fields(registry.get("metric", name).Config)
        for setting in (field.name for field in fields if field.name.startswith("as_")):
            with suppress(UsageError):  # it does not go with the settings of this label
                make_settings(registry.get("metric", name).Config, changed := {**settings, setting: True}, name)
                both[f"{label} {setting}"] = (name, changed)
    return both


def item_set(name: str, items: list[str]) -> ItemSet:
    """Molecules to compare with, found again by their content."""
    return ItemSet(name, lambda: iter(items), hashlib.sha256("\n".join(items).encode()).hexdigest(), len(items))


# --- what they gave -------------------------------------------------------------------------------


def table(original: Mapping[str, Any], ours: Iterable[Figure]) -> dict[str, Any]:
    """What both sides gave, metric by metric, and what the original's took."""
    metrics = {figure.label: entry(original, figure) for figure in ours}
    about = {name: original[name] for name in ("total", "seconds by metric", "warnings", "parts") if name in original}
    return {"metrics": metrics, "original": about}


def entry(original: Mapping[str, Any], figure: Figure) -> dict[str, Any]:
    """One metric: both values, how far they are apart, and whether that is within the tolerance."""
    label = figure.label.partition(" as_")[0]
    name = NAMED.get(label, label)
    theirs, ours = original["metrics"].get(name), _number(figure.estimate.value)
    tolerance = FCD_TOLERANCE if label.startswith("FCD") else TOLERANCE
    difference = None if theirs is None or ours is None else relative(theirs, ours)
    found = {"original": theirs, "ours": ours, "relative difference": difference}
    if name in original["metrics"]:
        # Where the original has no value there is nothing to agree with; ours should have none either.
        found["within"] = difference <= tolerance if difference is not None else theirs is None and ours is None
    notes = {"original's error": original["errors"].get(name), "error": figure.error, "note": figure.estimate.note}
    return found | {key: text for key, text in notes.items() if text}


def outside(found: Mapping[str, Any]) -> list[str]:
    """The metrics of one file that are not within the tolerance."""
    metrics = {**found["moses"]["metrics"], **found["guacamol"]["metrics"]}
    return [label for label, one in metrics.items() if one.get("within") is False]


def relative(theirs: float, ours: float) -> float:
    """The difference as a share of the original's value; of 1 where that is zero."""
    return abs(ours - theirs) / (abs(theirs) or 1.0)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


if __name__ == "__main__":
    main()
