"""Lines of code per domain, ours and those of third parties: without blank lines, comments and docstrings.

python benchmarks/domain_lines.py
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterable
from pathlib import Path

from common import write_result

ROOT = Path(__file__).parents[1]
_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(source: str) -> int:
    """How many lines of Python hold code."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            text = node.body[0]
            docstrings.update(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {n for t in tokens if t.type not in _NO_CODE for n in range(t.start[0], t.end[0] + 1)}
    return len(lines - docstrings)


def total(paths: Iterable[Path]) -> int:
    """The lines of code of some files."""
    return sum(code_lines(path.read_text(encoding="utf-8")) for path in paths)


def main() -> None:
    """Count and write the result file."""
    ours = {
        folder.name: total(sorted(folder.rglob("*.py")))
        for folder in sorted((ROOT / "plugins" / "molgen_plugins").iterdir())
        if folder.is_dir() and list(folder.rglob("*.py"))
    }
    theirs = {
        path.stem.removeprefix("molgen_"): total([path])
        for path in sorted((ROOT / "tests" / "third_party").glob("*/molgen_*.py"))
    }
    core = total(sorted((ROOT / "molgen").rglob("*.py")))
    write_result("domain-lines", {"core": core, "ours": ours, "third parties": theirs})


if __name__ == "__main__":
    main()
