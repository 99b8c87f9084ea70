"""What `molgen plugins new` writes: a distribution with one plugin in it, which is whole and passes its own tests."""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

import molgen
from molgen import registry
from molgen.atomic_files import temporary_sibling
from molgen.errors import UsageError
from molgen_cli.console import show

TEMPLATES = Path(__file__).parent / "templates"
_PART = "[a-z][a-z0-9]*(?:_[a-z0-9]+)*"


@dataclass(frozen=True)
class Scaffold:
    """What is particular to one kind of plugin.

    Attributes:
        summary: of the distribution, in which `{}` is the name.
        change: what the author puts in the place of the example.
        usage: commands that use it, for the README; `$name`, `$column` and `$file` stand for its names.
        files: further files of the package, by name.
    """

    summary: str
    change: str
    usage: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


SCAFFOLDS: Mapping[registry.Kind, Scaffold] = {
    "domain": Scaffold(
        "{}: objects of a new kind",
        "`examples`, `canonical`, `space`, `encode` and `decode`; `from_text` and `to_text` where an item is no text,\n"
        "`read` and `write` for files of another kind, `descriptors` for properties.",
        """$$ molgen train --data $file.csv encoder=$name --output run    # with a column `$column`, or a list
$$ molgen generate --model run --count 100 --output new.csv
$$ molgen score $file.csv --model run --output scored.csv
""",
    ),
    "family": Scaffold(
        "{}: a way to learn p(x) over any typed fields",
        "`loss`, `sample`, `log_density`, and what `Capability` says of them.",
        """$$ molgen train dataset=qm9 family=$name --output run
$$ molgen generate --model run --count 100
""",
    ),
    "backbone": Scaffold(
        "{}: a network for every family",
        "`layouts`, the constructor and `forward`; a network that runs in the generation order is a `CausalBackbone`.",
        """$$ molgen train --data table.csv encoder=tables backbone=$name --output run
""",
    ),
    "dataset": Scaffold(
        "{}: a data set in splits",
        "`domain`, `description`, `licence`, `splits`, and where `items` come from.",
        """$$ molgen data list
$$ molgen train dataset=$name --output run
""",
        {"train.txt": "C\nCC\nCCO\nCCN\nc1ccccc1\nCC(=O)O\n", "test.txt": "CO\nCN\n"},
    ),
    "metric": Scaffold(
        "{}: a number about a set of items",
        "`add` and `estimate`; `needs` for features of items, `against` and a `Summary` to compare with another set.",
        """$$ molgen evaluate generated.csv --metrics $name
""",
    ),
}


def new(args: argparse.Namespace) -> int:
    """Write the distribution and say what to type next.

    Raises:
        UsageError: the name cannot be used, or the folder is there.
    """
    kind: registry.Kind = args.kind
    values = names(kind, args.name)
    folder = Path(args.output or values["distribution"])
    if folder.exists():
        raise UsageError(f"{folder} exists; give another place with --output")
    if not folder.absolute().parent.is_dir():
        raise UsageError(f"{folder}: the folder {folder.parent} does not exist; type: mkdir -p {folder.parent}")
    files = rendered(kind, values)
    temporary = temporary_sibling(folder.absolute())
    try:
        for name, text in files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).write_text(text, encoding="utf-8")
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    show("\n".join([*(f"{folder / name}" for name in files), "", *_next(folder, args.name)]))
    return 0


def _next(folder: Path, name: str) -> list[str]:
    steps = (f"pip install --editable '{folder}'", f"pytest {folder}", f"molgen plugins check {name}")
    return ["Next:", *(f"  {step}" for step in steps)]


def names(kind: registry.Kind, name: str) -> dict[str, str]:
    """What stands for the name in each place: distribution, package, class, file and column.

    Raises:
        UsageError: it is no name for a plugin of this kind, or is taken.
    """
    pattern = f"{_PART}(?:[.]{_PART})?" if kind == "metric" else _PART
    if not re.fullmatch(pattern, name):
        words = "small letters, digits and _, such as `peptides`"
        raise UsageError(f"{name!r} is no name for a {kind}: {words}{' or `peptides.charge`' * (kind == 'metric')}")
    domain = name.rpartition(".")[0]
    if domain and domain not in registry.names("domain"):
        raise UsageError(f"no domain is named {domain!r}; known: {', '.join(registry.names('domain'))}")
    if name in registry.names(kind):
        raise UsageError(f"{registry.find(kind, name)} has this name already; choose another")
    plain = name.replace(".", "_")
    cls = "".join(part.capitalize() for part in plain.split("_"))
    return {
        "name": name,
        "kind": kind,
        "distribution": f"molgen-{plain.replace('_', '-')}",
        "package": f"molgen_{plain}",
        "cls": f"{cls}{kind.capitalize()}" if cls in {*dir(molgen), "Settings", "Options"} else cls,
        "column": plain,
        "file": plain,
        "version": molgen.__version__,
    }


def rendered(kind: registry.Kind, values: Mapping[str, str]) -> dict[str, str]:
    """The files of the distribution by their paths in it."""
    scaffold = SCAFFOLDS[kind]
    usage = f"```console\n{Template(scaffold.usage).substitute(values)}```\n" if scaffold.usage else ""
    known = {
        **values,
        "summary": scaffold.summary.format(values["name"].capitalize()),
        "change": scaffold.change,
        "usage": usage,
    }

    def fill(template: str) -> str:
        return Template((TEMPLATES / f"{template}.tmpl").read_text(encoding="utf-8")).substitute(known)

    package = values["package"]
    return {
        "pyproject.toml": fill("pyproject.toml"),
        "README.md": fill("README.md"),
        f"{package}/__init__.py": fill(f"{kind}.py"),
        f"{package}/py.typed": "",
        **{f"{package}/{name}": text for name, text in scaffold.files.items()},
        f"tests/test_{values['file']}.py": fill("test.py"),
    }
