"""No module needs itself: not through what functions import either, but for what type checkers alone read."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = [ROOT / "molgen", *(ROOT / name / f"molgen_{name}" for name in ("cli", "datasets", "plugins"))]
FILES = {
    ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in FOLDERS
    for path in folder.rglob("*.py")
}


def _imported(node):
    """The modules that a piece of code imports when it runs."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name if name in FILES else node.module for name in names)
    for child in ast.iter_child_nodes(node):
        yield from _imported(child)


def test_there_is_no_import_circle():
    graph = {
        name: {other for other in _imported(ast.parse(path.read_text(encoding="utf-8"))) if other in FILES} - {name}
        for name, path in FILES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" <- ".join(error.args[1])) from None
