"""Where the time of drawing molecules goes: the network, the grammar, the choice, decoding.

    python benchmarks/sampling_profile.py --model moses --label "what the run is called"

Writes processor seconds on one thread for each part: of the first draws of a process, in which the grammar meets every
beginning for the first time, and of as many after them. A run stands beside the earlier ones of the result file.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, write_result

from molgen.families.autoregressive import Autoregressive
from molgen.families.parts.grammar import RowStates
from molgen.model.generative_model import GenerativeModel

NAME = "sampling-profile"


def main() -> None:
    """Draw twice and write the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="moses", help="a folder or an embedded model (default: moses)")
    parser.add_argument("--count", type=int, default=4096, help="draws of each of the two times (default: 4096)")
    parser.add_argument("--batch-size", type=int, default=1024, help="draws at a time (default: 1024)")
    parser.add_argument("--label", default="", help="what the run is called in the file (default: the model's name)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = GenerativeModel.load(args.model)
    spent = Spent()
    spent.watch(type(model.family.backbone), "step", "network")
    spent.watch(RowStates, "apply", "grammar: masks")
    spent.watch(RowStates, "read", "grammar: next states")
    spent.watch(Autoregressive, "_choose", "choice")
    spent.watch(Autoregressive, "sample", "rest of the loop")
    spent.watch(type(model.encoder), "decode", "decoding")
    times = {"first draws": 0, "later draws": args.count}
    found = {name: spent.of(partial(draw, model, args, first)) for name, first in times.items()}
    path = RESULTS / f"{NAME}.json"
    runs = json.loads(path.read_text())["runs"] if path.exists() else {}
    runs[args.label or Path(args.model).name] = {"count": args.count, "batch size": args.batch_size, **found}
    write_result(NAME, {"runs": runs})


def draw(model: GenerativeModel, args: argparse.Namespace, first: int) -> int:
    """How many tokens some draws have."""
    drawn = model.sample(args.count, seed=1, first=first, batch_size=args.batch_size)
    return sum(len(each.sample["tokens"]) for each in drawn)


class Spent:
    """Processor seconds in the innermost of the watched functions that is running."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.running: list[str] = ["the rest"]
        self.since = time.process_time()

    def watch(self, owner: Any, name: str, part: str) -> None:
        """Count what a function spends as that of a part."""
        function: Callable[..., Any] = getattr(owner, name)

        def watched(*args: Any, **options: Any) -> Any:
            self._turn()
            self.running.append(part)
            try:
                return function(*args, **options)
            finally:
                self._turn()
                self.running.pop()

        setattr(owner, name, watched)

    def _turn(self) -> None:
        now = time.process_time()
        self.seconds[self.running[-1]] += now - self.since
        self.since = now

    def of(self, work: Callable[[], int]) -> dict[str, Any]:
        """The seconds of each part while something is done, and how many tokens came of it."""
        self._turn()
        self.seconds.clear()
        tokens = work()
        self._turn()
        parts = {part: round(seconds, 3) for part, seconds in self.seconds.most_common()}
        return {"tokens": tokens, "seconds": round(sum(self.seconds.values()), 3), "parts": parts}


if __name__ == "__main__":
    main()
