"""Modules and parameters under the names of fields and conditions, which users choose; and names that have changed.

torch keeps submodules and parameters as attributes, so that `items`, `type` or `y.1` cannot be the key of an
`nn.ModuleDict`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

T = TypeVar("T", nn.Module, nn.Parameter)
#: How the keys of names begin that cannot be keys themselves.
ESCAPE = "name:"


def module_key(name: str) -> str:
    """The key of a name in a state: the name itself wherever it can be one; no two names share a key.

    A key may not be an attribute of modules, hold a dot, or be empty.
    """
    if name and "." not in name and not name.startswith(ESCAPE) and not hasattr(_EMPTY, name):
        return name
    return _escaped(name)


def _escaped(name: str) -> str:
    return ESCAPE + name.replace("%", "%25").replace(".", "%2E")


class _Named(nn.Module, Generic[T]):
    """A mapping from any names to what a module owns; a state with the plain names as keys loads too."""

    def __init__(self, parts: Mapping[str, T] | None = None) -> None:
        super().__init__()
        self._keys = {name: module_key(name) for name in parts or {}}
        for name, part in (parts or {}).items():
            setattr(self, self._keys[name], part)
        self.register_load_state_dict_pre_hook(_with_own_keys)

    def __getitem__(self, name: str) -> T:
        return getattr(self, self._keys[name])

    def __contains__(self, name: object) -> bool:
        return name in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def keys(self) -> list[str]:
        """All names, in their order."""
        return list(self._keys)

    def values(self) -> list[T]:
        """What they stand for, in their order."""
        return [self[name] for name in self._keys]

    def items(self) -> list[tuple[str, T]]:
        """Each name with what it stands for."""
        return [(name, self[name]) for name in self._keys]


class NamedModules(_Named[nn.Module]):
    """An `nn.ModuleDict` whose names may be any text."""


class NamedParameters(_Named[nn.Parameter]):
    """An `nn.ParameterDict` whose names may be any text."""


def _with_own_keys(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Give entries under another possible key theirs: attributes of modules depend on the version of torch."""
    assert isinstance(module, _Named)
    for name, key in module._keys.items():
        for other in {name, _escaped(name)} - {key}:
            # With a dot it was never a key, but may be what another entry begins with.
            if other and "." not in other:
                _move(state, prefix + other, prefix + key)


#: Its attributes cannot be keys.
_EMPTY: nn.Module = _Named()


def accept_old_names(module: nn.Module, names: Mapping[str, str]) -> None:
    """Load states in which submodules or parameters of a module still have other names.

    Args:
        module: has the attributes of today.
        names: the old name of each, by the name of today.
    """

    def rename(_: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
        for new, old in names.items():
            _move(state, prefix + old, prefix + new)

    module.register_load_state_dict_pre_hook(rename)


def _move(state: dict[str, Tensor], old: str, new: str) -> None:
    for key in [key for key in state if key == old or key.startswith(f"{old}.")]:
        state[new + key[len(old) :]] = state.pop(key)
