"""The settings of networks over points in space."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EquivariantConfig:
    """Which network it is, and its size.

    Attributes:
        kind: `egnn`: scalars and vectors, whose products are dot and cross products; or `e3nn`: tensor products of
            irreducible representations up to `lmax`.
        width: of the scalars of each point.
        layers: blocks.
        vectors: of each point, and for `e3nn` also its tensors of each degree above 1.
        lmax: the highest degree of `e3nn`; 2 sees more of the angles between neighbours and costs several times 1.
        pair_width: of the vector of each pair of points, where fields or outputs over pairs need one.
        radial: waves in which distances are read.
    """

    kind: str = "egnn"
    width: int = 64
    layers: int = 4
    vectors: int = 8
    lmax: int = 1
    pair_width: int = 16
    radial: int = 16

    def __post_init__(self) -> None:
        for name in ("width", "layers", "vectors", "lmax", "pair_width", "radial"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
