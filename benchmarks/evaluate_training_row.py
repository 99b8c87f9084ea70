"""The published row of the MOSES training set: all of its molecules against both test sets, by our own metrics.

    python benchmarks/evaluate_training_row.py

It takes hours, and may be stopped at any time: the same command goes on with the chunk where it stood. For each
chunk of the training set the cache keeps the features behind FCD, Frag and Scaf (3 GB in all), which the metrics
read once all are there, and the finished value of SNN, the mean over molecules whose search for neighbours takes
the most time. IntDiv compares all pairs, so it is of 100,000 molecules drawn at random, with its interval.
The published figures are those of `molgen evaluate`'s reports (Polykovskiy et al., Front. Pharmacol. 2020).
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from common import write_result
from comparing import item_set, summary_versions

from molgen import registry
from molgen.atomic_files import replaced_file, write_text
from molgen.config import make_settings
from molgen.data.cache import cache_folder
from molgen.evaluation.evaluate import Evaluation, chosen
from molgen.evaluation.features import FeatureExtractor
from molgen.evaluation.reference_cache import ItemSet, Request, Summaries
from molgen.metric import Chunk, Estimate, Metric, pack_strings, unpack_strings
from molgen_cli.report.published import groups
from molgen_datasets.sources.moses import Moses

#: Metrics of all molecules from stored features; the one that is averaged over chunks; those of a random part.
STORED, AVERAGED, PART = ("FCD", "Frag", "Scaf"), "SNN", ("IntDiv", "IntDiv2")
#: Ends of the names of a chunk's two files; the second appears last.
FEATURES, DONE = "features.npz", "done.json"


def main() -> None:
    """Go on where the last run stopped, and write the result file at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, help="only so many training molecules, for a trial")
    parser.add_argument("--reference-limit", type=int, help="only so many molecules of each test set, for a trial")
    parser.add_argument("--chunk", type=int, default=50_000)
    parser.add_argument("--part", type=int, default=100_000, help="molecules for IntDiv")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--result", default="evaluate-training-row", help="name of the result file")
    args = parser.parse_args()
    row = Row(args)
    row.prepare()
    values = {**row.stored(), **row.averaged(), **row.part()}
    result = {"molecules": row.count, "molecules for IntDiv": min(args.part, row.count), "metrics": values}
    write_result(args.result, result, ("fcd", "scipy"))


@dataclass(frozen=True)
class Comparison:
    """A metric against one test set."""

    label: str
    cls: type[Metric]
    config: Any
    reference: ItemSet

    @property
    def request(self) -> Request:
        """How it has the test set summarised."""
        assert self.cls.reference is not None
        return Request(self.cls.reference, self.config)

    def made(self, summaries: Summaries) -> Metric:
        """The metric, with its reference."""
        return self.cls(self.config, summaries.get(self.request, self.reference))


