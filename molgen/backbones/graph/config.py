"""The settings of the network over graphs."""

from __future__ import annotations

from dataclasses import dataclass

from molgen.backbones.transformer.config import TransformerConfig


@dataclass(frozen=True)
class GraphConfig(TransformerConfig):
    """The size of the network, its kind of layer, and what is counted of the structure.

    Attributes:
        width: of the vector of each node.
        layers: blocks.
        heads: of each attention; each takes an even share of the width.
        dropout: acts on what each part of a block adds to nodes.
        most_elements: generating element by element, where each pair is a token, a larger space is refused.
        pair_width: of the vector of each pair of nodes; memory grows with it times the number of pairs.
        layer: how messages go between nodes: `transformer`, from all and as the pairs between them say; or
            `message_passing`, from those that they are joined to, and from the mean of all.
        features: what is counted of the structure for the network to read: `cycles`, `random_walk`, `spectral`.
            Two nodes are joined where a field of classes over their pair is not of class 0.
        triangles: channels in which messages to a pair go along its triangles, see `Triangles`; 0 stands for none.
    """

    width: int = 128
    pair_width: int = 32
    layer: str = "transformer"
    features: tuple[str, ...] = ()
    triangles: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pair_width < 1:
            raise ValueError(f"pair_width must be at least 1, not {self.pair_width}")
        if self.triangles < 0:
            raise ValueError(f"triangles must be at least 0, not {self.triangles}")
        if len(set(self.features)) < len(self.features):
            raise ValueError(f"features names something twice: {', '.join(self.features)}")
