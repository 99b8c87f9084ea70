"""Message passing by torch-geometric, which takes seconds to import: between nodes that are joined.

Letters in shapes: B batch, N nodes of one axis, E stored pairs, D width, P pair width.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch_geometric.nn import GINEConv
from torch_geometric.utils import to_dense_batch

from molgen.backbones.graph.pairs import Pairs


class WeightedGINE(GINEConv):
    """x_i' = f((1 + e) x_i + sum over j of w_ij relu(x_j + W p_ij)): GINE (Hu et al., arXiv 1905.12265) with weights.

    A weight is how far two nodes are joined, so that weights of classes may stand where classes stood, and gradients
    flow to pairs that are not joined.
    """

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, weight: Tensor) -> Tensor:
        """The sums of the messages to nodes, (nodes, D), along edges with vectors (edges, P) and weights (edges,)."""
        # propagate_type: (x: Tensor, edge_attr: Tensor, weight: Tensor)
        messages = self.propagate(edge_index, x=x, edge_attr=edge_attr, weight=weight)
        return self.nn(messages + (1 + self.eps) * x)

    def message(self, x_j: Tensor, edge_attr: Tensor, weight: Tensor) -> Tensor:
        """What passes along each edge, (edges, D)."""
        return weight[:, None] * super().message(x_j, edge_attr)


class Convolution(nn.Module):
    """The same for nodes and pairs as tensors with padding."""

    def __init__(self, width: int, pair_width: int) -> None:
        super().__init__()
        network = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.gine = WeightedGINE(network, train_eps=True, edge_dim=pair_width)

    def forward(self, x: Tensor, pairs: Tensor, places: Pairs) -> Tensor:
        """(B, N, D) and (B, E, P) to (B, N, D), zero in the padding."""
        edges, rows = places.edges, places.nodes.nonzero(as_tuple=True)[0]
        messages = self.gine(x[places.nodes], edges.index, pairs[edges.row, edges.pair], edges.weight.to(x))
        return to_dense_batch(messages, rows, max_num_nodes=places.length, batch_size=len(x))[0]
