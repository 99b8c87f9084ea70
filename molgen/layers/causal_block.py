"""A block of a causal transformer.

Letters in shapes: B batch, T tokens, D width.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import dropout

from molgen.layers.attention import Attention, Cache, FeedForward, Rotation


class CausalBlock(nn.Module):
    """Attention to the tokens before, and a network for each token by itself, on normalised inputs.

    Args:
        width: D.
        heads: of the attention.
        layers: how many such blocks follow each other.
        dropout: acts on what each part adds.
    """

    def __init__(self, width: int, heads: int, layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.norms = nn.ModuleList(nn.RMSNorm(width) for _ in range(2))
        self.attention = Attention(width, heads)
        self.feed_forward = FeedForward(width)
        for part in (self.attention, self.feed_forward):
            # The sum over all blocks then starts at the scale of one part (Radford et al. 2019, section 2.3).
            part.write.weight.data /= (2 * layers) ** 0.5

    def forward(self, x: Tensor, turns: Rotation, cache: Cache | None = None, layer: int = 0) -> Tensor:
        """All tokens at once, (B, T, D) to (B, T, D), or one more than a cache holds, (B, 1, D) to (B, 1, D)."""
        normed = self.norms[0](x)
        if cache is None:
            read = self.attention(normed, turns, causal=True)
        else:
            read = self.attention.step(normed, turns, cache, layer)
        x = x + dropout(read, self.dropout, self.training)
        return x + dropout(self.feed_forward(self.norms[1](x)), self.dropout, self.training)
