"""Find plugins by name without importing them; import one only when it is asked for.

What lies in `molgen` itself stands in a literal table; everything else, our own domains, encoders and
data sets included, comes from the entry-point groups `molgen.<kind>` with values `module:Class`.

Whose name it is: what ships in our own distribution, in the table or as an entry point, keeps its
name, whatever else is installed. A third party that claims such a name is listed as refused, and one that
two of them claim is an error that names both; `DISTRIBUTION:NAME` always means one of them.
`MOLGEN_DISABLE_PLUGINS=1` leaves what our own distribution ships and hides all others.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, PackageNotFoundError, distributions, entry_points, requires
from importlib.util import find_spec
from typing import Any, Literal, get_args

from molgen import __version__
from molgen.errors import Interruption, PluginError

Kind = Literal["domain", "encoder", "family", "backbone", "dataset", "metric"]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: The distribution that this package belongs to.
DISTRIBUTION = "molgen-toolkit"
#: The environment variable that hides the plugins of all other distributions.
DISABLE = "MOLGEN_DISABLE_PLUGINS"

#: Where classes come from that were given to this process by `register`.
SESSION = "this Python session"
_session: dict[tuple[Kind, str], tuple[Plugin, type[Any]]] = {}

#: What ships in `molgen` itself. Strings, so that listing them imports nothing.
_BUILTIN: dict[Kind, dict[str, str]] = {
    "domain": {},
    "encoder": {},
    "family": {
        "autoregressive": "molgen.families.autoregressive:Autoregressive",
        "vae": "molgen.families.vae:VAE",
        "conditional": "molgen.families.conditional:Conditional",
        "diffusion": "molgen.families.diffusion:Diffusion",
        "flow": "molgen.families.flow:Flow",
        "gan": "molgen.families.gan:GAN",
        "energy": "molgen.families.energy:Energy",
        "latent": "molgen.families.latent:Latent",
    },
    "backbone": {
        "equivariant": "molgen.backbones.equivariant.network:Equivariant",
        "graph": "molgen.backbones.graph.network:Graph",
        "recurrent": "molgen.backbones.recurrent.causal:Recurrent",
        "transformer": "molgen.backbones.transformer.network:Transformer",
        "unet": "molgen.backbones.unet.network:UNet",
        "wavenet": "molgen.backbones.wavenet:WaveNet",
    },
    "dataset": {},
    "metric": {
        "validity": "molgen.metrics.identity:Validity",
        "uniqueness": "molgen.metrics.identity:Uniqueness",
        "novelty": "molgen.metrics.identity:Novelty",
        "valid_unique": "molgen.metrics.identity:ValidUnique",
        "valid_unique_novel": "molgen.metrics.identity:ValidUniqueNovel",
        "copies": "molgen.metrics.identity:Copies",
        "frechet_distance": "molgen.metrics.frechet:FrechetDistance",
        "kernel_distance": "molgen.metrics.kernel:KernelDistance",
        "precision": "molgen.metrics.manifold:Precision",
        "recall": "molgen.metrics.manifold:Recall",
        "density": "molgen.metrics.manifold:Density",
        "coverage": "molgen.metrics.manifold:Coverage",
        "class_score": "molgen.metrics.classes:ClassScore",
        "class_distance": "molgen.metrics.classes:ClassDistance",
        "nearest_training": "molgen.metrics.nearest:NearestTraining",
        "closer_to_training": "molgen.metrics.nearest:CloserToTraining",
        "column_fidelity": "molgen.metrics.columns:ColumnFidelity",
        "pair_fidelity": "molgen.metrics.columns:PairFidelity",
    },
}


@dataclass(frozen=True)
class Plugin:
    """A claim to a name: `target` is `module:Class` in a distribution, not imported yet.

    `extra` names the extra of the distribution that installs what the class needs, where its entry
    point says so (`name = module:Class [extra]`).
    """

    kind: Kind
    name: str
    target: str
    distribution: str = DISTRIBUTION
    version: str = __version__
    extra: str = ""

    @property
    def ours(self) -> bool:
        """Whether it ships with molgen."""
        return _normalise(self.distribution) == DISTRIBUTION

    @property
    def origin(self) -> str:
        """The distribution and its version, as in `molgen-audio 0.3`."""
        return f"{self.distribution} {self.version}".rstrip()

    @property
    def repair(self) -> str:
        """What to type when it cannot be imported."""
        how = "--force-reinstall --no-deps" if self.ours else "--upgrade"
        return f"pip install {how} {self.distribution}"

    @property
    def module(self) -> str:
        """The module that holds the class."""
        return self.target.partition(":")[0]

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} (from {self.origin})"


def names(kind: Kind) -> list[str]:
    """Every name that can be asked for, sorted. Imports no plugin."""
    return sorted({plugin.name for plugin in plugins(kind)})


def plugins(kind: Kind) -> list[Plugin]:
    """Every claim to a name, refused and clashing ones included, sorted by name. Imports no plugin."""
    found = [plugin for plugin in _discovered()[kind] if plugin.ours or not _third_parties_disabled()]
    return found + [plugin for (of, _), (plugin, _) in _session.items() if of == kind]


def hidden() -> list[Plugin]:
    """The plugins that `MOLGEN_DISABLE_PLUGINS` leaves out now."""
    if not _third_parties_disabled():
        return []
    return [plugin for kind in KINDS for plugin in _discovered()[kind] if not plugin.ours]


def note(plugin: Plugin) -> str:
    """Why the bare name does not lead to this plugin, or an empty string where it does."""
    rivals = [other for other in _claims(plugin.kind, plugin.name) if other != plugin]
    if not rivals or (plugin.ours and not any(other.ours for other in rivals)):
        return ""
    if any(other.ours for other in rivals):
        return f"refused: {DISTRIBUTION} holds this name; ask for {plugin.distribution}:{plugin.name}"
    return f"clashes with {', '.join(other.origin for other in rivals)}; ask for {plugin.distribution}:{plugin.name}"


def find(kind: Kind, name: str) -> Plugin:
    """The plugin that a name means, not imported.

    Args:
        kind: the group.
        name: a name, or `DISTRIBUTION:NAME` to choose among several that claim the name.

    Raises:
        PluginError: nothing has this name, or more than one third party claims it.
    """
    claims = _claims(kind, name)
    claims = [plugin for plugin in claims if plugin.ours] or claims
    if not claims:
        raise _unknown(kind, name)
    if len(claims) > 1:
        raise _clash(claims)
    return claims[0]


def get(kind: Kind, name: str) -> type[Any]:
    """Import and return the class that a name means; the second time costs nothing.

    Raises:
        PluginError: it cannot be found, imported or accepted; one sentence says what to type.
    """
    plugin = find(kind, name)
    return _session[kind, plugin.name][1] if plugin.distribution == SESSION else _load(plugin)


def register(kind: Kind, name: str, cls: type[Any]) -> str:
    """Give a class a name for as long as this process runs, without packaging; the same class may be given again.

    Args:
        kind: the group.
        name: to find it by.
        cls: carries `molgen_api`, as every plugin class.

    Returns:
        The name under which an installed plugin holds the very same class, or `name`.

    Raises:
        PluginError: an installed plugin has this name, or the class was written for another plugin API.
    """
    target = f"{cls.__module__}:{cls.__qualname__}"
    for plugin in plugins(kind):
        if plugin.target == target and plugin.distribution != SESSION:
            return plugin.name
    if any(plugin.distribution != SESSION for plugin in _claims(kind, name)):
        raise PluginError(f"{kind} {name!r} is the name of an installed plugin; rename the class {cls.__name__}")
    plugin = Plugin(kind, name, target, SESSION, "")
    _check_api(plugin, cls)
    _session[kind, name] = plugin, cls
    return name


def is_session(kind: Kind, name: str) -> bool:
    """Whether a name is that of a class which was given to this process only; see `register`."""
    return (kind, name) in _session


def refresh() -> None:
    """Forget what was found, so that a distribution installed since then is seen."""
    _discovered.cache_clear()
    _load.cache_clear()


def _third_parties_disabled() -> bool:
    return os.environ.get(DISABLE, "") not in ("", "0")


def _normalise(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _claims(kind: Kind, name: str) -> list[Plugin]:
    return [plugin for plugin in plugins(kind) if name in (plugin.name, f"{plugin.distribution}:{plugin.name}")]


@cache
def _discovered() -> dict[Kind, list[Plugin]]:
    found = {kind: [Plugin(kind, name, target) for name, target in _BUILTIN[kind].items()] for kind in KINDS}
    for entry in _entry_points():
        plugin = _from_entry_point(entry)
        found[plugin.kind].append(plugin)
    for claims in found.values():
        claims.sort(key=lambda plugin: (plugin.name, not plugin.ours, plugin.distribution))
    return found


def _entry_points() -> list[EntryPoint]:
    groups = [f"molgen.{kind}" for kind in KINDS]
    try:
        every = entry_points()
        return [entry for group in groups for entry in every.select(group=group)]
    except Exception:  # unreadable metadata of one distribution fails the whole call
        return [entry for entry in _readable_entry_points() if entry.group in groups]


def _readable_entry_points() -> Iterator[EntryPoint]:
    """The entry points of each distribution whose metadata can be read; slow, so not the first choice."""
    seen: set[str] = set()
    for distribution in distributions():
        try:
            name, entries = _normalise(distribution.name), list(distribution.entry_points)
        except Exception:  # this is the distribution that must not hide the others
            continue
        if name not in seen:
            seen.add(name)
            yield from entries


def _from_entry_point(entry: EntryPoint) -> Plugin:
    kind = next(kind for kind in KINDS if entry.group == f"molgen.{kind}")
    target, _, extra = entry.value.partition("[")
    try:
        assert entry.dist is not None
        distribution, version = str(entry.dist.name), str(entry.dist.version)
    except Exception:  # metadata without a name: list the plugin all the same
        distribution, version = "an unnamed distribution", ""
    return Plugin(kind, entry.name, target.strip(), distribution, version, extra.strip(" ]"))


@cache
def _load(plugin: Plugin) -> type[Any]:
    try:
        with redirect_stdout(sys.stderr):  # what a plugin prints must not get between the rows of a table
            loaded: Any = import_module(plugin.module)
        for attribute in plugin.target.partition(":")[2].split("."):
            loaded = getattr(loaded, attribute)
    except ModuleNotFoundError as error:
        raise _not_importable(plugin, error) from error
    except (KeyboardInterrupt, Interruption):
        raise
    except BaseException as error:  # the module of a third party may do anything
        raise _broken(plugin, f"{type(error).__name__}: {error}") from error
    if not isinstance(loaded, type):
        raise _broken(plugin, f"{plugin.target} is not a class")
    _check_api(plugin, loaded)
    return loaded


def _check_api(plugin: Plugin, loaded: type[Any]) -> None:
    # By name: the registry itself must not reach numpy, and here the plugin has been imported anyway.
    speaks = import_module("molgen.domain").API_VERSION
    version = getattr(loaded, "molgen_api", None)
    if version == speaks:
        return
    if isinstance(version, int) and version > speaks:
        raise PluginError(
            f"{plugin} was written for plugin API {version}, and this molgen speaks {speaks}; "
            f"type: pip install --upgrade {DISTRIBUTION}"
        )
    written = "without saying for which plugin API" if version is None else f"for plugin API {version}"
    raise PluginError(
        f"{plugin} was written {written}, and this molgen speaks {speaks}; type: {plugin.repair} "
        f"(its author sets molgen_api = {speaks} on the class)"
    )


def _not_importable(plugin: Plugin, error: ModuleNotFoundError) -> PluginError:
    """Tell a dependency that is not installed from a module that should have been there."""
    package = (error.name or "").partition(".")[0]
    own = plugin.module.partition(".")[0]
    if not package or package == own or _importable(package):
        return _broken(plugin, str(error))
    return PluginError(
        f"{plugin} needs the package {package!r}, which is not installed; "
        f"type: pip install {_installs(plugin, package)}"
    )


def _importable(package: str) -> bool:
    return sys.modules.get(package) is not None or find_spec(package) is not None


def _installs(plugin: Plugin, package: str) -> str:
    """What to give pip for a missing package: the plugin's extra that brings it, or the package itself."""
    extra = plugin.extra
    for requirement in [] if extra else _requirements(plugin):
        optional = re.match(r"([\w.-]+).*\bextra\s*==\s*['\"]([\w.-]+)", requirement)
        if optional and _normalise(optional[1]) == _normalise(package):
            extra = optional[2]
    return f"'{plugin.distribution}[{extra}]'" if extra else package


