"""Conformers of given molecules by a trained model and by ETKDG, against the DFT geometries of QM9's test split.

    molgen train +experiment=qm9_geometry_conformers --output runs/conformers
    python benchmarks/conformers.py runs/conformers --result qm9-conformers

Both are asked for as many conformers of each molecule, given its SMILES alone. MAT-R is the distance of the DFT
geometry to the nearest of the first k of them, over heavy atoms after the best alignment, and COV-R the share of
molecules of which one is within 0.5 Å (Ganea et al., NeurIPS 2021); QM9 has one geometry of each molecule. A conformer
that is no molecule, or another stereoisomer, counts as none; means leave out molecules without any, whose number is
given, and "in common" are the molecules of which all methods have one. Intervals are of 95 % over molecules.
"""

from __future__ import annotations

import argparse
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import write_result
from families import about, options
from geometry_baselines import every
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from molgen.domain import Invalid, Item
from molgen.model.generative_model import GenerativeModel
from molgen_datasets.sources.qm9_geometry import QM9Geometry
from molgen_plugins.molecules.chemistry import rdkit_io as chem
from molgen_plugins.molecules.geometry import standard
from molgen_plugins.molecules.geometry.conformer import Conformer
from molgen_plugins.molecules.metrics.conformers import distance, heavy

#: Ångström within which a geometry is covered.
WITHIN = 0.5
#: Resamples of an interval, and its two ends in percent.
RESAMPLES, ENDS = 1000, (2.5, 97.5)
#: Seconds and steps that RDKit may take for one molecule.
SECONDS, STEPS = 10, 2000
#: Conformers of each molecule, by number, of molecules that are given.
Method = Callable[[Sequence[Conformer]], list[list[Item | Invalid]]]


def main() -> None:
    """Draw, compare, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run, or of a model, that draws positions of molecules")
    parser.add_argument("--count", type=int, default=500, help="test molecules")
    parser.add_argument("--conformers", type=int, default=5, help="of each molecule")
    parser.add_argument("--sampling", nargs="*", default=[], metavar="NAME=VALUE", help="options of sampling")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--result", required=True, help="name of the result file")
    args = parser.parse_args()
    model = GenerativeModel.load(args.run)
    result = {
        "model": about(args.run, model),
        "molecules": args.count,
        "conformers of each": args.conformers,
        "options": options(args.sampling),
        "methods": measured(model, args),
    }
    write_result(args.result, result)


def measured(model: GenerativeModel, args: Namespace) -> dict[str, Any]:
    """The figures of every method, and how long it took."""
    reference = geometries(args.count)
    methods: dict[str, Method] = {
        "model": lambda known: of_model(model, known, args),
        "ETKDGv3": lambda known: [of_etkdg(one, args, relaxed=False) for one in known],
        "ETKDGv3, MMFF94": lambda known: [of_etkdg(one, args, relaxed=True) for one in known],
    }
    distances, seconds = {}, {}
    for name, method in methods.items():
        before = time.process_time()
        made = method(reference)
        seconds[name] = (time.process_time() - before) / (len(reference) * args.conformers)
        distances[name] = np.array(
            [[apart(one, known) for one in own] for own, known in zip(made, reference, strict=True)]
        )
    common = np.all([np.isfinite(own).any(axis=1) for own in distances.values()], axis=0)
    return {
        name: {
            "processor seconds for a conformer": seconds[name],
            "valid": float(np.isfinite(own).mean()),
            **{f"best of {k}": figures(own[:, :k], args.seed) for k in sorted({1, args.conformers})},
            f"best of {args.conformers}, in common": figures(own[common], args.seed),
        }
        for name, own in distances.items()
    }


def geometries(count: int) -> list[Conformer]:
    """DFT geometries of test molecules in canonical form, the smallest first, so that batches pad little."""
    found = [standard.canonical(text) for text in every(QM9Geometry(), count)]
    items = [one[0] for one in found if not isinstance(one, Invalid)]
    return sorted((one for one in items if isinstance(one, Conformer)), key=lambda one: len(one.elements))


# --- methods --------------------------------------------------------------------------------------


def of_model(model: GenerativeModel, reference: Sequence[Conformer], args: Namespace) -> list[list[Item | Invalid]]:
    """What a model draws of each molecule."""
    given = [str(one) for one in reference for _ in range(args.conformers)]
    how = {"seed": args.seed, "batch_size": args.batch_size, **options(args.sampling)}
    drawn = [canonical(one.item) for one in model.sample(len(given), given=given, **how)]
    return [drawn[start : start + args.conformers] for start in range(0, len(drawn), args.conformers)]


def of_etkdg(one: Conformer, args: Namespace, *, relaxed: bool) -> list[Item | Invalid]:
    """Conformers by distance geometry with the torsion preferences of RDKit, relaxed by a force field or not."""
    molecule = Chem.AddHs(chem.parse(str(one)))
    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed, parameters.timeout = args.seed + 1, SECONDS
    with rdBase.BlockLogs():
        ids = list(rdDistGeom.EmbedMultipleConfs(molecule, args.conformers, parameters))
        if relaxed and ids and rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
            rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(molecule, maxIters=STEPS)
    found = [standard.conformer_of(Chem.Mol(molecule, confId=number)) for number in ids]
    return [*found, *[Invalid("no conformer")] * (args.conformers - len(found))]


def canonical(item: Item | Invalid) -> Item | Invalid:
    """The canonical form of a draw."""
    found = item if isinstance(item, Invalid) else standard.canonical(item)
    return found if isinstance(found, Invalid) else found[0]


# --- figures --------------------------------------------------------------------------------------


def apart(item: Item | Invalid, reference: Conformer) -> float:
    """How far a conformer is from the DFT geometry, in ångström; infinite for none of the molecule."""
    same = isinstance(item, Conformer) and str(item) == str(reference)
    return distance(heavy(item), heavy(reference)) if same else np.inf


def figures(distances: np.ndarray, seed: int) -> dict[str, Any]:
    """MAT-R and COV-R of the nearest conformers, distances (molecules, conformers)."""
    best = distances.min(axis=1)
    found = best[np.isfinite(best)]
    return {
        "molecules": len(best),
        "without any": len(best) - len(found),
        "MAT-R": interval(found, lambda some: some.mean(axis=-1), seed),
        "median": interval(found, lambda some: np.median(some, axis=-1), seed),
        "COV-R": interval(found <= WITHIN, lambda some: some.mean(axis=-1), seed),
        "COV-R, none counted as not covered": interval(best <= WITHIN, lambda some: some.mean(axis=-1), seed),
    }


def interval(values: np.ndarray, statistic: Callable[[np.ndarray], Any], seed: int) -> dict[str, Any]:
    """A statistic with its bootstrap interval."""
    if not len(values):
        return {"error": "no molecule has a conformer"}
    rng = np.random.default_rng(seed)
    resampled = statistic(values[rng.integers(len(values), size=(RESAMPLES, len(values)))])
    return {"value": float(statistic(values)), "interval": [float(end) for end in np.percentile(resampled, ENDS)]}


if __name__ == "__main__":
    main()
