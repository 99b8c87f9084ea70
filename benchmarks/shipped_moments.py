"""The moments of ChemNet over the test splits of QM9 and ZINC250k, which ship with the data sets.

    python benchmarks/shipped_moments.py            # compares what ships with what is found now
    python benchmarks/shipped_moments.py --write    # replaces what ships

About two milliseconds a molecule on one core.
"""

from __future__ import annotations

import argparse

import numpy as np

from molgen import registry
from molgen.dataset import Dataset
from molgen.evaluation.features import FeatureExtractor
from molgen.metrics.frechet import FeatureConfig, Moments, Normal
from molgen_datasets import moments

FEATURE, SPLIT = "chemnet", "test"


def main() -> None:
    """Find the moments of each data set, and write or compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", default=["qm9", "zinc250k"])
    parser.add_argument("--write", action="store_true", help="replace the files that ship")
    args = parser.parse_args()
    for name in args.datasets:
        dataset = registry.get("dataset", name)()
        found = _moments(dataset)
        if args.write:
            path = moments.path_of(name, SPLIT)
            moments.write(path, dataset.digest(SPLIT), FEATURE, found.count, found.mean, found.covariance)
        print(name, _distance(found, dataset.published(SPLIT).moments[FEATURE]))


def _moments(dataset: Dataset) -> Moments:
    domain = registry.get("domain", dataset.domain)()
    found = Moments(FeatureConfig(FEATURE))
    rows = 0
    with FeatureExtractor(domain, {FEATURE}) as extractor:
        for chunk in extractor.chunks(dataset.items(SPLIT)):
            extractor.require((FEATURE,))
            found.add(chunk)
            rows += len(chunk.valid)
    if found.count != rows:
        raise SystemExit(f"{rows - found.count} of {rows} items are not valid, so their moments are not published")
    return found


def _distance(found: Moments, shipped: tuple[np.ndarray, np.ndarray]) -> float:
    """The Fréchet distance of what ships to what was found; 0 but for rounding where they are equal."""
    return Normal(*shipped).distance(found.mean, found.covariance)


if __name__ == "__main__":
    main()
