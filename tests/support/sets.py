"""Small data sets in a second each: models are loaded once for all tests, and molecules inspected in this process."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sets that this process makes load each model once, and start no process to inspect."""
    from molgen_datasets.synthetic import worker
    from molgen_datasets.synthetic.models import models_of
    from molgen_plugins.molecules.domain import Molecules

    monkeypatch.setattr(Molecules, "inspector", None)
    monkeypatch.setattr(worker, "load_models", lambda recipe, device: models_of(recipe, _loaded))


@cache
def _loaded(name: str) -> Any:
    import torch

    from molgen.model.generative_model import GenerativeModel

    torch.set_num_threads(1)
    return GenerativeModel.load(name)
