"""What a checkpoint may ask for: weights that its file has, and samples and steps that a machine can make.

What a configuration asks for is known only by building it: each part, of a third party too, decides that in its
constructor. So it is built under watch, and given up at the first thing that the weights cannot be for.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as registration
from torch.overrides import TorchFunctionMode

from molgen.config import Part
from molgen.model.checkpoint import CheckpointError
from molgen.space import Space

#: Numbers, in one tensor or all that are registered, parameters and modules beyond those of the file: tables that are
#: no weights, parts that are replaced.
_SPARE_NUMBERS, _SPARE_PARAMETERS, _SPARE_MODULES = 1 << 24, 64, 10_000
#: The most steps, draws or the like that a family may be set to, and the most numbers of one sample.
MOST_STEPS, MOST_NUMBERS = 100_000, 1 << 28
#: What makes a tensor of a size that is asked for.
_FACTORIES: frozenset[Any] = frozenset(
    {torch.arange, torch.empty, torch.eye, torch.full, torch.linspace, torch.logspace, torch.ones, torch.rand}
    | {torch.randint, torch.randn, torch.randperm, torch.tril_indices, torch.triu_indices, torch.zeros}
)


def require_moderate(family: Part, space: Space, path: Path) -> None:
    """See that what a checkpoint asks for can be done: weights do not depend on steps or on the length of a sample.

    Raises:
        CheckpointError: no machine would ever be done with one sample.
    """
    for name, value in _numbers(family.settings):
        if abs(value) > MOST_STEPS:
            raise CheckpointError(
                f"{path}: {name} of the family is {value:,}; of a file, molgen takes at most {MOST_STEPS:,}"
            )
    for name, field in space.items():
        if (count := prod([*(axis.maximum for axis in field.axes), *field.channels_shape])) > MOST_NUMBERS:
            raise CheckpointError(f"{path}: the field {name} has up to {count:,} numbers; at most {MOST_NUMBERS:,} go")


def _numbers(settings: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _numbers(value)
        elif isinstance(value, int):
            yield name, value


@contextmanager
def no_more_than(shapes: Mapping[str, Sequence[int]], path: Path) -> Iterator[None]:
    """Stop the block before it builds more or larger weights than there are to load.

    Args:
        shapes: of the tensors in the file of weights.
        path: of the checkpoint.

    Raises:
        CheckpointError: the block would; what other threads build meanwhile is not looked at.
    """
    count = _Count(shapes, path)
    with ExitStack() as stack:
        stack.callback(registration.register_module_parameter_registration_hook(count.parameter).remove)
        stack.callback(registration.register_module_buffer_registration_hook(count.buffer).remove)
        stack.callback(registration.register_module_module_registration_hook(count.module).remove)
        stack.enter_context(_Sizes(count))
        yield


class _Count:
    """What was built in the thread that began to count, and how much of it may be."""

    def __init__(self, shapes: Mapping[str, Sequence[int]], path: Path) -> None:
        self._numbers = 2 * sum(map(prod, shapes.values())) + _SPARE_NUMBERS
        self._parameters = 2 * len(shapes) + _SPARE_PARAMETERS
        self._modules = 2 * len(shapes) + _SPARE_MODULES
        self._path, self._thread = path, threading.get_ident()

    def parameter(self, module: nn.Module, name: str, parameter: Tensor | None) -> None:
        if threading.get_ident() == self._thread:
            self._parameters -= 1
            self._numbers -= 0 if parameter is None else parameter.numel()
            self.require_room(0)

    def buffer(self, module: nn.Module, name: str, buffer: Tensor | None) -> None:
        if threading.get_ident() == self._thread:
            self._numbers -= 0 if buffer is None else buffer.numel()
            self.require_room(0)

    def module(self, module: nn.Module, name: str, part: nn.Module | None) -> None:
        if threading.get_ident() == self._thread:
            self._modules -= 1
            self.require_room(0)

    def require_room(self, numbers: float) -> None:
        """See that a tensor of so many numbers may be made after all that was registered."""
        if min(self._parameters, self._modules, self._numbers - numbers) < 0:
            raise CheckpointError(
                f"{self._path}: the weights do not fit the configuration, which asks for more or larger ones"
            )


class _Sizes(TorchFunctionMode):
    """Looks at the size of each tensor that is asked for, before there is any memory for it."""

    def __init__(self, count: _Count) -> None:
        super().__init__()
        self._count = count

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in _FACTORIES:
            self._count.require_room(_size(function, args, kwargs or {}))
        return function(*args, **(kwargs or {}))


def _size(factory: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> float:
    """How many numbers a factory would make; 0 where it makes none and will say itself why."""
    # On this device a tensor has a size and no memory.
    plain = {name: value for name, value in kwargs.items() if name not in ("generator", "out", "pin_memory")}
    try:
        return factory(*args, **{**plain, "device": "meta"}).numel()
    except (RuntimeError, TypeError, OverflowError) as error:
        return float("inf") if "verflow" in str(error) else 0
