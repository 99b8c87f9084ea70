"""molgen: six generative families over any domain, behind one contract that generates and scores."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from molgen.backbone import Backbone, CausalBackbone
    from molgen.batch import Batch, Partial
    from molgen.domain import Domain, Encoder, Invalid, Record
    from molgen.family import Density, Diagnostics, Family, LogDensity, Loss, Phase
    from molgen.model.generative_model import GenerativeModel
    from molgen.seeding import Rng
    from molgen.space import Axis, Categorical, Real, Space

#: Where each public name lives. Strings, so that `import molgen` costs no numpy and no torch.
_PUBLIC = {
    "Axis": "molgen.space",
    "Backbone": "molgen.backbone",
    "Batch": "molgen.batch",
    "Categorical": "molgen.space",
    "CausalBackbone": "molgen.backbone",
    "Density": "molgen.family",
    "Diagnostics": "molgen.family",
    "Domain": "molgen.domain",
    "Encoder": "molgen.domain",
    "Family": "molgen.family",
    "GenerativeModel": "molgen.model.generative_model",
    "Invalid": "molgen.domain",
    "LogDensity": "molgen.family",
    "Loss": "molgen.family",
    "Partial": "molgen.batch",
    "Phase": "molgen.family",
    "Real": "molgen.space",
    "Record": "molgen.domain",
    "Rng": "molgen.seeding",
    "Space": "molgen.space",
}

__all__ = [
    "Axis",
    "Backbone",
    "Batch",
    "Categorical",
    "CausalBackbone",
    "Density",
    "Diagnostics",
    "Domain",
    "Encoder",
    "Family",
    "GenerativeModel",
    "Invalid",
    "LogDensity",
    "Loss",
    "Partial",
    "Phase",
    "Real",
    "Record",
    "Rng",
    "Space",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value  # the next access finds it without coming here
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_PUBLIC))
