"""A device that computes on the CPU and behaves like a graphics card where code makes mistakes.

Its tensors refuse to meet plain CPU tensors (those without dimensions aside, as CUDA does) and to become numpy arrays,
so that what forgets to move a tensor is found without a graphics card.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "pretend"
#: Operators that may take tensors of two devices: they copy from one to the other, or index by CPU tensors.
_BETWEEN = {"aten._to_copy", "aten.copy_", "aten.index", "aten.index_put", "aten.index_put_", "aten._index_put_impl_"}


class PretendTensor(torch.Tensor):
    """A tensor of the pretend device around one of the CPU."""

    raw: torch.Tensor

    @staticmethod
    def __new__(cls, raw: torch.Tensor) -> PretendTensor:
        self = torch.Tensor._make_wrapper_subclass(
            cls,
            raw.size(),
            strides=raw.stride(),
            storage_offset=raw.storage_offset(),
            dtype=raw.dtype,
            device=torch.device(NAME, 0),
            requires_grad=raw.requires_grad,
        )
        self.raw = raw
        return self

    def __init__(self, raw: torch.Tensor) -> None:
        pass

    def __repr__(self) -> str:
        return f"PretendTensor({self.raw!r})"

    def numpy(self, *, force: bool = False):
        raise TypeError(f"can't convert a {NAME} tensor to numpy; use Tensor.cpu() first")

    def __array__(self, *args):
        raise TypeError(f"can't convert a {NAME} tensor to numpy; use Tensor.cpu() first")

    def tolist(self):
        return self.raw.tolist()

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


class _Mode(TorchDispatchMode):
    """Makes what is asked for on the device, without a tensor of it among the arguments."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


def _on_the_cpu_first(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Makes tensors of Python's numbers on the CPU first, and then moves them."""

    @wraps(make)
    def made(*args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
        if device is not None and torch.device(device).type == NAME:
            return make(*args, device="cpu", **kwargs).to(device)
        return make(*args, device=device, **kwargs)

    return made


def _run(function, args, kwargs):
    tensors = [*_tensors(args), *_tensors(kwargs.values())]
    asked = kwargs.get("device")
    ours = [tensor for tensor in tensors if isinstance(tensor, PretendTensor)]
    if not ours and asked is None:
        return function(*args, **kwargs)
    name = _name(function)
    if ours and name not in _BETWEEN:
        others = [t for t in tensors if not isinstance(t, PretendTensor) and t.dim()]
        if others:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in others)
            raise RuntimeError(f"{name}: expected all tensors on {NAME}:0, found CPU tensors of the shapes {shapes}")
    wrapped = {id(tensor.raw): tensor for tensor in ours}
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
        ours_out = torch.device(asked).type == NAME
    elif name == "aten.copy_":
        ours_out = isinstance(args[0], PretendTensor)
    else:
        ours_out = isinstance(tensors[0], PretendTensor) if name in _BETWEEN and tensors else bool(ours)
    result = function(*_plain(args), **{key: _plain(value) for key, value in kwargs.items()})
    return _wrap(result, wrapped) if ours_out else result


@cache
def _name(function) -> str:
    return str(function).rsplit(".", 1)[0]


# By hand, because PyTorch's functions over trees take longer than the operators.


def _tensors(values):
    """All tensors among arguments, in their order."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _plain(value):
    """An argument with the tensors of the CPU in place of ours."""
    if isinstance(value, PretendTensor):
        return value.raw
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value))
    return value


def _wrap(out, wrapped):
    """The tensor itself where the operator worked in place, else a new one."""
    if isinstance(out, list | tuple):
        return type(out)(_wrap(one, wrapped) for one in out)
    if not isinstance(out, torch.Tensor) or isinstance(out, PretendTensor):
        return out
    return wrapped.get(id(out)) if id(out) in wrapped else PretendTensor(out)


def _gru(x, hidden, weights, bias, layers, dropout, training, bidirectional, batch_first):
    """Of small operators: the CPU has no fused cell, which PyTorch asks every other device for."""
    ways, out = 1 + bidirectional, x if not batch_first else x.transpose(0, 1)
    last = []
    for layer in range(layers):
        outputs = []
        for way in range(ways):
            place = (layer * ways + way) * 4
            steps, h = [], hidden[layer * ways + way]
            for row in out.flip(0) if way else out:
                h = _gru_cell(row, h, *weights[place : place + 4])
                steps.append(h)
            outputs.append(torch.stack(steps[::-1] if way else steps))
            last.append(h)
        out = torch.cat(outputs, -1)
    return (out.transpose(0, 1) if batch_first else out), torch.stack(last)


def _gru_cell(x, h, w_input, w_hidden, b_input, b_hidden):
    reset, update, new = torch.nn.functional.linear(x, w_input, b_input).chunk(3, -1)
    h_reset, h_update, h_new = torch.nn.functional.linear(h, w_hidden, b_hidden).chunk(3, -1)
    z = torch.sigmoid(update + h_update)
    return (1 - z) * torch.tanh(new + torch.sigmoid(reset + h_reset) * h_new) + z * h


# PyTorch takes a new device only before the first backward pass of the process.
_setup_privateuseone_for_python_backend(NAME)


@contextmanager
def pretend_device() -> Iterator[torch.device]:
    """The device, while the block runs."""
    fused = torch._VF.gru
    with pytest.MonkeyPatch.context() as patch, _Mode():
        patch.setattr(torch._VF, "gru", lambda *args: (_gru if isinstance(args[0], PretendTensor) else fused)(*args))
        patch.setattr(torch, "tensor", _on_the_cpu_first(torch.tensor))
        patch.setattr(torch, "as_tensor", _on_the_cpu_first(torch.as_tensor))
        yield torch.device(NAME, 0)
