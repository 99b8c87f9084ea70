"""A model on disk: a folder of safetensors and JSON with the hash of every file, written in one step.

Nothing in a checkpoint can make molgen import code: it names parts of the registry only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from molgen.atomic_files import replaced_folder, sha256, superseded, usual_mode
from molgen.errors import MolgenError, UsageError

FORMAT = 1
MANIFEST = "manifest.json"
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
CARD = "README.md"
#: What reading values of any other form than those that were written can raise.
DAMAGED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError)
#: The most bytes of a text or of JSON in a checkpoint.
LARGEST_TEXT = 64 << 20


class CheckpointError(MolgenError):
    """A checkpoint is not whole, was changed, or is of a format that this molgen does not read."""


def save_checkpoint(
    path: Path,
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    card: str,
    extra: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> None:
    """Write a checkpoint folder; at every moment a whole one, old or new, can be loaded from `path`.

    Args:
        path: the folder; an existing one is replaced.
        config: JSON values.
        weights: tensors by name.
        card: the text of the model card.
        extra: further files of tensors, by file name without suffix.

    Raises:
        UsageError: there is something at the path that is no checkpoint, or a checkpoint beside other files.
        CheckpointError: the disk does not take it.
    """
    require_replaceable(path)
    files = {WEIGHTS: weights, **{f"{name}.safetensors": tensors for name, tensors in (extra or {}).items()}}
    try:
        _write(path, config, files, card)
    except (OSError, SafetensorError) as error:
        size = sum(tensor.nbytes for tensors in files.values() for tensor in tensors.values())
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{path}: the model, {size:,} bytes, cannot be written: {reason}") from error


def _write(path: Path, config: Mapping[str, Any], files: Mapping[str, Mapping[str, Tensor]], card: str) -> None:
    with replaced_folder(path) as folder:
        (folder / CONFIG).write_text(json.dumps({"format": FORMAT, **config}, indent=1))
        (folder / CARD).write_text(card, encoding="utf-8", errors="backslashreplace")
        for name, tensors in files.items():
            _save_tensors(folder / name, tensors)
        _write_manifest(folder)


def require_replaceable(path: Path) -> None:
    """See that nothing is lost when a checkpoint is written to a path: only one of ours, or nothing, is there.

    Raises:
        UsageError: it holds something else.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not path.is_dir() or not (path / MANIFEST).is_file():
        raise UsageError(f"{path} exists and is no molgen model, so it is not replaced; choose another folder")
    files = _read_json(path / MANIFEST).get("files")
    known = {MANIFEST, *(files if isinstance(files, dict) else ())}
    if others := sorted(one.name for one in path.iterdir() if one.name not in known):
        raise UsageError(
            f"{path} holds a model and other files, such as {others[0]}, so it is not replaced; choose another folder"
        )


def _save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    with usual_mode(path):
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def _write_manifest(folder: Path) -> None:
    files = {p.name: {"sha256": sha256(p), "bytes": p.stat().st_size} for p in sorted(folder.iterdir())}
    (folder / MANIFEST).write_text(json.dumps({"format": FORMAT, "files": files}, indent=1))


class Checkpoint:
    """A verified checkpoint folder: every file has the hash that its manifest says.

    Raises:
        UsageError: there is no checkpoint at the path.
        CheckpointError: it is not whole or was changed; a wrong hash is always fatal.
    """

    def __init__(self, path: Path) -> None:
        self.path = _existing(path)
        self.files = _verified_files(self.path)
        self.config = _read_json(self.path / CONFIG)
        _require_format(self.path / CONFIG, self.config)

    @property
    def digest(self) -> str:
        """The SHA-256 of the weights, which names the model in provenance records."""
        return str(self.files[WEIGHTS]["sha256"])

    def tensors(self, name: str = "model") -> dict[str, Tensor]:
        """The tensors of one file on the CPU."""
        path = self.path / f"{name}.safetensors"
        if not self.has(name):
            raise CheckpointError(f"{path} is missing; the checkpoint is damaged")
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from None

    def shapes(self, name: str = "model") -> dict[str, tuple[int, ...]]:
        """The shapes of the tensors of one file, of which nothing but the header is read."""
        path = self.path / f"{name}.safetensors"
        try:
            with safe_open(path, "pt") as file:
                return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from None

    def has(self, name: str) -> bool:
        """Whether there is a file of tensors of that name."""
        return f"{name}.safetensors" in self.files


