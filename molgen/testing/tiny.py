"""Small settings: what makes a class quick enough to be checked.

A class says which of its settings make it small in `molgen_tiny: ClassVar[Mapping[str, Any]]`, as in
`molgen_tiny = {"width": 16, "layers": 1}`. One without it is checked with its own defaults.
"""

from __future__ import annotations

from typing import Any

from molgen.config import make_settings

#: The attribute of an encoder, a family or a backbone that holds its small settings.
HOOK = "molgen_tiny"


def tiny_config(cls: type[Any]) -> Any:
    """The small settings of a class as its `Config`.

    Raises:
        UsageError: the class names a setting that it does not have, or a value of a wrong type.
    """
    return make_settings(cls.Config, getattr(cls, HOOK, {}), f"{cls.__name__}.{HOOK}")
