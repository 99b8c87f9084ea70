"""Real molecules for tests: rows of `tests/data/smiles.smi`."""

from __future__ import annotations

from pathlib import Path

#: The folder of files that tests read.
DATA = Path(__file__).parents[1] / "data"
#: SMILES and name of each molecule.
ROWS = [line.split("\t") for line in (DATA / "smiles.smi").read_text().splitlines()]
#: The SMILES alone.
SMILES = [row[0].split()[0] for row in ROWS]
