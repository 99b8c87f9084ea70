"""Kinds of fields: what the parts of molgen must know of each, and the one place where a new kind is taught.

What depends on the kind of a field is a *primitive*: a function whose first argument is the field, chosen by the class
of the field as `functools.singledispatch` does. `teach` gives the primitives of a kind, all in one call, and imports
none of the parts that ask for them: what is taught before they are imported waits for them. A part that was not taught
a kind refuses it by name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import singledispatch
from typing import TYPE_CHECKING, Any, TypeVar

from molgen.errors import UsageError, hint
from molgen.space import Field

if TYPE_CHECKING:
    from functools import _SingleDispatchCallable

T = TypeVar("T")

#: Every primitive, and the module that asks for it; its docstring there says what is given and what is expected.
PRIMITIVES: Mapping[str, str] = {
    # What networks read.
    "numbers_of": "molgen.layers.numbers",
    "element_embedding": "molgen.layers.token_embedding",
    "condition_embedding": "molgen.layers.condition_embedding",
    "plane_count": "molgen.backbones.unet.inputs",
    "planes": "molgen.backbones.unet.inputs",
    # What families learn.
    "likelihood": "molgen.families.parts.likelihood",
    "vocabulary_size": "molgen.ordering",
    "to_tokens": "molgen.ordering",
    "from_tokens": "molgen.ordering",
    "process": "molgen.families.diffusion.process",
    "code": "molgen.families.flow.dequantise",
    "as_numbers": "molgen.families.flow.numbers",
    "relaxation": "molgen.families.gan.relaxation",
    "proposal": "molgen.families.energy.sites",
    # Places that are not all free, and numbers that are no floats.
    "pack_field": "molgen.batch",
    "unpack_field": "molgen.batch",
    "arrange": "molgen.families.parts.elements",
    "of_own_place": "molgen.families.parts.elements",
    "flatten": "molgen.data.store",
    "unflatten": "molgen.data.store",
    "storage_type": "molgen.data.store",
    # What is measured of training data.
    "count_field": "molgen.data.statistics",
    "mean_and_scale": "molgen.data.standardise",
    # What the conformance kit draws and judges.
    "draw_field": "molgen.testing.random_samples",
    "element_values": "molgen.testing.random_samples",
    "field_problem": "molgen.testing.containment",
}

_taught: dict[str, dict[type[Field], Callable[..., Any]]] = defaultdict(dict)
_asked: dict[str, _SingleDispatchCallable[Any]] = {}


def primitive(function: Callable[..., T]) -> _SingleDispatchCallable[T]:
    """A function that is chosen by the kind of its first argument; as written it serves the kinds that have no own."""
    name = function.__name__
    chosen = singledispatch(function)
    for kind, own in _taught[name].items():
        chosen.register(kind, own)
    _asked[name] = chosen
    return chosen


def teach(kind: type[Field], **primitives: Callable[..., Any]) -> None:
    """Say what the parts of molgen must know of a kind of field of your own; `PRIMITIVES` lists what can be said.

    Args:
        kind: a class of fields; what is not said of it holds as for the class that it comes from.
        primitives: functions by the names of primitives, each called as that primitive is.

    Raises:
        UsageError: there is no such primitive.
        TypeError: `kind` is no class of fields.
    """
    if not (isinstance(kind, type) and issubclass(kind, Field)):
        raise TypeError(f"a kind of field is a class that inherits from molgen.space.Field, not {kind!r}")
    for name in primitives:
        if name not in PRIMITIVES:
            raise UsageError(f"no primitive is named {name!r}{hint(name, PRIMITIVES)} Known: {', '.join(PRIMITIVES)}")
    for name, own in primitives.items():
        _taught[name][kind] = own
        if name in _asked:
            _asked[name].register(kind, own)
