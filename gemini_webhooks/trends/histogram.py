"""Times until done, as a histogram with logarithmic bounds: percentiles within ten per cent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from django.db.models import Func, IntegerField

#: Each bound is so many times the one before; the first is a millisecond.
GROWTH = 1.2
#: The last bin, without an upper bound: more than a year.
LAST = math.ceil(math.log(366 * 24 * 3600 * 1000, GROWTH))


@dataclass(frozen=True, kw_only=True)
class Latency:
    """From verification until the last receiver was done, for the first time.

    Attributes:
        count: of so many deliveries.
        p50, p95, p99: so many per cent of them took no longer, in seconds.
    """

    count: int
    p50: float
    p95: float
    p99: float


class Bin(Func):
    """The bin of a column of durations."""

    output_field = IntegerField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Durations are intervals."""
        milliseconds = "EXTRACT(EPOCH FROM %(expressions)s)::double precision * 1000"
        template = f"LEAST(FLOOR(LN(GREATEST({milliseconds}, 1)) / {_STEP}), {LAST})::integer"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Durations are microseconds."""
        template = f"LEAST(FLOOR(LN(GREATEST(%(expressions)s / 1000, 1)) / {_STEP}), {LAST})"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Likewise."""
        milliseconds = "MAX(%(expressions)s / 1000.0, 1)"
        template = f"MIN(CAST(LN({milliseconds}) / {_STEP} AS INTEGER), {LAST})"
        return self.as_sql(compiler, connection, template=template, **context)


_STEP = repr(math.log(GROWTH))


def latency(bins: Mapping[int, int]) -> Latency | None:
    """The percentiles of a histogram, number of deliveries by bin; ``None`` if it is empty."""
    count = sum(bins.values())
    if not count:
        return None
    return Latency(
        count=count,
        p50=_percentile(bins, count, 0.50),
        p95=_percentile(bins, count, 0.95),
        p99=_percentile(bins, count, 0.99),
    )


def _percentile(bins: Mapping[int, int], count: int, share: float) -> float:
    """In seconds, by nearest rank: the middle of the bin in which that one is."""
    numbers = sorted(bins)
    up_to = accumulate(bins[number] for number in numbers)
    rank = math.ceil(count * share)
    number = next(one for one, total in zip(numbers, up_to, strict=True) if total >= rank)
    middle: float = GROWTH ** (number + 0.5) / 1000
    return middle
