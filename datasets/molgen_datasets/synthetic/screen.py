"""Lists of what must not be made, or must be looked at: every item is held against all of them, and failing is closed.

What cannot be checked is flagged and never passes: no key of the item, an item that took too long or broke its worker
(which is no item at all), a pattern of which nothing is known. A list that is missing, damaged or not what it was ends
the work.

A list is a text file. Lines `# id: NAME` and `# date: YYYY-MM-DD` say what it is; every other line is the SHA-256 of
what `substance_key` gives of an item, in hex, or `pattern:` and a pattern of the domain, such as SMARTS. Digests let a
list be passed on that says to nobody what is on it. To be on no list says nothing: lists miss families of substances.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molgen.atomic_files import sha256, write_text
from molgen.data.keys import WIDTH, KeyIndex
from molgen.domain import Domain, Invalid, Item
from molgen.errors import UsageError
from molgen.workers.inspector import Inspection

PASS, FLAG, BLOCK = "pass", "flag", "block"
_HEAD = re.compile(r"#\s*(id|date)\s*:\s*(\S.*)")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
PATTERN = "pattern:"


@dataclass(frozen=True)
class Verdict:
    """What the lists say of one item.

    Attributes:
        outcome: `pass`, `flag` or `block`.
        reason: why it does not pass; empty where it does.
        lists: each list that says so, with its date and the beginning of its SHA-256; of all where it passes.
    """

    outcome: str
    reason: str
    lists: str

    def columns(self) -> dict[str, str]:
        """The columns of a row."""
        return {"screen": self.outcome, "screen_reason": self.reason, "screen_lists": self.lists}


@dataclass(frozen=True)
class ScreenList:
    """One list as it is used.

    Attributes:
        name: its id, date and the beginning of its SHA-256.
        action: `block` or `flag`.
        index: the digests on it.
        patterns: the patterns on it.
    """

    name: str
    action: str
    index: KeyIndex
    patterns: tuple[str, ...] = ()

    def finds(self, key: bytes | None, found: Inspection) -> tuple[str, str]:
        """The outcome of an item, and why."""
        known = [text for text in self.patterns if text in found.matches]
        if key is not None and self.index.has(key):
            return self.action, "it is on the list"
        if hit := next((text for text in known if found.matches[text]), None):
            return self.action, f"it has the pattern {hit}"
        if key is None:
            return FLAG, "could not be checked: no key can be found for it"
        if len(known) < len(self.patterns):
            return FLAG, "could not be checked: a pattern was not sought in it"
        return PASS, ""


class Screen:
    """All lists of a recipe.

    Args:
        lists: in the order of the recipe; without any, nothing is said of an item.
    """

    def __init__(self, lists: Sequence[ScreenList]) -> None:
        self._lists = tuple(lists)

    @property
    def patterns(self) -> list[str]:
        """What has to be sought in every item."""
        return list(dict.fromkeys(text for one in self._lists for text in one.patterns))

    def features(self, domain: Domain) -> list[str]:
        """The features of the domain that are read."""
        return [domain.screening_feature] if self._lists and domain.screening_feature else []

    def verdict(self, item: Item, found: Inspection, domain: Domain) -> Verdict | None:
        """What the lists say of an item; None where there is no list."""
        if not self._lists:
            return None
        key = _listed(_key_of(item, found.features, domain))
        results = [(*one.finds(key, found), one.name) for one in self._lists]
        outcome = next((rank for rank in (BLOCK, FLAG) if any(found == rank for found, _, _ in results)), PASS)
        ours = [(reason, name) for found, reason, name in results if found == outcome]
        reasons = "; ".join(f"{name}: {reason}" for reason, name in ours) if outcome != PASS else ""
        return Verdict(outcome, reasons, "; ".join(name for _, name in ours))


def _key_of(item: Item, features: Mapping[str, Any], domain: Domain) -> str:
    feature = domain.screening_feature
    return str(features.get(feature) or "") if feature else domain.key(item)


def _listed(key: str) -> bytes | None:
    return hashlib.sha256(key.encode()).digest()[:WIDTH] if key else None


def substance_key(domain: Domain, item: Item) -> str:
    """What a list knows an item by: of molecules, what the forms of one substance share; empty where it has none.

    The item is canonical.
    """
    feature = domain.screening_feature
    return _key_of(item, {feature: domain.descriptors().features[feature](item)} if feature else {}, domain)


def write_list(path: Path, domain: Domain, items: Iterable[Item], name: str, date: str) -> int:
    """Write a list of items as digests, and return how many there are.

    Raises:
        UsageError: an item of which no key can be found: a list that leaves it out would let it pass.
    """
    if not _DATE.fullmatch(date):
        raise UsageError(f"the date of a list is YYYY-MM-DD, not {date!r}")
    found = set()
    for row, item in enumerate(items, 1):
        canonical = item if isinstance(item, Invalid) else domain.canonical(item)
        key = "" if isinstance(canonical, Invalid) else substance_key(domain, canonical)
        if not key:
            reason = canonical.reason if isinstance(canonical, Invalid) else "no key can be found for it"
            raise UsageError(f"row {row} cannot be on a list: {reason}")
        found.add(hashlib.sha256(key.encode()).hexdigest())
    write_text(path, f"# id: {name}\n# date: {date}\n" + "".join(f"{line}\n" for line in sorted(found)))
    return len(found)


# --- reading --------------------------------------------------------------------------------------


def read_list(path: Path, expected: str | None, target: Path) -> dict[str, Any]:
    """Read a list and keep its digests in the folder of the set.

    Args:
        path: of the list.
        expected: the SHA-256 that it must have, if that is known.
        target: where its digests go.

    Returns:
        Its id, date, SHA-256, patterns, and how many digests it has.

    Raises:
        UsageError: it is missing, damaged, empty or another one.
    """
    try:
        content = sha256(path) if path.is_file() else ""
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the list {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if expected is not None and content != expected.lower():
        raise UsageError(f"the list {path} has the SHA-256 {content}, not {expected}")
    head = {found[1]: found[2].strip() for line in lines if (found := _HEAD.fullmatch(line.strip()))}
    if missing := [name for name in ("id", "date") if name not in head]:
        raise UsageError(f"the list {path} does not say its {missing[0]}: a line '# {missing[0]}: ...' is missing")
    entries = list(_entries(lines, path))
    patterns = [entry for entry in entries if isinstance(entry, str)]
    count = KeyIndex.write(target, (entry for entry in entries if isinstance(entry, bytes)))
    if not entries:
        raise UsageError(f"the list {path} is empty")
    return {**head, "sha256": content, "patterns": patterns, "keys": count}


def _entries(lines: Iterable[str], path: Path) -> Iterator[bytes | str]:
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text.startswith(PATTERN):
            yield text.removeprefix(PATTERN).strip()
        elif _DIGEST.fullmatch(text.lower()):
            yield bytes.fromhex(text)[:WIDTH]
        elif text and not text.startswith("#"):
            raise UsageError(f"the list {path}, line {number}: neither a SHA-256 in hex nor '{PATTERN} ...'")