def _requirements(plugin: Plugin) -> Iterable[str]:
    try:
        return requires(plugin.distribution) or ()
    except PackageNotFoundError:
        return ()


def _broken(plugin: Plugin, reason: str) -> PluginError:
    line = " ".join(reason.split())
    shown = line if len(line) <= 300 else f"{line[:300]}..."
    return PluginError(f"{plugin} cannot be imported ({shown}); type: {plugin.repair}")


def _clash(claims: list[Plugin]) -> PluginError:
    first = claims[0]
    owners = " and ".join(f"{plugin.origin} ({plugin.target})" for plugin in claims)
    choices = " or ".join(f"{plugin.distribution}:{plugin.name}" for plugin in claims)
    return PluginError(
        f"{first.kind} {first.name!r} is claimed by {owners}; type {choices} to choose one, "
        f"or: pip uninstall {claims[-1].distribution}"
    )


def _unknown(kind: Kind, name: str) -> PluginError:
    for plugin in hidden():
        if plugin.kind == kind and plugin.name == name:
            return PluginError(f"{plugin} is left out because {DISABLE} is set; type: unset {DISABLE}")
    known = names(kind)
    if not known:
        return PluginError(f"no {kind} is named {name!r}, and none is installed; type: molgen plugins list")
    close = _close(name, known)
    suggestion = f"; did you mean {close!r}?" if close else "."
    return PluginError(f"no {kind} is named {name!r}{suggestion} Known: {', '.join(known)}")


def _close(name: str, known: list[str]) -> str | None:
    """The known name that was probably meant; the last part of a dotted name is enough."""
    for candidate in known:
        if candidate.rpartition(".")[2] == name.lower():
            return candidate
    return next(iter(difflib.get_close_matches(name.lower(), known, n=1)), None)
