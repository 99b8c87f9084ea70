"""What every data set guarantees, as one function for each guarantee. What cannot be fetched here is skipped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from molgen import registry
from molgen.config import make_settings
from molgen.dataset import Dataset
from molgen.domain import API_VERSION, Domain, Invalid, Record
from molgen.errors import MolgenError, UsageError
from molgen.testing.checks import Skipped, require

#: Items of each split that are looked at, and the largest set that is counted whole.
SOME, COUNTED = 200, 100_000


@dataclass(frozen=True)
class DatasetTrial:
    """One data set with its usual settings."""

    cls: type[Dataset]

    @cached_property
    def dataset(self) -> Dataset:
        """The data set."""
        return self.cls(make_settings(self.cls.Config, {}, self.cls.__name__))

    @cached_property
    def fetched(self) -> Dataset:
        """The data set once its data lie on this machine.

        Raises:
            Skipped: they cannot be had now.
        """
        try:
            self.dataset.fetch()
        except MolgenError as error:
            raise Skipped(f"the data cannot be fetched here: {error}") from error
        return self.dataset

    @cached_property
    def domain(self) -> Domain:
        """The domain of the items."""
        cls = registry.get("domain", self.cls.domain)
        return cls(make_settings(cls.Config, {}, self.cls.domain))

    def records(self, split: str) -> Sequence[Record]:
        """The first records of a split."""
        return list(islice(self.fetched.records(split), SOME))


def speaks_the_plugin_api(trial: DatasetTrial) -> None:
    """The class says for which plugin API it was written."""
    version = getattr(trial.cls, "molgen_api", None)
    require(version == API_VERSION, f"molgen_api is {version!r}, and this molgen speaks {API_VERSION}")


def describes_itself(trial: DatasetTrial) -> None:
    """A domain that is installed, a description in a line, a licence, and splits with how many items they have."""
    cls = trial.cls
    require(cls.domain in registry.names("domain"), f"domain is {cls.domain!r}, and no installed domain is called so")
    require(bool(cls.description.strip()) and "\n" not in cls.description, "description is no line of text")
    require(bool(cls.licence.strip()), "licence is empty; say `unknown` where nobody knows it")
    require(bool(cls.splits), "splits is empty: name each split and how many items it has")


def digests_tell_splits_apart(trial: DatasetTrial) -> None:
    """`digest` is a SHA-256 in hex, the same each time and another for each split, without fetching anything."""
    found = {split: trial.dataset.digest(split) for split in trial.cls.splits}
    for split, digest in found.items():
        require(re.fullmatch("[0-9a-f]{64}", digest) is not None, f"the digest of {split} is {digest!r}, no SHA-256")
        require(digest == trial.dataset.digest(split), f"the digest of {split} is another the second time")
    require(len(set(found.values())) == len(found), "two splits have one digest")


def unknown_splits_are_refused(trial: DatasetTrial) -> None:
    """What there is no split of is a `UsageError` that names it, as `require_split` raises it."""
    for name in ("items", "digest", "columns"):
        try:
            found = getattr(trial.dataset, name)("no-such-split")
            if name == "items":
                next(iter(found), None)
        except UsageError as error:
            require("no-such-split" in str(error), f"{name} refuses an unknown split without naming it: {error}")
            continue
        require(False, f"{name} takes a split that there is not; call self.require_split(split) first")


def items_are_as_many_as_declared(trial: DatasetTrial) -> None:
    """Each split has as many items as `splits` says; sets of more than 100,000 items are not counted."""
    for split, count in trial.cls.splits.items():
        if count > COUNTED:
            raise Skipped(f"{split} has {count:,} items, too many to count here")
        found = sum(1 for _ in trial.fetched.items(split))
        require(found == count, f"{split} has {found} items, and splits says {count}")


def items_keep_their_order(trial: DatasetTrial) -> None:
    """Items come in one order each time, and `records` gives them numbered from 0 with the declared columns."""
    for split in trial.cls.splits:
        items = [list(islice(trial.fetched.items(split), SOME)) for _ in range(2)]
        keys = [list(map(repr, own)) for own in items]
        require(keys[0] == keys[1], f"the items of {split} come in another order the second time")
        records = trial.records(split)
        require([repr(r.item) for r in records] == keys[0], f"records of {split} holds other items than items")
        require([r.row for r in records] == list(range(len(records))), f"records of {split} is not numbered from 0")
        columns = set(trial.fetched.columns(split))
        odd = next((r for r in records if set(r.columns) != columns), None)
        require(odd is None, f"a record of {split} has the columns {set(odd.columns) if odd else ''}, not {columns}")


def items_are_of_the_domain(trial: DatasetTrial) -> None:
    """The domain finds a canonical form of every item; of items that are used as stored, the items themselves."""
    for split in trial.cls.splits:
        for record in trial.records(split):
            found = trial.domain.canonical(record.item)
            require(not isinstance(found, Invalid), f"{record.item!r} in {split} is no item: {found}")
            same = not trial.cls.canonical or trial.domain.key(found) == trial.domain.key(record.item)
            require(same, f"{record.item!r} in {split} is declared canonical, and its canonical form is {found!r}")


def splits_share_no_item(trial: DatasetTrial) -> None:
    """No item of one split is in another, where a model would be judged by what it learned from."""
    if sum(trial.cls.splits.values()) > COUNTED or trial.domain.repeats:
        raise Skipped("equal items all count in this domain, or there are too many to compare here")
    seen: dict[str, str] = {}
    for split in trial.cls.splits:
        for item in trial.fetched.items(split):
            key = trial.domain.key(trial.domain.canonical(item))
            require(seen.setdefault(key, split) == split, f"{item!r} is in {seen[key]} and in {split}")
