"""What the MOSES benchmark publishes of its test sets: moments of features, counts of substructures, property values.

The package holds them as pickled objects. They are read by a reader that knows arrays of numbers, counters and
built-in containers, and nothing else; their files are pinned by SHA-256 as well.
"""

from __future__ import annotations

import codecs
import functools
import gzip
import json
import pickle
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import numpy as np

from molgen.errors import MolgenError
from molgen.metric import PublishedStatistics

_VALUES = {"logP": "logp", "SA": "sa", "QED": "qed", "weight": "mw"}
#: All that the files name. Arrays of objects are refused below, so that no array holds anything but numbers.
_KNOWN = {
    ("numpy.core.multiarray", "_reconstruct"): np.array(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,
    ("collections", "Counter"): Counter,
}


class _Reader(pickle.Unpickler):
    """Unpickles arrays, counters and built-in containers."""

    def find_class(self, module: str, name: str) -> Any:
        """One of the few known objects.

        Raises:
            MolgenError: any other is named.
        """
        if (module, name) not in _KNOWN:
            raise MolgenError(f"a file of statistics names {module}.{name}, which is not read")
        return _KNOWN[module, name]


def statistics(path: Path) -> PublishedStatistics:
    """The statistics of a test set under the names of our features.

    Raises:
        MolgenError: the file holds something else.
    """
    found = _content(path)
    bits = found["SNN"]["fps"]
    values = {ours: np.array(found[theirs]["values"], np.float64) for theirs, ours in _VALUES.items()}
    return PublishedStatistics(
        rows=len(bits),
        values={**values, "fingerprint": np.packbits(bits.astype(bool), axis=1, bitorder="little")},
        counts={"fragments": found["Frag"]["frag"], "scaffold": _with_rings(found["Scaf"]["scaf"])},
        moments={"chemnet": (found["FCD"]["mu"], found["FCD"]["sigma"])},
    )


def _content(path: Path) -> Mapping[str, Any]:
    with zipfile.ZipFile(path) as archive, archive.open("stats.npy") as stream:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise MolgenError(f"{path} is no array of numpy")
        np.lib.format.read_array_header_1_0(stream)
        return cast(Mapping[str, Any], _Reader(stream).load().item())


def _with_rings(counts: Mapping[str, int]) -> Mapping[str, int]:
    """Without the empty string, for molecules that have no scaffold."""
    return {scaffold: count for scaffold, count in counts.items() if scaffold}


def keys_are_known() -> bool:
    """Whether the RDKit that is installed writes the canonical forms that `keys` gives; another may write others."""
    try:
        return version("rdkit") == _rewritten()["rdkit"]
    except PackageNotFoundError:
        return False


def keys(path: Path) -> Iterator[str]:
    """The canonical forms of the training molecules.

    Nearly all are stored in canonical form; which are not, and what RDKit writes instead, was found once.
    """
    rewritten = _rewritten()["train"]
    with gzip.open(path, "rt", encoding="ascii", newline="\n") as lines:
        next(lines)
        for line in lines:
            smiles = line[:-1]
            yield rewritten.get(smiles, smiles)


@functools.cache
def _rewritten() -> Mapping[str, Any]:
    text = resources.files(__package__).joinpath("moses_rewritten.json").read_text(encoding="utf-8")
    return cast(Mapping[str, Any], json.loads(text))
