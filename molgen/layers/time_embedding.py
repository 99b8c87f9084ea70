"""One embedding of time for every network that sees noised samples.

Letters in shapes: B batch, F frequencies, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from molgen.layers.named import NamedModules

#: Pairs of waves, and how much slower the last is than the first (Vaswani et al., arXiv 1706.03762, section 3.5).
WAVES, SLOWEST = 64, 10_000.0
#: Time runs from 0 (data) to 1 (noise); the waves count thousandths.
TICKS = 1000.0


class TimeEmbedding(nn.Module):
    """The time of each field as one vector per row, (B, D); fields may be at times of their own.

    Without a time everything is data: time 0. Without fields there is no time, and one learned vector.
    """

    def __init__(self, fields: Iterable[str], width: int) -> None:
        super().__init__()
        self.read = NamedModules({name: nn.Linear(2 * WAVES, width) for name in fields})
        self.write = nn.Linear(width, width) if self.read else None
        self.timeless = None if self.read else nn.Parameter(torch.zeros(width))

    def forward(self, time: Tensor | Mapping[str, Tensor] | None, rows: int) -> Tensor:
        """The vectors of `rows` rows; `time` is (B,), the same by the name of a field, or None.

        Raises:
            ValueError: a time for a field that the network does not read.
        """
        times = time if isinstance(time, Mapping) else dict.fromkeys(self.read, time)
        if unknown := [name for name in times if name not in self.read]:
            raise ValueError(f"a time for {', '.join(unknown)}, which the network does not read")
        if self.write is None:
            assert self.timeless is not None
            return self.timeless.expand(rows, -1)
        like = self.write.weight
        return self.write(silu(sum(read(_waves(times.get(name), rows, like)) for name, read in self.read.items())))


def _waves(time: Tensor | None, rows: int, like: Tensor) -> Tensor:
    """Sines and cosines of time, (B, 2F)."""
    kind = torch.promote_types(like.dtype, torch.float32)
    steps = torch.arange(WAVES, dtype=kind, device=like.device) / WAVES
    time = torch.zeros(rows, device=like.device) if time is None else time
    angles = TICKS * time.to(steps)[:, None] * SLOWEST**-steps
    return torch.cat([angles.cos(), angles.sin()], dim=-1).to(like)
