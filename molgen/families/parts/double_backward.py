"""Attention that can be differentiated twice, for losses with slopes in them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch.nn.attention import SDPBackend, sdpa_kernel

_lock = threading.Lock()
_inside: list[None] = []
_kernel = ExitStack()


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Run attention by its plain formula, the one kernel of torch that has second derivatives.

    Which kernels may run is one setting of the whole process, so it goes back only when the last thread leaves.
    Values that threads must agree on, whatever the others do, are computed inside too.
    """
    with _lock:
        if not _inside:
            _kernel.enter_context(sdpa_kernel(SDPBackend.MATH))
        _inside.append(None)
    try:
        yield
    finally:
        with _lock:
            _inside.pop()
            if not _inside:
                _kernel.close()
