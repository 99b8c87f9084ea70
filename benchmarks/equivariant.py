"""What networks over points in space cost: by kind and degree, by the number of atoms, and by their parts.

    OMP_NUM_THREADS=1 python benchmarks/equivariant.py

A step is a forward and a backward pass of 32 molecules of 18 atoms, with random weights, in processor seconds of one
thread, so that other jobs on the machine count little; each is the least of several.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from common import write_result
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from molgen.backbone import Head
from molgen.backbones.equivariant.config import EquivariantConfig
from molgen.backbones.equivariant.network import Equivariant
from molgen.batch import Batch
from molgen.space import Axis, Categorical, Real

ROWS, ATOMS = 32, 18
ATOM = Axis("atom", 64, ordered=False)
SPACE = {
    "atoms": Categorical((ATOM,), classes=5),
    "positions": Real((ATOM,), channels=(3,), centred=True, rotates=True),
}
HEADS = {"atoms": Head(5, (ATOM,)), "positions": Head(3, (ATOM,), rotates=True)}
KINDS = {
    "egnn": {"kind": "egnn"},
    "e3nn, l = 1": {"kind": "e3nn", "lmax": 1},
    "e3nn, l = 2": {"kind": "e3nn", "lmax": 2},
}


def main() -> None:
    """Measure, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=64)
    args = parser.parse_args()
    size = {"layers": args.layers, "width": args.width}
    by_kind = {name: milliseconds(step(own | size, ATOMS), args.repeats) for name, own in KINDS.items()}
    by_vectors = {
        str(count): milliseconds(step(KINDS["egnn"] | size | {"vectors": count}, ATOMS), args.repeats)
        for count in (4, 8, 16)
    }
    by_atoms = {
        name: {str(n): milliseconds(step(KINDS[name] | size, n), args.repeats) for n in (9, 18, 36, 60)}
        for name in ("egnn", "e3nn, l = 1")
    }
    write_result(
        "equivariant",
        {
            "rows": ROWS,
            "atoms": ATOMS,
            **size,
            "parameters": {name: parameters(own | size) for name, own in KINDS.items()},
            "ms_by_kind": by_kind,
            "ms_by_vectors_egnn": by_vectors,
            "ms_by_atoms": by_atoms,
            "share_of_forward_e3nn": {name: shares(KINDS[name] | size) for name in ("e3nn, l = 1", "e3nn, l = 2")},
        },
    )


def network(settings: dict[str, object]) -> Equivariant:
    torch.manual_seed(0)
    return Equivariant(SPACE, HEADS, EquivariantConfig(**settings))  # type: ignore[arg-type]


def parameters(settings: dict[str, object]) -> int:
    return sum(parameter.numel() for parameter in network(settings).parameters())


def batch(atoms: int) -> Batch:
    at = torch.randn(ROWS, atoms, 3)
    fields = {"atoms": torch.randint(5, (ROWS, atoms)), "positions": at - at.mean(1, keepdim=True)}
    return Batch(fields, {"atom": torch.full((ROWS,), atoms)})


def step(settings: dict[str, object], atoms: int) -> Callable[[], None]:
    made, sample, time_of_rows = network(settings), batch(atoms), torch.rand(ROWS)

    def run() -> None:
        made.zero_grad()
        outputs = made(sample, time_of_rows, None)
        torch.stack([output.square().sum() for output in outputs.values()]).sum().backward()

    return run


def milliseconds(run: Callable[[], None], repeats: int) -> float:
    """The least processor time of some runs, after one that warms up."""
    times = []
    for _ in range(repeats + 1):
        before = time.process_time()
        run()
        times.append(time.process_time() - before)
    return round(1000 * min(times[1:]), 1)


def shares(settings: dict[str, object]) -> dict[str, float]:
    """Which share of the forward pass each part of the blocks takes."""
    made, sample = network(settings), batch(ATOMS)
    named = {"tensor products": "product", "weights of products": "weights", "messages": "messages"}
    named |= {"mixing of channels": "before", "and after": "after", "own": "own", "write": "write", "gates": "gate"}
    for block in made.core.blocks:
        for label, attribute in named.items():
            part = getattr(block, attribute)
            part.forward = _recorded(label, part.forward)
    for _ in range(2):
        made(sample, None, None)
    with profile(activities=[ProfilerActivity.CPU]) as found, torch.no_grad(), record_function("all"):
        made(sample, None, None)
    events: dict[str, FunctionEvent] = {event.key: event for event in found.key_averages()}
    whole = events["all"].cpu_time_total
    shares = {label: events[label].cpu_time_total / whole for label in named}
    mixing = sum(shares.pop(label) for label in ("mixing of channels", "and after", "own", "write"))
    shares = {**shares, "mixing of channels": mixing}
    return {label: round(share, 3) for label, share in {**shares, "rest": 1 - sum(shares.values())}.items()}


def _recorded(label: str, forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def run(*args: object, **kwargs: object) -> torch.Tensor:
        with record_function(label):
            return forward(*args, **kwargs)

    return run


if __name__ == "__main__":
    main()
