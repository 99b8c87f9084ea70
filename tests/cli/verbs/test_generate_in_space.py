"""`molgen generate` of molecules in space: a property is asked for, and fragments keep their places."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import Chem
from scipy.spatial.distance import pdist
from support.folders import lasting_folder

from molgen.config import Part
from molgen.data.conditions import Conditions
from molgen.model.generative_model import GenerativeModel
from molgen_cli.main import main
from molgen_plugins.molecules.domain import Molecules

FAMILIES = {"diffusion": {"categorical": "marginal", "steps": 3}, "flow": {"variant": "matching", "steps": 2}}
ENCODER = {"max_atoms": 20, "elements": ["H", "C", "N", "O"], "bonds": True, "charges": True}
#: Two methyl groups with an attachment point each, 5 Å apart.
PARTS = """two parts
  molgen

 10  8  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 C   0  0
    1.0300    0.3600    0.0000 H   0  0
   -0.5100    0.3600   -0.8900 H   0  0
   -0.5100    0.3600    0.8900 H   0  0
    0.0000   -1.5000    0.0000 *   0  0
    5.0000    0.0000    0.0000 C   0  0
    6.0300    0.3600    0.0000 H   0  0
    4.4900    0.3600   -0.8900 H   0  0
    4.4900    0.3600    0.8900 H   0  0
    5.0000   -1.5000    0.0000 *   0  0
  1  2  1  0
  1  3  1  0
  1  4  1  0
  1  5  1  0
  6  7  1  0
  6  8  1  0
  6  9  1  0
  6 10  1  0
M  END
"""


@cache
def model_of(family: str) -> Path:
    """The folder of a model without training that knows the gap of orbitals as a condition."""
    backbone = Part("equivariant", {"width": 8, "layers": 1, "vectors": 2, "pair_width": 4, "radial": 4})
    model = GenerativeModel(
        Part("molecules.geometry", ENCODER), Part(family, FAMILIES[family]), backbone, conditions=("gap",)
    )
    model.conditions = Conditions.fit({"gap": np.array([0.1, 0.2, 0.4])})
    made = model.build()
    for parameter in (one for one in made.parameters() if not one.any()):  # what is asked for has no weight at first
        torch.nn.init.normal_(parameter, std=0.5)
    model.use(made)
    folder = lasting_folder() / family
    model.save(folder)
    return folder


def drawn(path: Path, family: str, *arguments: str, count: int = 3) -> list[np.ndarray]:
    """The positions of the rows of a new file, molecules or not."""
    command = ["generate", "-m", str(model_of(family)), "-n", str(count), "-o", str(path), "--seed", "5"]
    how = ["--workers", "1", "--properties", "none", "--no-density"]
    assert main([*command, *how, *arguments]) == 0
    texts = [record.item for record in Molecules().read(path)] if path.suffix == ".sdf" else []
    atoms = [Chem.MolFromMolBlock(text, sanitize=False, removeHs=False) for text in texts]
    return [one.GetConformer().GetPositions() for one in atoms]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_property_is_asked_for(family, tmp_path, rows_of):
    low, high = (drawn(tmp_path / f"{gap}.sdf", family, "--condition", f"gap={gap}") for gap in (0.1, 0.4))
    same = (one.shape == other.shape and np.allclose(one, other) for one, other in zip(low, high, strict=True))
    assert not all(same)
    drawn(tmp_path / "rows.csv", family, "--condition", "gap=0.1", count=1)
    assert [row["condition_gap"] for row in rows_of(tmp_path / "rows.csv")] == ["0.1"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["a linker of two parts", "a part to grow"])
def test_fragments_keep_their_places(family, kind, tmp_path):
    part = tmp_path / "parts.sdf"
    part.write_text(PARTS)
    asked = str(part) if kind.startswith("a linker") else "c1ccccc1*"
    known = GenerativeModel.load(model_of(family)).encoder.known_part(PARTS if asked == str(part) else asked)
    count = len(known.sample["atoms"])
    for one in drawn(tmp_path / "new.sdf", family, "--scaffold", asked):
        assert len(one) >= count
        np.testing.assert_allclose(pdist(one[:count]), pdist(known.sample["positions"]), atol=2e-3)
