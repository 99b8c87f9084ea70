"""Items to an encoded store, made once per content and encoder."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from molgen.config import Part, settings_of
from molgen.data.prepare import TrainingData
from molgen.data.store import FORMAT, Store, write_store
from molgen.domain import Encoder


def encode(
    encoder: Encoder,
    part: Part,
    data: TrainingData,
    folder: Path,
    columns: Iterable[str],
    progress: Callable[[int], None] | None = None,
) -> Store:
    """The store of the data under this encoder; made on first use, found again by content after that."""
    columns = sorted(columns)
    state = encoder.state()
    name = _store_name(part, state, data, columns)
    path = folder / name
    if data.digest is not None and (path / "meta.json").exists():
        return Store(path, encoder.space)
    make = partial(make_encoder, part, state)
    return write_store(path, make, encoder.space, data.rows(), columns, progress=progress)


def make_encoder(part: Part, state: Mapping[str, Any]) -> Encoder:
    """A prepared encoder; worker processes make theirs by this."""
    cls, config = settings_of("encoder", part)
    encoder: Encoder = cls(config)
    encoder.load_state(state)
    return encoder


def _store_name(part: Part, state: Mapping[str, Any], data: TrainingData, columns: list[str]) -> str:
    # Data without a digest may have changed since, so their store is used for one run only.
    digest = data.digest or secrets.token_hex(16)
    content = json.dumps([FORMAT, part.to_json(), state, digest, columns], sort_keys=True)
    return f"{data.name}-{part.name}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
