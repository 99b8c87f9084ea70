"""The second walk: a request becomes raw draws, the domain inspects them, and rows come out, in a fixed order.

Sampling goes on while worker processes inspect what was drawn before. Neither the size of the batches
nor the number of workers changes a row. This module knows no domain and imports no torch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from molgen.data.keys import SeenKeys
from molgen.domain import Domain, Invalid, Sample
from molgen.errors import PartialFailure, UsageError
from molgen.inference.request import CRITERIA, Request, Row, Tally
from molgen.inference.score import Score, kind_name, named_parts, score
from molgen.workers.inspector import Inspection, Inspector

if TYPE_CHECKING:
    from molgen.model.sampling import RawSample
    from molgen.model.stages import Model

#: The smallest batch when only a few more draws are needed: fewer would hardly take less time.
SMALLEST_BATCH = 64
#: Samples after which the share of accepted ones is looked at again, and the least share to go on with.
PATIENCE, LEAST_ACCEPTANCE = 10_000, 0.001
#: Seconds of sampling without an accepted sample after which it stops, where no `max_samples` is asked for.
IDLE_SECONDS = 600.0


class Generation:
    """One request as it is carried out: `rows()` does the work, `tally` says how it stands.

    Args:
        model: a fitted or loaded model, or two stages of one.
        request: what to generate.
        inspector: of the model's domain; with filters where the request names them.
        watch: called with the tally after each batch, however few of it were accepted.

    Raises:
        UsageError: novel items are asked for, and the model carries no keys of its training data.
    """

    def __init__(
        self,
        model: Model,
        request: Request,
        inspector: Inspector,
        watch: Callable[[Tally], object] = lambda tally: None,
    ) -> None:
        if "novel" in request.accept and not model.keys:
            raise UsageError("this model carries no keys of its training data, so it cannot say what is novel")
        _require_criteria(model.domain, request.accept)
        _require_repairs(model, request.repair)
        self._model, self._request, self._inspector = model, request, inspector
        self._watch = watch
        self._key = model.domain.key
        self._seen = SeenKeys()
        #: the number of the next draw.
        self._next = request.first
        self._window = (0, 0)
        self._low = False
        #: seconds of sampling since a batch had an accepted sample.
        self._idle = 0.0
        #: what draws that are not settled were before they were repaired.
        self._repaired: dict[int, Invalid] = {}
        self.tally = Tally(
            repaired=0 if request.repair else None,
            novel=0 if model.keys else None,
            accepted=0 if request.accept else None,
        )

    def rows(self) -> Iterator[Row]:
        """The rows of the request, in the order of the draws.

        Raises:
            UsageError: the model cannot do what the request asks for.
            PartialFailure: so few draws are acceptable that it stops; the rows before stay good.
        """
        with closing(self._seen):
            yield from self._rows()

    def _rows(self) -> Iterator[Row]:
        begun = time.monotonic()
        for drawn, inspections in self._inspector.stream(self._batches(), lambda draw: draw.item):
            before = self.tally.accepted
            kept = self._settled(drawn, inspections)
            self._idle = 0.0 if self.tally.accepted != before else self._idle + time.monotonic() - begun
            yield from kept
            self._watch(self.tally)
            if self._low or self._at_the_limit() or self._is_idle():
                raise PartialFailure(self._low_acceptance())
            if self._done():
                return
            begun = time.monotonic()  # whoever takes the rows may take long

    def _batches(self) -> Iterator[list[RawSample]]:
        """Batches of samples for as long as more are needed; an empty one while those before are probably enough."""
        while not self._done():
            size = self._batch_size(self._next - self._request.first - self.tally.drawn)
            yield self._draw(size) if size else []

    def _done(self) -> bool:
        settled = self.tally.drawn if self.tally.accepted is None else self.tally.accepted
        return settled >= self._request.count

    def _batch_size(self, pending: int) -> int:
        """How many to draw next when so many are not inspected yet; 0 when those are probably enough."""
        most, wanted = self._request.batch_size, self._request.count
        if self.tally.accepted is None:
            return min(most, wanted - (self._next - self._request.first))
        # As if nine of ten draws had been accepted before the first one.
        rate = (self.tally.accepted + 9) / (self.tally.drawn + 10)
        missing = (wanted - self.tally.accepted) / rate - pending
        if self._request.max_samples is not None:
            most = min(most, self._request.max_samples - self.tally.drawn - pending)
        return max(0, min(most, max(SMALLEST_BATCH, math.ceil(1.02 * missing)))) if missing > 0 else 0

    def _draw(self, size: int) -> list[RawSample]:
        request = self._request
        try:
            drawn = self._model.sample(
                size,
                seed=request.seed,
                first=self._next,
                batch_size=size,
                condition=request.condition_of(range(self._next, self._next + size)),
                known=request.known,
                given=request.given_of(range(self._next, self._next + size)),
                **request.options,
            )
            self._next += size
            return [self._after_repairs(draw) for draw in drawn] if request.repair else list(drawn)
        except ValueError as error:  # an option that the family has not, or a value that it does not take
            raise UsageError(str(error)) from error

    def _after_repairs(self, draw: RawSample) -> RawSample:
        """A draw that is no item after the repairs, if that made it one; its density was of what it was before."""
        if not isinstance(draw.item, Invalid) or not draw.sample:
            return draw
        encoder, sample = self._model.encoder, draw.sample
        for name in self._request.repair:
            sample = encoder.repaired(sample, name)
        item = encoder.decode(sample)
        if isinstance(item, Invalid):
            return draw
        self._repaired[draw.index] = draw.item
        return replace(draw, item=item, sample=sample, log_density=math.nan, kind=None, parts={})

    # --- inspecting -------------------------------------------------------------------------------

    def _settled(self, drawn: Sequence[RawSample], inspections: Sequence[Inspection]) -> list[Row]:
        """The rows to keep of a batch."""
        kept: list[tuple[RawSample, Inspection]] = []
        for draw, inspection in zip(drawn, map(self._finished, inspections), strict=True):
            accepted = self._count(inspection, draw.index in self._repaired)
            if accepted or not self._request.accept:
                kept.append((draw, inspection))
            if self._done() or self._acceptance_is_low() or self._at_the_limit():
                break
        rows = [
            Row(
                draw.index,
                inspection.item,
                raw.raw if isinstance(raw, Invalid) else raw,
                found,
                inspection.properties,
                self._repaired[draw.index].reason if draw.index in self._repaired else "",
                inspection,
            )
            for (draw, inspection), found in zip(kept, self._scores(kept), strict=True)
            for raw in [self._repaired.get(draw.index, draw.item)]
        ]
        for draw in drawn:
            self._repaired.pop(draw.index, None)
        return rows

    def _finished(self, inspection: Inspection) -> Inspection:
        """The inspection; what users' files may hold but no model is to make is invalid."""
        reason = "" if inspection.item is None else self._model.domain.unfinished(inspection.item)
        return Inspection(None, reason) if reason else inspection

    def _count(self, inspection: Inspection, repaired: bool) -> bool:
        """Take a draw into the tally and say whether it meets every criterion."""
        met = self._criteria_met(inspection)
        self.tally.drawn += 1
        if repaired:
            self.tally.repaired = (self.tally.repaired or 0) + ("valid" in met)
        else:
            self.tally.valid += "valid" in met
        self.tally.unique += "unique" in met
        if self.tally.novel is not None:
            self.tally.novel += {"unique", "novel"} <= met
        if inspection.passes is not None:
            self.tally.passing = (self.tally.passing or 0) + ("filters" in met)
        accepted = "valid" in met and met.issuperset(self._request.accept)
        if self.tally.accepted is not None:
            self.tally.accepted += accepted
        return accepted

    def _criteria_met(self, inspection: Inspection) -> set[str]:
        if inspection.item is None:
            return set()
        key = self._key(inspection.item)
        met = {"valid", *(name for name, passes in inspection.flags.items() if passes)}
        if inspection.passes:
            met.add("filters")
        if key not in self._request.seen and self._seen.add(key):
            met.add("unique")
        if not any(key in known for known in self._model.keys.values()):
            met.add("novel")
        return met

    def _acceptance_is_low(self) -> bool:
        """Whether nearly none of the last `PATIENCE` draws were accepted."""
        start, accepted = self._window
        if self.tally.accepted is not None and self.tally.drawn - start >= PATIENCE:
            self._low = self.tally.accepted - accepted < LEAST_ACCEPTANCE * PATIENCE
            self._window = (self.tally.drawn, self.tally.accepted)
        return self._low

    def _at_the_limit(self) -> bool:
        """Whether all samples that may be drawn are drawn and more are wanted."""
        limit = self._request.max_samples if self.tally.accepted is not None else None
        return limit is not None and self.tally.drawn >= limit and not self._done()

    def _is_idle(self) -> bool:
        """Whether nothing was accepted for so long that it stops."""
        unlimited = self.tally.accepted is not None and self._request.max_samples is None
        return unlimited and self._idle >= IDLE_SECONDS

    def _low_acceptance(self) -> str:
        rates = ", ".join(f"{name} {rate:.2%}" for name, rate in self.tally.rates().items())
        if self._low:
            because = f"of the last {PATIENCE:,} fewer than 1 in {1 / LEAST_ACCEPTANCE:,.0f} was acceptable"
        elif self._is_idle():
            because = f"none was accepted for {self._idle / 60:.0f} minutes (--max-samples N goes on for N samples)"
        else:
            because = "which is the limit"
        return (
            f"stopped with {self.tally.accepted or 0:,} of {self._request.count:,} after {self.tally.drawn:,} samples: "
            f"{because} ({rates}); ask for fewer, or for fewer criteria"
        )

    # --- density ----------------------------------------------------------------------------------

    def _scores(self, kept: Sequence[tuple[RawSample, Inspection]]) -> list[Score]:
        """log p of each canonical item; the one of sampling where it is the same sample."""
        found: dict[int, Score] = {}
        rest: dict[int, Sample | Invalid] = {}
        for place, (draw, inspection) in enumerate(kept):
            if inspection.item is None:
                nothing = {name: (math.nan, "") for name in self._model.density_parts if self._request.density}
                found[place] = Score(error=inspection.error or "invalid", parts=nothing)
                continue
            if not self._request.density:
                found[place] = Score()
                continue
            sample = self._model.encoder.encode(inspection.item)
            if draw.kind is not None and _equal(sample, draw.sample):
                found[place] = Score(draw.log_density, kind_name(draw.kind), parts=named_parts(draw.parts))
            else:
                rest[place] = sample
        asked = self._request.condition_of([kept[place][0].index for place in rest])
        scores = score(self._model, list(rest.values()), asked, self._request.batch_size)
        found |= dict(zip(rest, scores, strict=True))
        return [found[place] for place in range(len(kept))]


def _require_criteria(domain: Domain, names: Sequence[str]) -> None:
    others = [name for name in names if name not in CRITERIA]
    known = [*CRITERIA, *domain.descriptors().filters] if others else CRITERIA
    for name in others:
        if name not in known:
            raise UsageError(f"no criterion is named {name!r}; known: {', '.join(known)}")


def _require_repairs(model: Model, names: Sequence[str]) -> None:
    known = model.encoder.repairs
    for name in names:
        if name not in known:
            listed = ", ".join(known) or "none"
            raise UsageError(f"the encoder {model.config.encoder.name} has no repair {name!r}; known: {listed}")


def _equal(sample: Sample | Invalid, drawn: Sample) -> bool:
    return not isinstance(sample, Invalid) and all(np.array_equal(array, drawn[name]) for name, array in sample.items())


def false_positive_rate(model: Model) -> float:
    """The probability that `novel` is denied to an item that is novel."""
    return 1 - math.prod(1 - keys.false_positive_rate for keys in model.keys.values())
