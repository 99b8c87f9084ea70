"""The second of two stages: a model without training that draws positions of given molecules; made in a second."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from support.folders import lasting_folder

from molgen.config import Part
from molgen.model.generative_model import GenerativeModel

#: What is given to it.
GRAPH = ("atoms", "charges", "bonds", "stereo")


@cache
def positions_model(rest: str = "flow") -> Path:
    """The folder of the model."""
    settings = {"max_atoms": 14, "elements": ["H", "C", "N", "O"], "bonds": True, "charges": True, "stereo": True}
    family = Part("conditional", {"given": list(GRAPH), "rest": rest, "rest_settings": {"steps": 2}})
    backbone = Part("equivariant", {"width": 8, "layers": 1, "vectors": 2, "pair_width": 4, "radial": 4})
    model = GenerativeModel(Part("molecules.geometry", settings), family, backbone)
    model.use(model.build())
    folder = lasting_folder() / "positions"
    model.save(folder)
    return folder
