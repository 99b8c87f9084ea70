"""Graphs of molecules as torch-geometric's `Data`, and back; torch-geometric is imported on first use.

A `Data` has, for N atoms and E directed edges (each bond twice):

- `z` (N,), the atomic numbers; `charge` (N,), the formal charges; both int64;
- `edge_index` (2, E) and `edge_attr` (E,), the class of each bond as the encoder numbers it, int64, never 0;
- `hydrogens` (N,), only where an encoder counts hydrogens of aromatic atoms: how many, -1 for those that the valence
  leaves open;
- `chirality` (N,), only with `stereo=keep`: class ids.

Letters in shapes: B molecules, N atoms, E edges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from molgen.batch import Batch, collate
from molgen.domain import Sample
from molgen_plugins.molecules.graph.atoms import parsed
from molgen_plugins.molecules.graph.build import atomic_number
from molgen_plugins.molecules.graph.encoder import Graph

if TYPE_CHECKING:
    from torch_geometric.data import Data

#: Stands for "as many hydrogens as the valence leaves open".
_OPEN = -1
#: What may be missing in a `Data` that others made, and what it then is.
_DEFAULTS = {"charge": 0, "hydrogens": _OPEN, "chirality": 0}


def to_data(encoder: Graph, samples: Batch | Sequence[Sample]) -> list[Data]:
    """Each molecule as a `Data` of its own, atoms in their order.

    Args:
        encoder: that made the samples.
        samples: of its space, or a batch of them.

    Raises:
        ValueError: an atom has the class of a spare row, to which no element belongs.
    """
    batch = samples if isinstance(samples, Batch) else collate(encoder.space, samples)
    table = _table(encoder)
    return [_data(encoder, batch.take(slice(row, row + 1)), table) for row in range(len(batch))]


def _data(encoder: Graph, row: Batch, table: Tensor) -> Data:
    from torch_geometric.data import Data
    from torch_geometric.utils import dense_to_sparse

    size = int(row.sizes["atom"])
    fields = {name: tensor[0].cpu()[(slice(size),) * (tensor.ndim - 1)] for name, tensor in row.fields.items()}
    z, charge, hydrogens = table[fields["atoms"]].unbind(1)
    if (z == 0).any():
        raise ValueError(f"class {int(fields['atoms'][z == 0][0])} is a spare row, to which no element belongs")
    edge_index, edge_attr = dense_to_sparse(fields["bonds"])
    further = {"chirality": fields["chirality"]} if "chirality" in fields else {}
    if encoder.counts_hydrogens:
        further["hydrogens"] = hydrogens
    return Data(z=z, charge=charge, edge_index=edge_index, edge_attr=edge_attr, num_nodes=size, **further)


def from_data(encoder: Graph, graphs: Sequence[Data]) -> Batch:
    """Molecules as one batch of the space of an encoder, atoms in their order.

    A `Data` without charges has neutral atoms. The order of encoded items is another one, see `Graph`: what was not
    made by `to_data` is decoded and encoded again to get it.

    Args:
        encoder: whose classes count.
        graphs: at least one; further attributes are not looked at.

    Raises:
        ValueError: an atom or a bond belongs to no class of the encoder, a molecule has too many atoms, or a bond
            is there in one direction only.
    """
    from torch_geometric.data import Batch as Graphs
    from torch_geometric.utils import to_dense_adj, to_dense_batch

    joined = Graphs.from_data_list([_plain(encoder, graph) for graph in graphs])
    dense, exists = to_dense_batch(joined.atoms, joined.batch)
    sizes = exists.sum(1)
    most = encoder.space["atoms"].axes[0].maximum
    if int(sizes.max()) > most:
        raise ValueError(f"a molecule has {int(sizes.max())} atoms, and this encoder writes {most} at most")
    bonds = to_dense_adj(joined.edge_index, joined.batch, joined.edge_attr, max_num_nodes=dense.shape[1])
    if not torch.equal(bonds, bonds.transpose(1, 2)):
        raise ValueError("every bond must be there in both directions, with one class")
    fields = {"atoms": dense, "bonds": bonds}
    if "chirality" in encoder.space:
        fields["chirality"] = to_dense_batch(joined.chirality, joined.batch)[0]
    return Batch({name: fields[name] for name in encoder.space}, {"atom": sizes})


def _plain(encoder: Graph, graph: Data) -> Data:
    """The attributes that count, checked, with the classes of the atoms."""
    from torch_geometric.data import Data

    z = graph.z.long()
    values = {name: graph.get(name, torch.full_like(z, default)).long() for name, default in _DEFAULTS.items()}
    kinds = torch.stack([z, values["charge"], values["hydrogens"]], 1)
    classes = _classes(_table(encoder))
    atoms = [_class_of(classes, tuple(kind)) for kind in kinds.tolist()]
    bonds = graph.edge_attr.long()
    if bonds.ndim != 1 or (len(bonds) and not 0 < int(bonds.min()) <= int(bonds.max()) < len(encoder.bond_names)):
        raise ValueError(
            f"edge_attr must be class numbers of bonds, shape (E,), from 1 to {len(encoder.bond_names) - 1}: "
            + ", ".join(encoder.bond_names[1:])
        )
    return Data(
        atoms=torch.tensor(atoms),
        chirality=values["chirality"],
        edge_index=graph.edge_index,
        edge_attr=bonds,
        num_nodes=len(atoms),
    )


def _class_of(classes: Mapping[tuple[int, ...], int], kind: tuple[int, ...]) -> int:
    try:
        return classes[kind]
    except KeyError:
        z, charge, _ = kind
        raise ValueError(f"no class of atoms has the atomic number {z} and the charge {charge:+d}") from None


def _table(encoder: Graph) -> Tensor:
    """Atomic number, charge and hydrogens of each class, (classes, 3); the atomic number of a spare row is 0."""
    rows = []
    for name in encoder.atom_names:
        atom = None if name is None else parsed(name)
        hydrogens = _OPEN if atom is None or atom.hydrogens is None else atom.hydrogens
        rows.append([0, 0, _OPEN] if atom is None else [atomic_number(atom.symbol), atom.charge, hydrogens])
    return torch.tensor(rows)


def _classes(table: Tensor) -> dict[tuple[int, ...], int]:
    return {tuple(row): number for number, row in enumerate(table.tolist()) if row[0]}
