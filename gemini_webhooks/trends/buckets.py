"""Buckets of five minutes, and which one a time is in, here and in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connections
from django.db.models import Func, IntegerField
from django.utils import timezone

from gemini_webhooks import deliveries

SECONDS = 300
LENGTH = timedelta(seconds=SECONDS)
#: Buckets this near to each other are counted in one go, with those in between.
NEAR = 12 * LENGTH
#: All buckets are counted from here, in the time zone of the database. No zone of today is off by
#: less than five minutes, so they are the same in all.
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # of whatever zone


class Number(Func):
    """How many buckets lie between the epoch and a column of times."""

    output_field = IntegerField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """The cast takes the time zone of the connection, which Django sets."""
        template = f"FLOOR(EXTRACT(EPOCH FROM (%(expressions)s)::timestamp) / {SECONDS})::integer"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """MariaDB and MySQL hold times without a zone."""
        template = f"TIMESTAMPDIFF(SECOND, '1970-01-01', %(expressions)s) DIV {SECONDS}"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """So does SQLite, as text. Rounded, a time would be in the next bucket."""
        second = "substr(%(expressions)s, 1, 19)"
        template = f"CAST(strftime('%%%%s', {second}) AS INTEGER) / {SECONDS}"
        return self.as_sql(compiler, connection, template=template, **context)


def start_of(number: int) -> datetime:
    """The beginning of the bucket with this number, fit for a model field."""
    moment = _EPOCH + number * LENGTH
    if not settings.USE_TZ:
        return moment
    return moment.replace(tzinfo=connections[deliveries.alias()].timezone or UTC)


def floor(moment: datetime) -> datetime:
    """The beginning of the bucket that ``moment`` is in; both fit for a model field."""
    if timezone.is_naive(moment):
        return moment - (moment - _EPOCH) % LENGTH
    return moment - (moment - _EPOCH.replace(tzinfo=UTC)) % LENGTH


def ranges(starts: Iterable[datetime]) -> Iterator[tuple[datetime, datetime]]:
    """What to count to have all of these buckets: beginnings and ends, in order."""
    first: datetime | None = None
    last: datetime | None = None
    for start in sorted(starts):
        if first is not None and last is not None and start - last > NEAR:
            yield first, last + LENGTH
            first = None
        first, last = first or start, start
    if first is not None and last is not None:
        yield first, last + LENGTH
