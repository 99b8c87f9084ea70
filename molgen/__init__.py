"""molgen: generative families over any domain, behind one contract that generates and scores."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from molgen.backbone import Backbone, CausalBackbone, Head
    from molgen.batch import Batch, Partial
    from molgen.config import Part
    from molgen.dataset import Dataset
    from molgen.domain import Descriptors, Domain, Encoder, Extent, Invalid, KnownPart, Record
    from molgen.errors import MolgenError, UsageError
    from molgen.family import Capability, Density, Diagnostics, Family, Generated, Known, LogDensity, Loss, Phase
    from molgen.metric import Chunk, Estimate, Metric, Summary
    from molgen.model.generative_model import GenerativeModel
    from molgen.seeding import Rng
    from molgen.space import Axis, Categorical, Real, Space
    from molgen.training.config import TrainingConfig

#: Where each public name lives. Strings, so that `import molgen` costs no numpy and no torch.
_PUBLIC = {
    "Axis": "molgen.space",
    "Backbone": "molgen.backbone",
    "Batch": "molgen.batch",
    "Capability": "molgen.family",
    "Categorical": "molgen.space",
    "CausalBackbone": "molgen.backbone",
    "Chunk": "molgen.metric",
    "Dataset": "molgen.dataset",
    "Density": "molgen.family",
    "Descriptors": "molgen.domain",
    "Diagnostics": "molgen.family",
    "Domain": "molgen.domain",
    "Encoder": "molgen.domain",
    "Estimate": "molgen.metric",
    "Extent": "molgen.domain",
    "Family": "molgen.family",
    "Generated": "molgen.family",
    "GenerativeModel": "molgen.model.generative_model",
    "Head": "molgen.backbone",
    "Invalid": "molgen.domain",
    "Known": "molgen.family",
    "KnownPart": "molgen.domain",
    "LogDensity": "molgen.family",
    "Loss": "molgen.family",
    "Metric": "molgen.metric",
    "MolgenError": "molgen.errors",
    "Part": "molgen.config",
    "Partial": "molgen.batch",
    "Phase": "molgen.family",
    "Real": "molgen.space",
    "Record": "molgen.domain",
    "Rng": "molgen.seeding",
    "Space": "molgen.space",
    "Summary": "molgen.metric",
    "TrainingConfig": "molgen.training.config",
    "UsageError": "molgen.errors",
}

__all__ = [
    "Axis",
    "Backbone",
    "Batch",
    "Capability",
    "Categorical",
    "CausalBackbone",
    "Chunk",
    "Dataset",
    "Density",
    "Descriptors",
    "Diagnostics",
    "Domain",
    "Encoder",
    "Estimate",
    "Extent",
    "Family",
    "Generated",
    "GenerativeModel",
    "Head",
    "Invalid",
    "Known",
    "KnownPart",
    "LogDensity",
    "Loss",
    "Metric",
    "MolgenError",
    "Part",
    "Partial",
    "Phase",
    "Real",
    "Record",
    "Rng",
    "Space",
    "Summary",
    "TrainingConfig",
    "UsageError",
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
