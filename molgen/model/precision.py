"""The precision in which networks multiply, by the names that users give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from molgen.backbone import Backbone
from molgen.errors import UsageError

#: The types in which networks multiply, by name; None is that of their weights.
PRECISIONS = {"float32": None, "bf16": torch.bfloat16}
#: The methods of a network by which families run it.
RUNS = ("forward", "step")


@contextmanager
def multiplying_in(precision: str, family: nn.Module, device: torch.device) -> Iterator[None]:
    """Inside the context the networks of a family multiply in that precision; all else has the 32 bits that it had.

    Numbers that are samples, such as positions, keep their digits so, which 16 bits would round to three.

    Raises:
        UsageError: there is no such precision.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"no precision is named {precision!r}; known: {', '.join(PRECISIONS)}")
    dtype = PRECISIONS[precision]
    if dtype is None:
        yield
        return
    with ExitStack() as stack:
        # Weights that are rounded once stay so until the outermost of these contexts ends.
        stack.enter_context(torch.autocast(device.type, dtype, enabled=False))
        for network in [module for module in family.modules() if isinstance(module, Backbone)]:
            for name in RUNS:
                if run := getattr(network, name, None):
                    # On the object, which hides the method of its class, whatever class that is.
                    network.__dict__[name] = _in(dtype, device, run)
                    stack.callback(network.__dict__.pop, name)
        yield


def _in(dtype: torch.dtype, device: torch.device, run: Callable[..., Any]) -> Callable[..., Any]:
    def rounded(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(device.type, dtype):
            found = run(*args, **kwargs)
        if isinstance(found, tuple):  # of a step: what comes of it, and a state that the next one reads as it is
            outputs, *others = found
            return _in_32_bits(outputs), *others
        return _in_32_bits(found)

    return rounded


def _in_32_bits(found: Any) -> Any:
    if isinstance(found, Mapping):
        return {name: _in_32_bits(value) for name, value in found.items()}
    return found.float() if isinstance(found, Tensor) and found.is_floating_point() else found
