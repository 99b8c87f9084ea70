"""The tables plugin under every family, beside a Gaussian copula, on real tables that scikit-learn ships.

    pip install --no-deps --no-build-isolation ./tests/third_party/tables
    python benchmarks/tables.py --minutes 0.75

Seven in ten rows are learned from; the columns of 2,000 raw draws, one by one and in pairs, are compared with those of
the other rows (`molgen.metrics.columns`, the similarities of SDMetrics). Beside them: what a copula of normal scores
with the empirical distribution of each column draws, a resample of the training rows (what a sample of this size can
reach, with nothing new in it), and each column drawn by itself (what needs no model of how columns hang together).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from common import write_result
from scipy.special import ndtr, ndtri
from sklearn.datasets import load_diabetes

from molgen import GenerativeModel, Part, registry
from molgen.backbone import default_backbone
from molgen.metrics.columns import columns_of, of_columns, of_pairs
from molgen.testing.fixtures import missing_settings, trained_choices

Rows = list[dict[str, str]]

#: Rows that are drawn, and the share that is learned from.
DRAWS, SHARE = 2000, 0.7
#: Small networks: the tables have some hundred rows.
NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "transformer": {"width": 64, "layers": 3, "heads": 4},
    "recurrent": {"width": 96, "embedding": 32},
}
#: Steps by which the rate of training is measured.
TRIAL_STEPS = 30


def titanic() -> Rows:
    """The 1,309 passengers of the Titanic, with gaps, from the files with which scikit-learn is tested."""
    path = files("sklearn.datasets").joinpath("tests/data/openml/id_40945/data-v1-dl-16826755.arff.gz")
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    start = next(n for n, line in enumerate(lines) if line.lower() == "@data")
    names = [line.split()[1].strip("'") for line in lines[:start] if line.startswith("@attribute")]
    kept = ("pclass", "survived", "sex", "age", "sibsp", "parch", "fare", "embarked")
    rows = [
        dict(zip(names, cells, strict=True)) for cells in csv.reader(lines[start + 1 :]) if len(cells) == len(names)
    ]
    return [{name: "" if row[name] == "?" else row[name] for name in kept} for row in rows]


def diabetes() -> Rows:
    """442 patients in eleven columns of numbers (Efron et al., Ann. Statist. 32, 2004)."""
    found = load_diabetes(scaled=False)
    names = [*found.feature_names, "progression"]
    table = np.column_stack([found.data, found.target])
    return [{name: f"{value:g}" for name, value in zip(names, row, strict=True)} for row in table]


TABLES: Mapping[str, Callable[[], Rows]] = {"titanic": titanic, "diabetes": diabetes}


def cells(rows: Rows) -> list[dict[str, float | str | None]]:
    """The columns of rows as the domain says them."""
    columns = registry.get("domain", "tables")().descriptors().features["columns"]
    return [columns(row) for row in rows]


# --- baselines --------------------------------------------------------------------------------------


def resample(rows: Rows, count: int, rng: np.random.Generator) -> Rows:
    """Training rows, drawn again."""
    return [rows[n] for n in rng.integers(len(rows), size=count)]


def independent(rows: Rows, count: int, rng: np.random.Generator) -> Rows:
    """Each column drawn by itself."""
    columns = {name: rng.choice([row[name] for row in rows], count) for name in rows[0]}
    return [{name: str(column[n]) for name, column in columns.items()} for n in range(count)]


def copula(rows: Rows, count: int, rng: np.random.Generator) -> Rows:
    """A Gaussian copula: normal scores of each column, their correlations, and the empirical quantiles back.

    Classes, and gaps before numbers, take an interval of the uniform scores as wide as they are frequent.
    """
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    marginals = {name: _marginal(column) for name, column in columns.items()}
    scores = np.stack([_scores(columns[name], *marginals[name], rng) for name in columns])
    drawn = rng.multivariate_normal(np.zeros(len(scores)), np.corrcoef(scores), count).T
    found = {name: _values(ndtr(z), *marginals[name]) for name, z in zip(columns, drawn, strict=True)}
    return [{name: column[n] for name, column in found.items()} for n in range(count)]


def _marginal(column: Sequence[str]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The classes, their shares, and the numbers in order, which take what the classes leave."""
    texts = set(column)
    numeric = len(texts - {""}) > 12
    classes = [""] * ("" in texts) if numeric else sorted(texts, key=column.count, reverse=True)
    shares = np.array([column.count(text) / len(column) for text in classes])
    return classes, shares, np.sort([float(cell) for cell in column if cell]) if numeric else np.zeros(0)


