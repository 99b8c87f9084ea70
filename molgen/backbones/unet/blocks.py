"""The parts of a U-Net. Channels come last, and norms are taken over channels only, so no place sees padding.

Letters in shapes: B batch, H and W places along the two directions, C channels, D width of what modulates, P positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from molgen.backbones.unet.resolutions import Pair, fitted
from molgen.layers.attention import Attention, rotation


class Convolution(nn.Conv2d):
    """A convolution that keeps height and width; what lies outside is zero."""

    def __init__(self, inside: int, outside: int, kernel: Pair) -> None:
        super().__init__(inside, outside, kernel, padding=(kernel[0] // 2, kernel[1] // 2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to (B, H, W, D)."""
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Gather(nn.Conv2d):
    """Each patch of places as one place; patches that reach out are filled up with zeros."""

    def __init__(self, inside: int, outside: int, patch: Pair) -> None:
        super().__init__(inside, outside, patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to (B, H / patch, W / patch, D), rounded up."""
        rows, columns = (-(-n // own) * own for n, own in zip(x.shape[1:3], self.kernel_size, strict=True))
        return super().forward(fitted(x, (rows, columns)).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Spread(nn.ConvTranspose2d):
    """Each place as a patch of places: the shape of `Gather` turned round."""

    def __init__(self, inside: int, outside: int, patch: Pair) -> None:
        super().__init__(inside, outside, patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(B, H, W, C) to (B, H * patch, W * patch, D)."""
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def masked(x: Tensor, exists: Tensor | None) -> Tensor:
    """Zero where no place exists."""
    return x if exists is None else torch.where(exists, x, 0.0)


class ResidualBlock(nn.Module):
    """Two convolutions whose sum with the input goes on (He et al., arXiv 1603.05027).

    Between them the channels are scaled and shifted by what modulates: FiLM (Perez et al., arXiv 1709.07871), where
    diffusion networks have it (Dhariwal & Nichol, arXiv 2105.05233, section 3).
    """

    def __init__(self, width: int, kernel: Pair, about: int, share: float) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width, elementwise_affine=False)
        self.read, self.write = Convolution(width, width, kernel), Convolution(width, width, kernel)
        self.modulate, self.dropout = nn.Linear(about, 2 * width), nn.Dropout(share)
        # The block starts as the identity, and so does its modulation.
        for part in (self.write, self.modulate):
            nn.init.zeros_(part.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, x: Tensor, exists: Tensor | None, about: Tensor) -> Tensor:
        """(B, H, W, C) to (B, H, W, C); `about` is (B, D)."""
        scale, shift = self.modulate(about)[:, None, None].chunk(2, dim=-1)
        y = self.read(masked(silu(self.first(x)), exists))
        y = self.dropout(silu(self.second(y) * (1 + scale) + shift))
        return x + self.write(masked(y, exists))


class Mixing(nn.Module):
    """Attention among all places, whose positions along both directions are rotary."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)

    def forward(self, x: Tensor, exists: Tensor | None) -> Tensor:
        """(B, H, W, C) to (B, H, W, C)."""
        rows, columns, width = x.shape[1:]
        positions = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
        turns = rotation(positions, width // self.attention.heads, self.norm.weight)
        mask = None
        if exists is not None:
            # A sample without places reads its first one, because an attention to nothing is not a number.
            first = torch.arange(rows * columns, device=x.device) == 0
            mask = (exists.flatten(1) | first)[:, None, None]
        return x + self.attention(self.norm(x).flatten(1, 2), turns, mask).unflatten(1, (rows, columns))


class Stage(nn.Module):
    """The blocks of one resolution; with attention after each where there are heads."""

    def __init__(self, width: int, kernel: Pair, about: int, count: int, share: float, heads: int = 0) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(width, kernel, about, share) for _ in range(count))
        self.mixing = nn.ModuleList(Mixing(width, heads) for _ in range(count if heads else 0))

    def forward(self, x: Tensor, exists: Tensor | None, about: Tensor) -> Tensor:
        """(B, H, W, C) to (B, H, W, C)."""
        for number, block in enumerate(self.blocks):
            x = block(x, exists, about)
            if self.mixing:
                x = self.mixing[number](x, exists)
        return masked(x, exists)