class Row:
    """The metrics of the training set, chunk by chunk."""

    def __init__(self, args: Namespace) -> None:
        self.args, self.domain = args, registry.get("domain", "molecules")()
        self.count = min(args.limit or math.inf, Moses.splits["train"])
        versions = summary_versions()
        self.summaries = Summaries(self.domain, cache_folder() / "summaries", versions)
        sets = [item_set(name, Moses(), split, args.reference_limit) for name, split in Moses.references.items()]
        self.comparisons = [one for reference in sets for one in self._comparisons(reference)]
        parts = [*sorted(versions.values()), args.chunk, self.count, args.reference_limit or "all"]
        self.folder = cache_folder() / "benchmarks" / "-".join(map(str, ["training-row", *parts]))

    def _comparisons(self, reference: ItemSet) -> Iterator[Comparison]:
        wanted = chosen(self.domain, ("moses",))
        for name in (*STORED, AVERAGED):
            metric, settings = wanted[f"{name}/{{}}"]
            cls: type[Metric] = registry.get("metric", metric)
            config = make_settings(cls.Config, settings, f"metric {metric}")
            yield Comparison(f"{name}/{reference.name}", cls, config, reference)

    # --- chunks -----------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Summarise the test sets and make the chunks, as far as that is not done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for reference in {one.reference.digest: one.reference for one in self.comparisons}.values():
            self.summaries.make(reference, [one.request for one in self.comparisons if one.reference == reference])
        rows = islice(Moses().items("train"), self.count)
        for number, start in enumerate(self._starts()):
            chunk = list(islice(rows, self.args.chunk))
            if not self._file(number, DONE).exists():
                began = time.perf_counter()
                self._make(number, start, chunk)
                print(f"{start + len(chunk):,} of {self.count:,}: {time.perf_counter() - began:.0f} s", flush=True)

    def _starts(self) -> range:
        return range(0, self.count, self.args.chunk)

    def _file(self, number: int, ending: str) -> Path:
        return self.folder / f"{number:04}-{ending}"

    def _make(self, number: int, start: int, rows: list[str]) -> None:
        """Examine one chunk; its features are stored first, then what is finished."""
        averaged = {one.label: one.made(self.summaries) for one in self._named(AVERAGED)}
        needs = {need for one in self.comparisons for need in one.cls.needed(one.config)}
        chunks = []
        with FeatureExtractor(self.domain, needs) as examiner:
            for chunk in examiner.chunks(rows):
                for metric in averaged.values():
                    metric.add(chunk)
                chunks.append(chunk)
        kept = {need for one in self._named(*STORED) for need in one.cls.needed(one.config)}
        save(self._file(number, FEATURES), start, chunks, kept)
        found = {label: metric.estimate(np.random.default_rng(0)) for label, metric in averaged.items()}
        done = {label: {"value": one.value, "count": one.count} for label, one in found.items()}
        write_text(self._file(number, DONE), json.dumps(done) + "\n")

    def _named(self, *names: str) -> list[Comparison]:
        return [one for one in self.comparisons if one.label.partition("/")[0] in names]

    # --- values -----------------------------------------------------------------------------------

    def stored(self) -> dict[str, Any]:
        """The metrics that are made from the features of all chunks."""
        metrics = {one.label: one.made(self.summaries) for one in self._named(*STORED)}
        for number in range(len(self._starts())):
            chunk = load(self._file(number, FEATURES))
            for metric in metrics.values():
                metric.add(chunk)
        return {label: against(label, metric.estimate(self._rng())) for label, metric in metrics.items()}

    def averaged(self) -> dict[str, Any]:
        """The means over all molecules, from the means of the chunks; the interval from how those vary."""
        chunks = [json.loads(self._file(number, DONE).read_text()) for number in range(len(self._starts()))]
        labels = [one.label for one in self._named(AVERAGED)]
        return {label: against(label, pooled([chunk[label] for chunk in chunks])) for label in labels}

    def part(self) -> dict[str, Any]:
        """The metrics of all pairs, of a random part."""
        path = self.folder / f"pairs-{self.args.part}-{self.args.seed}.json"
        if not path.exists():
            rows = list(islice(Moses().items("train"), self.count))
            drawn = random.Random(self.args.seed).sample(rows, min(self.args.part, len(rows)))
            wanted = {label: choice for label, choice in chosen(self.domain, ("moses",)).items() if label in PART}
            figures = Evaluation(self.domain, wanted).evaluate(drawn)
            write_text(path, json.dumps({one.label: against(one.label, one.estimate) for one in figures}) + "\n")
        return json.loads(path.read_text())

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng(self.args.seed)


def save(path: Path, start: int, chunks: list[Chunk], features: set[str]) -> None:
    """Store the features of consecutive portions; arrays as they are, lists as JSON."""
    arrays = {
        "start": np.array(start),
        "valid": np.concatenate([chunk.valid for chunk in chunks]),
        "items": pack_strings([item for chunk in chunks for item in chunk.items]),
    }
    for name in features:
        values = [chunk.features[name] for chunk in chunks]
        if isinstance(values[0], np.ndarray):
            arrays[f"array {name}"] = np.concatenate(values)
        else:
            text = json.dumps([value for part in values for value in part])
            arrays[f"list {name}"] = np.frombuffer(text.encode(), np.uint8)
    with replaced_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def load(path: Path) -> Chunk:
    """The portion that `save` stored."""
    with np.load(path) as arrays:
        items = unpack_strings(arrays["items"])
        features: dict[str, Any] = {}
        for key in arrays.files:
            kind, _, name = key.partition(" ")
            if kind == "array":
                features[name] = arrays[key]
            elif kind == "list":
                features[name] = json.loads(arrays[key].tobytes())
        return Chunk(int(arrays["start"]), arrays["valid"], items, items, features)


def pooled(chunks: list[Mapping[str, float]]) -> Estimate:
    """A mean over items from the means of chunks of them, with 1.96 standard errors on each side."""
    values, counts = (np.array([chunk[name] for chunk in chunks]) for name in ("value", "count"))
    value = float(values @ counts / counts.sum())
    if len(values) < 2:
        return Estimate(value, count=int(counts.sum()))
    side = 1.96 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Estimate(value, value - side, value + side, int(counts.sum()))


def against(label: str, ours: Estimate) -> dict[str, Any]:
    """A value of ours with its interval, beside the published one."""
    (row,) = (row for group in groups("moses") for row in group.rows if row.training)
    printed = row.values[label].value
    return {
        "ours": ours.value,
        "interval": [ours.low, ours.high],
        "published": float(printed),
        "difference": ours.value - float(printed),
        "rounds to the published one": round(ours.value, -int(printed.as_tuple().exponent)) == float(printed),
    }


if __name__ == "__main__":
    main()