def _scores(
    column: Sequence[str], classes: list[str], shares: np.ndarray, numbers: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    edges = np.concatenate([[0.0], np.cumsum(shares)])
    uniform = np.empty(len(column))
    for n, cell in enumerate(column):
        if cell in classes:
            place = classes.index(cell)
            uniform[n] = rng.uniform(edges[place], edges[place + 1])
        else:
            low, high = (np.searchsorted(numbers, float(cell), side) for side in ("left", "right"))
            uniform[n] = edges[-1] + (1 - edges[-1]) * rng.uniform(low, high) / len(numbers)
    return ndtri(uniform.clip(1e-6, 1 - 1e-6))


def _values(uniform: np.ndarray, classes: list[str], shares: np.ndarray, numbers: np.ndarray) -> list[str]:
    edges = np.cumsum(shares)
    full = edges[-1] if len(edges) else 0.0
    found = []
    for u in uniform:
        if len(numbers) and u >= full:
            rank = (u - full) / (1 - full) * len(numbers)
            found.append(repr(float(numbers[min(int(rank), len(numbers) - 1)])))
        else:
            found.append(classes[min(int(np.searchsorted(edges, u, side="right")), len(classes) - 1)])
    return found


# --- families ---------------------------------------------------------------------------------------


def model_of(family: str, bases: Mapping[str, Path]) -> GenerativeModel:
    """A fresh model with a small network; a family over a trained model takes the first of those that serve it."""
    cls = registry.get("family", family)
    network = default_backbone(registry.get("domain", "tables")().space, cls.causal).name
    needed = trained_choices(cls).items()
    settings = {setting: str(next(bases[name] for name in choices if name in bases)) for setting, choices in needed}
    return GenerativeModel("tables", Part(family, settings), Part(network, dict(NETWORKS.get(network, {}))))


def trained(
    family: str, bases: Mapping[str, Path], rows: Rows, minutes: float
) -> tuple[GenerativeModel, dict[str, float]]:
    """A model that learned for so many minutes, and what that took."""
    settings = {"batch_size": 128, "validation": 0, "warmup": 50, "average": 0.99, "learning_rate": 1e-3}
    start = time.perf_counter()
    model_of(family, bases).fit(rows, steps=TRIAL_STEPS, **settings)
    steps = max(TRIAL_STEPS, int(TRIAL_STEPS * minutes * 60 / (time.perf_counter() - start)))
    model, start = model_of(family, bases), time.perf_counter()
    model.fit(rows, steps=steps, **settings)
    return model, {"steps": steps, "minutes": round((time.perf_counter() - start) / 60, 3)}


def drawn_by(model: GenerativeModel, seed: int) -> tuple[Rows, float]:
    """Raw draws, and the seconds that they took."""
    start = time.perf_counter()
    rows = [draw.item for draw in model.sample(DRAWS, seed=seed)]
    return [row for row in rows if isinstance(row, dict)], time.perf_counter() - start


# --- the comparison ---------------------------------------------------------------------------------


def figures(real: Rows, drawn: Rows, training: Rows) -> dict[str, Any]:
    """Mean fidelity of columns and pairs, the worst of each, and the share of draws that are training rows."""
    columns = columns_of(cells(real), cells(drawn))
    weights = np.ones(len(drawn))
    own, pairs = of_columns(columns, weights), of_pairs(columns, weights)
    key = registry.get("domain", "tables")().key
    seen = {key(row) for row in training}
    return {
        "columns": round(float(np.mean(list(own.values()))), 4),
        "pairs": round(float(np.mean(list(pairs.values()))), 4),
        "worst column": min(own, key=own.__getitem__),
        "worst column's": round(min(own.values()), 4),
        "worst pair": min(pairs, key=pairs.__getitem__),
        "worst pair's": round(min(pairs.values()), 4),
        "copies": round(sum(key(row) in seen for row in drawn) / len(drawn), 4),
    }


def compare(name: str, families: Sequence[str], minutes: float, seed: int) -> dict[str, Any]:
    """All figures of one table."""
    rng = np.random.default_rng(seed)
    rows = TABLES[name]()
    order = rng.permutation(len(rows))
    size = int(SHARE * len(rows))
    training, test = ([rows[n] for n in part] for part in (order[:size], order[size:]))
    report = partial(figures, test, training=training)
    found: dict[str, Any] = {"rows": {"training": len(training), "test": len(test), "drawn": DRAWS}}
    for label, draw in (("training rows", resample), ("independent columns", independent), ("Gaussian copula", copula)):
        found[label] = report(draw(training, DRAWS, rng))
    with TemporaryDirectory() as folder:
        bases: dict[str, Path] = {}
        for family in sorted(families, key=lambda one: bool(trained_choices(registry.get("family", one)))):
            model, cost = trained(family, bases, training, minutes)
            bases[family] = Path(folder) / family
            model.save(bases[family])
            drawn, seconds = drawn_by(model, seed)
            found[family] = {**report(drawn), **cost, "seconds of drawing": round(seconds, 2)}
            print(name, family, found[family], flush=True)
    return found


def main() -> None:
    """Compare and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    known = [name for name in registry.names("family") if not missing_settings(registry.get("family", name))]
    parser.add_argument("--families", nargs="*", choices=known, default=known)
    parser.add_argument("--minutes", type=float, default=0.75, help="of training, for each family and table")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--result", default="tables", help="name of the result file")
    args = parser.parse_args()
    found = {name: compare(name, args.families, args.minutes, args.seed) for name in args.tables}
    write_result(args.result, {"minutes": args.minutes, "tables": found}, ("scikit-learn", "scipy"))


if __name__ == "__main__":
    main()
