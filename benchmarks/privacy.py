"""What differential privacy costs and what it hides: one model of strings, without it and at several epsilons.

    python benchmarks/privacy.py

The same recurrent network learns the same molecules of QM9 for the same steps, without privacy and with DP-SGD at each
epsilon. Of each model are written: the share of draws that are molecules, the log-density of held-out molecules, how
well its loss tells training molecules from those (AUC and the true positive rate at 1 % false positives; 0.5 and 0.01
are chance), and the seconds of a step. Training and held-out molecules are drawn at random and are disjoint.
"""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

import numpy as np
from common import write_result

from molgen import GenerativeModel, Part, registry
from molgen.domain import Invalid
from molgen_datasets.audit.membership import density_of
from molgen_datasets.audit.rates import told_apart

NETWORK = {"width": 128, "layers": 1, "embedding": 32}
TRAINING = {"learning_rate": 4e-3, "warmup": 20, "weight_decay": 0.0, "average": 0.95, "validation": 0}
#: Longest gradient of an item. Privacy needs a length; without privacy nothing is clipped so.
CLIPPED = 1.0


def parts(count: int, held: int, seed: int) -> tuple[list[str], list[str]]:
    """Random molecules of QM9: those to learn from, and others."""
    items = list(registry.get("dataset", "qm9")().items("train"))
    order = np.random.default_rng(seed).permutation(len(items))[: count + held]
    chosen = [items[place] for place in order]
    return chosen[:count], chosen[count:]


class Clock:
    """The seconds of a step, without the first one, which builds what the others use."""

    def __init__(self) -> None:
        self._begun: float | None = None
        self._steps = 0
        self._seconds = 0.0

    def __call__(self, progress: object) -> None:
        """Say that a step ended."""
        now = time.perf_counter()
        if self._begun is None:
            self._begun = now
            return
        self._steps, self._seconds = self._steps + 1, now - self._begun

    @property
    def mean(self) -> float:
        """Of all steps but the first."""
        return self._seconds / max(self._steps, 1)


def trained(
    items: list[str], epsilon: float | None, steps: int, batch_size: int, seed: int
) -> tuple[GenerativeModel, float]:
    """A model of the items, and the seconds of one of its steps."""
    encoder, clock = Part("molecules.smiles", {"max_length": 64}), Clock()
    model = GenerativeModel(encoder, "autoregressive", Part("recurrent", dict(NETWORK)))
    private = {} if epsilon is None else {"privacy": {"epsilon": epsilon, "max_grad_norm": CLIPPED}}
    how = {"steps": steps, "batch_size": batch_size, "seed": seed, **TRAINING, **private}
    model.fit(items, progress=clock, **how)
    return model, clock.mean


def figures(model: GenerativeModel, training: list[str], held: list[str], draws: int, seed: int) -> dict[str, Any]:
    """What a model is worth and what it gives away."""
    drawn = [draw.item for draw in model.sample(draws, seed=seed)]
    valid = sum(
        not isinstance(item, Invalid) and not isinstance(model.domain.canonical(item), Invalid) for item in drawn
    )
    (members, _), (others, _) = density_of(model, training[: len(held)]), density_of(model, held)
    known = others[np.isfinite(others)]
    found = told_apart("loss", members, others, np.random.default_rng(seed))
    return {
        "valid of draws": valid / draws,
        "held-out log-density": float(known.mean()),
        "its standard error": float(known.std() / math.sqrt(len(known))),
        "held-out molecules without one": len(others) - len(known),
        "training log-density": float(members[np.isfinite(members)].mean()),
        **{one.label: one.to_json() for one in found},
    }


def main() -> None:
    """Train, draw, score and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--count", type=int, default=4000, help="molecules to learn from")
    add("--held", type=int, default=1000, help="others")
    add("--steps", type=int, default=400)
    add("--batch-size", type=int, default=128)
    add("--epsilons", type=float, nargs="+", default=[1.0, 3.0, 8.0, 30.0])
    add("--draws", type=int, default=1000)
    add("--seed", type=int, default=0)
    add("--result", default="privacy", help="name of the result file")
    args = parser.parse_args()
    training, held = parts(args.count, args.held, args.seed)
    found: dict[str, dict[str, Any]] = {}
    for epsilon in (None, *args.epsilons):
        name = "without privacy" if epsilon is None else f"epsilon {epsilon:g}"
        model, seconds = trained(training, epsilon, args.steps, args.batch_size, args.seed)
        found[name] = {
            **figures(model, training, held, args.draws, args.seed),
            "seconds per step": seconds,
            "privacy": model.info.get("privacy"),
        }
        print(name, found[name]["held-out log-density"], f"{seconds:.3f} s", flush=True)
    write_result(args.result, _record(args) | {"models": found}, ("opacus", "scipy"))


def _record(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "molecules": {"training": args.count, "held out": args.held},
        "network": NETWORK,
        "training": {**TRAINING, "steps": args.steps, "batch_size": args.batch_size, "max_grad_norm": CLIPPED},
        "draws": args.draws,
    }


if __name__ == "__main__":
    main()