@contextmanager
def named_damage(path: Path) -> Iterator[None]:
    """Say of what the block reads from the checkpoint at a path that it is damaged, where it has another form.

    Raises:
        CheckpointError: it has.
    """
    try:
        yield
    except DAMAGED as error:
        first = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path} is damaged ({type(error).__name__}: {first})") from error


def _existing(path: Path) -> Path:
    if path.suffix in {".pt", ".pth", ".ckpt", ".pkl", ".bin"}:
        raise UsageError(f"{path}: pickled checkpoints can run code and are never loaded; molgen models are folders")
    # The finished model of a run, or its last state.
    for candidate in (path, path / "model", path / "resume"):
        if (candidate / MANIFEST).is_file():
            return candidate
        # The writer was stopped between moving the old folder aside and the new one in.
        if not candidate.exists() and (superseded(candidate) / MANIFEST).is_file():
            return superseded(candidate)
    raise UsageError(
        f"{path} holds no molgen model (no {MANIFEST} there); `molgen models list` shows the embedded ones"
    )


def _verified_files(folder: Path) -> dict[str, Any]:
    manifest = _read_json(folder / MANIFEST)
    # Before anything else, because another format may have other files.
    _require_format(folder / MANIFEST, manifest)
    files = manifest.get("files")
    if not isinstance(files, dict) or not {CONFIG, WEIGHTS} <= set(files):
        raise CheckpointError(f"{folder / MANIFEST} lists no model; the checkpoint is damaged")
    for name, expected in files.items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise CheckpointError(f"{path} is missing; the checkpoint is damaged")
        if path.suffix != ".safetensors":
            _require_small(path)
        # The size first: it costs nothing to see that a file of terabytes is another one.
        same = isinstance(expected, dict) and path.stat().st_size == expected.get("bytes", path.stat().st_size)
        if not same or sha256(path) != expected.get("sha256"):
            raise CheckpointError(f"{path} does not have the hash in {MANIFEST}: it was damaged or changed")
    return files


def _require_small(path: Path) -> None:
    """See that a text of a checkpoint has a size that can be read.

    Raises:
        CheckpointError: it has not.
    """
    if path.is_file() and path.stat().st_size > LARGEST_TEXT:
        raise CheckpointError(f"{path} has {path.stat().st_size:,} bytes; molgen reads at most {LARGEST_TEXT:,} there")


def _require_format(path: Path, data: Mapping[str, Any]) -> None:
    if data.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: format {data.get('format')!r}, and this molgen reads {FORMAT}; "
            "use the version of molgen that wrote it"
        )


def _read_json(path: Path) -> dict[str, Any]:
    _require_small(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} cannot be read: expected a mapping")
    return data


def to_half(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights with floating-point numbers in float16."""
    return {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}


def require_finite(module: nn.Module, weights: Mapping[str, Tensor], where: Path) -> None:
    """Refuse weights of a module with which it could compute nothing.

    Raises:
        CheckpointError: a parameter is not finite, or a buffer, which may hold infinities, is not a number.
    """
    parameters = dict(module.named_parameters())
    for name, tensor in weights.items():
        wrong = ~torch.isfinite(tensor) if name in parameters else torch.isnan(tensor)
        if bool(wrong.any()):
            raise CheckpointError(f"{where}: the weight {name} is not finite; such a model can do nothing")


def array_tensor(array: np.ndarray) -> Tensor:
    """A numpy array as a tensor that a checkpoint can hold."""
    return torch.from_numpy(np.ascontiguousarray(array))
