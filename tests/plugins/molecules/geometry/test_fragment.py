"""Parts in space: what is kept of them, and where something new may come."""

from types import SimpleNamespace

import numpy as np
import pytest
from rdkit import Chem

from molgen.domain import Invalid
from molgen.errors import UsageError
from molgen_cli.kept import item_named
from molgen_plugins.molecules.domain import Molecules
from molgen_plugins.molecules.geometry.encoder import Geometry, GeometryConfig

#: Two parts to link, at places of their own: a methyl and a hydroxyl group, each with an attachment point.
TWO_PARTS = """
  two parts

  8  6  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 C   0  0
    0.0000    1.0300   -0.3600 H   0  0
    0.8900   -0.5100   -0.3600 H   0  0
   -0.8900   -0.5100   -0.3600 H   0  0
    0.0000    0.0000    1.5000 *   0  0
    4.0000    0.0000    0.0000 O   0  0
    4.9000    0.0000   -0.3000 H   0  0
    3.3000    0.0000    1.0000 *   0  0
  1  2  1  0
  1  3  1  0
  1  4  1  0
  1  5  1  0
  6  7  1  0
  6  8  1  0
M  END
"""


def encoder(**settings):
    return Geometry(GeometryConfig(**{"bonds": True, **settings}))


def test_a_part_is_given_positions_and_is_open_at_its_points():
    known = encoder().known_part("c1ccc(cc1*)*")
    atoms, closed = known.sample["atoms"], known.closed["bonds"]
    symbols = [encoder().symbols[number] for number in atoms]
    assert symbols == ["C"] * 6 + ["H"] * 4
    assert (~closed).sum() == 2
    assert closed[6:].all()  # the hydrogens
    orders = known.sample["bonds"]
    assert orders[~closed].sum(1).tolist() == [3, 3]  # one bond is left to each
    assert known.note == "2 of its 10 atoms may be grown"
    lengths = np.linalg.norm(known.sample["positions"][:6, None] - known.sample["positions"][None, :6], axis=-1)
    assert 1.3 < lengths[orders[:6, :6] > 0].min() < 1.45


def test_parts_of_a_file_keep_their_places():
    known = encoder().known_part(TWO_PARTS)
    positions = known.sample["positions"]
    assert [encoder().symbols[number] for number in known.sample["atoms"]] == ["C", "O", "H", "H", "H", "H"]
    assert np.linalg.norm(positions[0] - positions[1]) == pytest.approx(4.0, abs=1e-5)
    assert known.closed["bonds"].tolist() == [False, False, True, True, True, True]
    assert known.sample["bonds"][0, 1] == 0


def test_without_bonds_as_a_field_nothing_is_closed_and_no_atom_is_fake():
    known = encoder(bonds=False, fake_atoms=8).known_part(TWO_PARTS)
    assert known.closed == {}
    assert len(known.sample["atoms"]) == 6


def test_a_file_without_points_is_open_everywhere():
    block = "\n".join(line for line in TWO_PARTS.splitlines() if "*" not in line)
    block = block.replace("  8  6", "  6  4").replace("  1  5  1  0\n", "").replace("  6  8  1  0\n", "")
    block = block.replace("  6  7  1  0", "  5  6  1  0")
    known = encoder().known_part(block)
    assert not known.closed["bonds"].any()


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("c1ccccc1", "a part without positions needs an attachment point"),
        ("*C.C*", "several parts need positions"),
        ("C*C", "an attachment point has exactly one bond"),
        ("C1*", "unclosed ring 1"),
        (7, "a part is the text of a molecule file"),
        ("*", "attachment points only"),
        ("2\n\nC 0 0 0\nO 0 0 1.4\n", "the file names no bonds"),
        (Chem.MolToMolBlock(Chem.MolFromSmiles("CC")), "it has no positions in space"),
        ("C" * 40 + "*", "more than the 64 atoms"),
    ],
)
def test_what_is_no_part_says_why(item, reason):
    found = encoder().known_part(item)
    assert isinstance(found, Invalid)
    assert reason in found.reason


def test_the_command_takes_a_part_from_a_file(tmp_path):
    path = tmp_path / "parts.sdf"
    path.write_text(f"{TWO_PARTS}$$$$\n")
    model = SimpleNamespace(domain=Molecules())
    assert not isinstance(encoder().known_part(item_named("--scaffold", str(path), model)), Invalid)
    assert item_named("--scaffold", "c1ccccc1*", model) == "c1ccccc1*"
    path.write_text("")
    with pytest.raises(UsageError, match="is empty"):
        item_named("--scaffold", str(path), model)
