"""A network that predicts a measured property of molecules, so that those that nobody has computed can be judged.

Attentive FP (Xiong et al., J. Med. Chem. 2020) as torch-geometric has it, over the graphs of its `from_smiles`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn.models import AttentiveFP
from torch_geometric.utils import from_smiles

WIDTH, LAYERS, READOUTS = 96, 3, 2
BATCH, LEARNING_RATE = 128, 3e-3


class PropertyNetwork:
    """Fitted once, then a prediction for any SMILES string.

    Args:
        smiles: of the molecules that it learns from.
        values: the property of each.
        epochs: passes over them; the learning rate falls to zero along one cycle.
        seed: of the weights and of the order.
    """

    def __init__(self, smiles: Sequence[str], values: Sequence[float], epochs: int, seed: int = 0) -> None:
        torch.manual_seed(seed)
        known = np.asarray(values, dtype=np.float64)
        self.mean, self.scale = float(known.mean()), float(known.std())
        graphs = [_graph(one, value) for one, value in zip(smiles, (known - self.mean) / self.scale, strict=True)]
        self.network = AttentiveFP(9, WIDTH, 1, 3, LAYERS, READOUTS)
        loader = DataLoader(graphs, BATCH, shuffle=True)
        optimiser = torch.optim.AdamW(self.network.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, epochs * len(loader))
        for _ in range(epochs):
            for batch in loader:
                optimiser.zero_grad()
                (self._scaled(batch) - batch.y).abs().mean().backward()
                optimiser.step()
                schedule.step()
        self.network.eval()

    @torch.no_grad()
    def predict(self, smiles: Sequence[str]) -> np.ndarray:
        """The property of each molecule, (N,)."""
        graphs = [_graph(one) for one in smiles]
        parts = [
            self._scaled(Batch.from_data_list(graphs[k : k + BATCH])).numpy() for k in range(0, len(graphs), BATCH)
        ]
        return np.concatenate([np.zeros(0), *parts]) * self.scale + self.mean

    def _scaled(self, batch: Batch) -> Tensor:
        inputs = batch.x.float(), batch.edge_index, batch.edge_attr.float(), batch.batch
        found: Tensor = self.network(*inputs)
        return found.flatten()


def _graph(smiles: str, value: float = 0.0) -> Data:
    graph = from_smiles(smiles)
    graph.y = torch.tensor([value], dtype=torch.float32)
    return graph
