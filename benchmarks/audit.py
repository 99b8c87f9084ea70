"""Whether an audit tells a generator that remembers from one that does not, on real molecules.

    python benchmarks/audit.py

Five thousand molecules of QM9 are learned from, with a hundred canaries among them, as many are held out, as many are
drawn from the data by themselves, and as many make the reference model; all of them are drawn at random and disjoint.

- The memorising model is a recurrent network that goes through its molecules until it knows them by heart. It must be
  shown: membership AUC 0.9 or more, canaries found.
- The independent draws come from the data and from no model, as those of a perfect generator would; the model beside
  them, the reference model above, learned other molecules, and not by heart. Nothing may be shown: the share closer to
  the training molecules lies within its null interval, every AUC within 0.02 of a half.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from common import write_result

from molgen import GenerativeModel, Part, registry
from molgen.domain import Invalid
from molgen_datasets.audit import Audit, Planting, Settings, audit, plant
from molgen_datasets.audit.sets import open_set

#: Of the memorising model and of the reference model alike.
NETWORK = {"width": 192, "layers": 1, "embedding": 64}
TRAINING = {
    "batch_size": 128,
    "learning_rate": 4e-3,
    "warmup": 50,
    "weight_decay": 0.0,
    "average": 0.95,
}
#: How far an area may be from a half.
FAIR = 0.02


def parts_of(count: int, seed: int) -> list[list[str]]:
    """Four disjoint random parts of QM9, of so many molecules each."""
    items = list(registry.get("dataset", "qm9")().items("train"))
    order = np.random.default_rng(seed).permutation(len(items))
    return [[items[n] for n in order[k * count : (k + 1) * count]] for k in range(4)]


def written(path: Path, items: Sequence[str]) -> Path:
    """A list of molecules."""
    path.write_text("\n".join(items) + "\n", encoding="utf-8")
    return path


def trained(path: Path, steps: int, folder: Path, seed: int) -> GenerativeModel:
    """A model of a file; it is saved, so that it has a digest."""
    encoder = Part("molecules.smiles", {"max_length": 64})
    model = GenerativeModel(encoder, "autoregressive", Part("recurrent", dict(NETWORK)))
    model.fit(path, steps=steps, seed=seed, validation=0, **TRAINING)
    model.save(folder)
    return GenerativeModel.load(folder)


def figures(found: Audit) -> dict[str, dict[str, Any]]:
    """What the audit found of copies, membership and canaries, by its labels."""
    names = ("value", "low", "high", "null", "above_null", "control", "count")
    kept = [section for section in found.sections if section.name in ("closeness", "membership", "canaries")]
    values = [one.to_json() for section in kept for one in section.findings]
    return {one["label"]: {name: one[name] for name in names} for one in values}


def verdict(remembers: dict[str, Any], independent: dict[str, Any]) -> dict[str, bool]:
    """Whether the figures are as they must be."""
    areas = [one["value"] for label, one in independent.items() if label.endswith(": AUC")]
    closer = independent["closer to training than to holdout"]
    low, high = closer["null"]
    return {
        "memorising: membership AUC 0.9 or more": remembers["loss: AUC"]["value"] >= 0.9,
        "memorising: canaries made again": remembers["canaries made again"]["above_null"],
        "memorising: canaries exposed": remembers["exposure in bits"]["above_null"],
        "memorising: closer to training": remembers["closer to training than to holdout"]["above_null"],
        "independent: closer within its null interval": low <= closer["value"] <= high,
        f"independent: every AUC within {FAIR} of a half": all(abs(area - 0.5) <= FAIR for area in areas),
    }


class Laps:
    """The seconds that each step took."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str) -> None:
        """Say that a step ended."""
        now = time.perf_counter()
        self.seconds[name], self._last = round(now - self._last, 1), now
        print(name, self.seconds[name], flush=True)


def sets(folder: Path, args: argparse.Namespace) -> dict[str, Path]:
    """Files of the four parts, and of the training part with canaries."""
    names = ("train", "holdout", "independent", "other")
    parts = parts_of(args.count, args.seed)
    found = {name: written(folder / f"{name}.smi", items) for name, items in zip(names, parts, strict=True)}
    domain = registry.get("domain", "molecules")()
    found["planted"] = folder / "planted.smi"
    training = open_set(str(found["train"]), domain, "molecules")
    plant(training, found["planted"], domain, "molecules", Planting(args.canaries, 500, seed=args.seed))
    return found


def audits(folder: Path, args: argparse.Namespace, lap: Laps) -> tuple[dict[str, Audit], int]:
    """Both audits, and how many draws of the memorising model are read as molecules."""
    found = sets(folder, args)
    lap("data and canaries")
    memorising = trained(found["planted"], args.steps, folder / "memorising", args.seed)
    lap("training the memorising model")
    reference = trained(found["other"], args.reference_steps, folder / "reference", args.seed + 1)
    lap("training the reference model")
    draws = [draw.item for draw in memorising.sample(args.draws, seed=args.seed)]
    valid = [item for item in draws if not isinstance(item, Invalid)]
    drawn = written(folder / "drawn.smi", valid)
    lap("drawing")
    how = Settings(most=args.count, metrics=None, use=False, seed=args.seed)
    fair = audit(
        found["independent"], found["train"], found["holdout"], domain="molecules", model=reference, settings=how
    )
    lap("auditing independent draws")
    remembers = audit(
        drawn,
        found["planted"],
        found["holdout"],
        domain="molecules",
        model=memorising,
        reference_model=reference,
        canaries=f"{found['planted']}.canaries.json",
        settings=how,
    )
    lap("auditing the memorising model")
    return {"memorising model": remembers, "independent draws": fair}, len(valid)


def main() -> None:
    """Train, draw, audit and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5000, help="molecules of each part")
    parser.add_argument("--canaries", type=int, default=100)
    parser.add_argument("--steps", type=int, default=2400, help="of the memorising model")
    parser.add_argument("--reference-steps", type=int, default=300, help="of the reference model")
    parser.add_argument("--draws", type=int, default=10_000, help="of the memorising model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--result", default="audit", help="name of the result file")
    args = parser.parse_args()
    lap = Laps()
    with TemporaryDirectory() as temporary:
        made, valid = audits(Path(temporary), args, lap)
    found = {name: figures(one) for name, one in made.items()}
    write_result(
        args.result,
        {
            "molecules of each part": args.count,
            "canaries": args.canaries,
            "network": NETWORK,
            "training": {**TRAINING, "steps": args.steps, "reference steps": args.reference_steps},
            "draws": {"all": args.draws, "read as molecules": valid},
            "seconds": lap.seconds,
            **found,
            "as they must be": verdict(*found.values()),
        },
        ("scikit-learn", "scipy"),
    )


if __name__ == "__main__":
    main()
