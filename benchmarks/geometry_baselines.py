"""What the metrics of molecules in space say of real ones, of worse ones, and of none: the frame for every model.

    python benchmarks/geometry_baselines.py --result baselines-qm9-geometry

The test geometries of QM9 have a published stability of 0.990 of the atoms and 0.952 of the molecules (Hoogeboom et
al., ICML 2022). Training geometries are a resample; with noise on each coordinate they say what errors of it cost. The
Gaussian baseline keeps the atoms of a training molecule and draws their positions independently, with the same
spread: whatever a model learns, it must leave that behind. ETKDG is compared with the DFT geometry of each test
molecule, as conformers of a model will be.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from baselines import resampled
from common import write_result
from comparing import TRAINING, entry, figures_of, summary_versions

from molgen.data.cache import cache_folder
from molgen.dataset import Dataset
from molgen.domain import Invalid
from molgen.evaluation.evaluate import Evaluation, chosen
from molgen.evaluation.reference_cache import ItemSet
from molgen_datasets.sources.qm9_geometry import QM9Geometry
from molgen_plugins.molecules.domain import Molecules
from molgen_plugins.molecules.geometry import standard
from molgen_plugins.molecules.geometry.conformer import Conformer
from molgen_plugins.molecules.geometry.embedding import embedded

SUITES = ("edm", "geometry")
#: Seconds for one molecule.
SECONDS = 10


def main() -> None:
    """Measure all of them, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="of each sample; the test set is whole")
    parser.add_argument("--conformers", type=int, default=1000, help="test molecules that ETKDG is given")
    parser.add_argument("--busted", type=int, default=300, help="test molecules that PoseBusters is given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--result", required=True, help="name of the result file")
    args = parser.parse_args()
    data, rng = QM9Geometry(), np.random.default_rng(args.seed)
    scattered = map(standard.scattered, resampled(data, args.count, args.seed))
    training = [atoms for atoms in scattered if atoms is not None]
    samples = {
        "test geometries": data.items("test"),
        "training geometries": training,
        "with noise of 0.05 Å": (noisy(atoms, 0.05, rng) for atoms in training),
        "with noise of 0.1 Å": (noisy(atoms, 0.1, rng) for atoms in training),
        "Gaussian positions": gaussian(training, rng),
    }
    found = {name: figures_of(items, Molecules(), data, SUITES, data.references) for name, items in samples.items()}
    found["test geometries"] |= busted(data, args.busted)
    result = {"count": args.count, "seed": args.seed, "metrics": found, "conformers": conformers(data, args.conformers)}
    write_result(args.result, result, ("posebusters",))


def noisy(atoms: Conformer, width: float, rng: np.random.Generator) -> Conformer:
    """The atoms with noise on each coordinate; their bonds are found anew."""
    return Conformer("", atoms.elements, atoms.positions + width * rng.standard_normal(atoms.positions.shape))


def gaussian(training: list[Conformer], rng: np.random.Generator) -> Iterator[Conformer]:
    """The atoms of each molecule at independent positions with the spread of all training positions."""
    centred = np.concatenate([atoms.positions - atoms.positions.mean(axis=0) for atoms in training])
    spread = float(centred.std())
    for atoms in training:
        yield Conformer("", atoms.elements, spread * rng.standard_normal(atoms.positions.shape))


def every(data: Dataset, count: int) -> list[str]:
    """So many test molecules, spread evenly over the split."""
    items = list(data.items("test"))
    return items[:: max(1, len(items) // count)][:count]


def busted(data: Dataset, count: int) -> dict[str, object]:
    """The share of test molecules that pass PoseBusters."""
    found = figures_of(every(data, count), Molecules(), data, ["molecules.posebusters"], {})
    return {"PoseBusters": found["molecules.posebusters"] | {"rows": count}}


def conformers(data: Dataset, count: int) -> dict[str, object]:
    """How near geometries by ETKDGv3 and MMFF94 are to those of DFT: heavy atoms, one conformer each."""
    reference = [found[0] for text in every(data, count) if not isinstance(found := standard.canonical(text), Invalid)]
    known = ItemSet("DFT", lambda: iter(reference), f"qm9-geometry-conformers-{data.digest(TRAINING)}-{count}", count)
    domain = Molecules()
    wanted = chosen(domain, ["MAT-R", "COV-R"])
    evaluation = Evaluation(domain, wanted, [known], None, cache_folder() / "summaries", summary_versions())
    made = [_embedded(str(one)) for one in reference]
    return {figure.label: entry(figure) for figure in evaluation.evaluate(made)}


def _embedded(smiles: str) -> Conformer | Invalid:
    found = embedded(smiles, SECONDS)
    return found if isinstance(found, Invalid) else standard.conformer_of(*found)


if __name__ == "__main__":
    main()
