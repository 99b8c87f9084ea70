"""What a checkpoint may have built: no more, and nothing larger, than its file of weights has tensors for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from molgen.model.checkpoint import CheckpointError

#: Numbers of a tensor, and parameters, beyond those of the file: tables that are no weights, parts that are replaced.
_SPARE_NUMBERS, _SPARE_PARAMETERS = 1 << 24, 64


@contextmanager
def no_more_than(shapes: Mapping[str, Sequence[int]], path: Path) -> Iterator[None]:
    """Stop the block before it builds more or larger weights than there are to load.

    Args:
        shapes: of the tensors in the file of weights.
        path: of the checkpoint.

    Raises:
        CheckpointError: the block would.
    """
    most = sum(map(prod, shapes.values())) + _SPARE_NUMBERS
    left = 2 * len(shapes) + _SPARE_PARAMETERS

    def count(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise _misfit(path)

    hook = register_module_parameter_registration_hook(count)
    try:
        with _Sizes(most, path):
            yield
    finally:
        hook.remove()


def _misfit(path: Path) -> CheckpointError:
    return CheckpointError(f"{path}: the weights do not fit the configuration, which asks for more or larger ones")


def _size(args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    asked = args if args else kwargs.get("size", ())
    sizes = asked[0] if asked and isinstance(asked[0], list | tuple) else asked
    return prod(one for one in sizes if isinstance(one, int))


def _square(args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    return prod(args) if len(args) > 1 else int(args[0]) ** 2


#: How many numbers a function makes, from its arguments.
_NUMBERS: dict[Callable[..., Any], Callable[[Sequence[Any], Mapping[str, Any]], float]] = {
    **dict.fromkeys((torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn), _size),
    torch.full: lambda args, kwargs: _size(args[:1], kwargs),
    torch.arange: lambda args, kwargs: max((abs(one) for one in args), default=0),
    **dict.fromkeys((torch.eye, torch.tril_indices, torch.triu_indices), _square),
}


class _Sizes(TorchFunctionMode):
    """Looks at the size of each tensor that is asked for, before there is any memory for it."""

    def __init__(self, most: int, path: Path) -> None:
        super().__init__()
        self._most, self._path = most, path

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        numbers = _NUMBERS.get(function)
        if numbers is not None and numbers(args, kwargs or {}) > self._most:
            raise _misfit(self._path)
        return function(*args, **(kwargs or {}))
