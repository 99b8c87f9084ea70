"""Making, finishing and repairing a set by one call: the folder is claimed, workers start, and a record is left."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from molgen.errors import MolgenError, UsageError
from molgen.versions import versions
from molgen_datasets.synthetic.engine import Creation, Watch, begin
from molgen_datasets.synthetic.executors import RETRIES, Executor, Processes, Serial
from molgen_datasets.synthetic.folder import Folder, claimed, write_json
from molgen_datasets.synthetic.recipe import Recipe, recipe_from

#: Who does the work, by name.
ENGINES = ("local", "ray", "serial")


def create(
    recipe: Recipe | Mapping[str, Any] | None,
    output: str | Path,
    *,
    resume: bool = False,
    engine: str = "local",
    workers: int | None = None,
    device: str = "auto",
    address: str | None = None,
    retries: int = RETRIES,
    watch: Watch = lambda status: None,
) -> dict[str, Any]:
    """Make a synthetic data set, or finish or repair one, and return its manifest.

    Example:
        >>> from molgen_datasets.synthetic import create
        >>> made = create({"model": "moses", "count": 1000}, "set")  # doctest: +SKIP
        >>> made["items"]  # doctest: +SKIP
        1000

    Args:
        recipe: what to make; None for that of a folder that is gone on with.
        output: the folder of the set.
        resume: go on with what is there, and make again what is damaged.
        engine: `local` for processes of this machine, `ray`, or `serial` for this process.
        workers: how many; by default one for every two processors.
        device: of the models, `auto` for an accelerator where there is one.
        address: of a Ray cluster that runs.
        retries: how often one task may lose its worker.
        watch: called with the `Status`, often.

    Raises:
        UsageError: the recipe, the folder or the engine is wrong.
        PartialFailure: too few items are accepted; what there is is finished.
        MolgenError: a task failed; what was made stays, to go on with.
    """
    asked = recipe if recipe is None or isinstance(recipe, Recipe) else recipe_from(recipe)
    with claimed(Path(output), resume=resume) as folder:
        new = not folder.recipe.exists()
        made = begin(folder, asked)
        executor = _executor(engine, folder.path, workers, device, address, retries)
        creation = Creation(folder, made, executor, watch)
        try:
            return _recorded(folder, creation, {"engine": engine, "workers": workers, "device": device})
        except MolgenError as error:
            if error.exit_code == UsageError.exit_code and new and not folder.facts.exists():
                _clear(folder)
            raise
        finally:
            executor.close()


def _executor(engine: str, path: Path, workers: int | None, device: str, address: str | None, retries: int) -> Executor:
    makers: Mapping[str, Callable[[], Executor]] = {
        "local": lambda: Processes(path, workers, device, retries),
        "serial": lambda: Serial(path, device),
        "ray": lambda: _ray(path, workers, device, retries, address),
    }
    if engine not in makers:
        raise UsageError(f"no engine is named {engine!r}; known: {', '.join(ENGINES)}")
    if address is not None and engine != "ray":
        raise UsageError("an address is that of a Ray cluster; type --engine ray as well")
    return makers[engine]()


def _ray(path: Path, workers: int | None, device: str, retries: int, address: str | None) -> Executor:
    from molgen_datasets.synthetic.ray_executor import Ray

    return Ray(path, workers, device, retries, address)


def _recorded(folder: Folder, creation: Creation, how: Mapping[str, Any]) -> dict[str, Any]:
    """Make the set, and leave a record of this run whatever comes of it."""
    begun, stopped = time.monotonic(), None
    try:
        return creation.run()
    except BaseException as error:
        stopped = str(error) or type(error).__name__
        raise
    finally:
        write_json(folder.record, _record(creation, how, stopped, time.monotonic() - begun))


def _record(creation: Creation, how: Mapping[str, Any], stopped: str | None, seconds: float) -> dict[str, Any]:
    return {
        "command": "dataset create",
        "complete": stopped is None,
        "stopped": stopped,
        **how,
        "models": creation.models,
        "draws of this run": creation.status.drawn_here,
        "seconds": round(seconds, 3),
        "versions": versions(),
    }


def _clear(folder: Folder) -> None:
    """Remove what a recipe that cannot be carried out left in a new folder."""
    folder.record.unlink(missing_ok=True)
    for path in folder.work.iterdir():
        if path.name != "lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
