"""Dead letters: runs that failed for good, in groups by receiver and class of error.

The groups are counted from the runs themselves. What is stored of a group is what somebody decided
about it, and up to when it was told of by e-mail; nobody else writes that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from itertools import islice
from operator import or_
from typing import Any, TypeVar

from django.db.models import Count, Exists, F, Max, Min, OuterRef, Q, QuerySet

from gemini_webhooks import clock
from gemini_webhooks.deliveries.common import rows
from gemini_webhooks.deliveries.erasing import ERASED_CLASS
from gemini_webhooks.models import FailureGroup, FailureMail, ReceiverRun
from gemini_webhooks.storable import storable_text

#: More groups than this are not looked at; those that failed last are.
MOST_GROUPS = 1000
#: Conditions in one statement: SQLite does not take a thousand.
MOST_CONDITIONS = 100
MAX_ACTOR_LENGTH, MAX_REASON_LENGTH = 255, 500
#: The one row of :class:`FailureMail`.
MAIL = "failures"

Item = TypeVar("Item")
Key = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Mute:
    """A group that somebody does not want to be told of; ``until`` is ``None`` if it has no end."""

    since: datetime
    until: datetime | None
    by: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Group:
    """Dead runs of one receiver with one class of error.

    Attributes:
        receiver: stable name.
        error_class: dotted name; empty on runs that an older version ended.
        count: how many there are. A muted group may have none.
        first_seen, last_seen: when the first and the last of them ended.
        latest_error: what is stored of the error of the last one.
        latest_delivery_id: primary key of the delivery that the last one is of.
        latest_webhook_id: its webhook id.
        mute: ``None`` if it is not muted, or not any more.
    """

    receiver: str
    error_class: str
    count: int = 0
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    latest_error: str = ""
    latest_delivery_id: int | None = None
    latest_webhook_id: str = ""
    mute: Mute | None = None

    @property
    def key(self) -> Key:
        """What tells it from others."""
        return self.receiver, self.error_class


@dataclass(frozen=True, kw_only=True)
class News:
    """What has failed in one group since it was told of.

    Attributes:
        receiver, error_class: the group.
        count: how many failures are new.
        total: how many there are, the new ones among them.
        first, last: when the first and the last of the new ones ended.
    """

    receiver: str
    error_class: str
    count: int
    total: int
    first: datetime
    last: datetime


def runs_of(receiver: str, error_class: str) -> QuerySet[ReceiverRun]:
    """The dead runs of a group, those that ended last first."""
    runs = _dead().filter(receiver=receiver, error_class=error_class)
    return runs.order_by("-finished_at", "-pk")


def groups(*, include_muted: bool, limit: int) -> list[Group]:
    """The groups, those that failed last first; muted ones at the end, with failures or without."""
    mutes = _mutes()
    found = [replace(group, mute=mutes.pop(group.key, None)) for group in _counted(_dead())]
    found += [Group(receiver=key[0], error_class=key[1], mute=mute) for key, mute in mutes.items()]
    chosen = [group for group in found if include_muted or group.mute is None]
    chosen.sort(key=lambda group: group.mute is not None)  # which keeps the order otherwise
    return _with_latest(chosen[:limit])


def group(receiver: str, error_class: str) -> Group | None:
    """One group; ``None`` if it has no dead run and is not muted."""
    mute = _mutes().get((receiver, error_class))
    found = _counted(runs_of(receiver, error_class))
    if not found:
        return Group(receiver=receiver, error_class=error_class, mute=mute) if mute else None
    return _with_latest([replace(found[0], mute=mute)])[0]


def mute(
    receiver: str, error_class: str, *, until: datetime | None, actor: str, reason: str
) -> FailureGroup:
    """Tell of no further failures of a group; returns its row. ``until`` is for the database."""
    _ensure([(receiver, error_class)])
    row = rows(FailureGroup).filter(receiver=receiver, error_class=error_class)
    row.update(
        muted_at=clock.now(),
        muted_until=until,
        muted_by=storable_text(actor, MAX_ACTOR_LENGTH),
        reason=storable_text(reason, MAX_REASON_LENGTH),
    )
    return row.get()


def unmute(receiver: str, error_class: str) -> FailureGroup | None:
    """Tell of a group again; returns its row, or ``None`` if it was not muted."""
    row = rows(FailureGroup).filter(receiver=receiver, error_class=error_class)
    was_muted = row.filter(_is_muted())
    if not was_muted.update(muted_at=None, muted_until=None, muted_by="", reason=""):
        return None
    return row.first()


def forget_empty() -> int:
    """Delete what is stored of groups without a dead run that are not muted. Returns how many."""
    own = _dead().filter(receiver=OuterRef("receiver"), error_class=OuterRef("error_class"))
    empty = rows(FailureGroup).exclude(_is_muted()).filter(~Exists(own))
    ids = list(empty.order_by().values_list("pk", flat=True)[:MOST_CONDITIONS])
    # Unless somebody mutes one at this moment.
    deleted, _ = rows(FailureGroup).exclude(_is_muted()).filter(pk__in=ids).delete()
    return deleted


# --- e-mail


def mail() -> FailureMail | None:
    """Since when failures are told of, and when the last mail went; ``None`` if they are not."""
    return rows(FailureMail).filter(pk=MAIL).first()


def begin_telling(now: datetime) -> None:
    """From now on failures are told of; those of before are not."""
    rows(FailureMail).bulk_create([FailureMail(name=MAIL, since=now)], ignore_conflicts=True)


def stop_telling() -> None:
    """Failures are not told of. Who begins anew will not be told of those meanwhile."""
    if rows(
        FailureMail
    ).exists():  # a look, where a write would keep SQLite's other writers waiting
        rows(FailureMail).all().delete()


def take_turn(seen: FailureMail, now: datetime) -> bool:
    """Set out to send the next mail; ``False`` if somebody else has since ``seen`` was read."""
    unchanged = rows(FailureMail).filter(pk=MAIL, since=seen.since, last_at=seen.last_at)
    return bool(unchanged.update(last_at=now))


def give_turn_back(seen: FailureMail, now: datetime) -> None:
    """It could not be sent: somebody may try again at once."""
    rows(FailureMail).filter(pk=MAIL, last_at=now).update(last_at=seen.last_at)


def news(*, since: datetime, until: datetime, now: datetime, limit: int) -> list[News]:
    """What failed up to ``until`` and was not told of yet, of groups that are not muted ``now``.

    Args:
        since: what failed before is not told of at all.
        until: what fails later is left for the next time.
        now: which mutes have ended by then.
        limit: how many groups at most.
    """
    known = {(row.receiver, row.error_class): row for row in rows(FailureGroup).all()}
    muted = _mutes(now).keys()
    found = (
        _news_of(group, after=_told(known.get(group.key), since), until=until)
        for group in _counted(_dead())
        if group.key not in muted
    )
    return list(islice((one for one in found if one is not None), limit))


def told(found: Sequence[News], until: datetime) -> None:
    """These were told of, up to ``until``."""
    keys = [(one.receiver, one.error_class) for one in found]
    _ensure(keys)
    for part in _parts(keys):
        earlier = Q(told_until=None) | Q(told_until__lt=until)
        rows(FailureGroup).filter(earlier, _any_of(part)).update(told_until=until)


def _told(row: FailureGroup | None, since: datetime) -> datetime:
    """Up to when a group was told of."""
    if row is None or row.told_until is None:
        return since
    return max(row.told_until, since)


def _news_of(group: Group, *, after: datetime, until: datetime) -> News | None:
    if group.last_seen is None or group.last_seen <= after:
        return None
    new = runs_of(*group.key).filter(finished_at__gt=after, finished_at__lte=until).order_by()
    counted = new.aggregate(count=Count("*"), first=Min("finished_at"), last=Max("finished_at"))
    if not counted["count"]:
        return None
    return News(
        receiver=group.receiver, error_class=group.error_class, total=group.count, **counted
    )


# --- shared


def _dead() -> QuerySet[ReceiverRun]:
    dead = rows(ReceiverRun).filter(state=ReceiverRun.State.DEAD)
    return dead.exclude(error_class=ERASED_CLASS)


def _counted(runs: QuerySet[ReceiverRun]) -> list[Group]:
    """Their groups, the latest first. Reads nothing but the index ``gw_run_dead``."""
    found = (
        runs.order_by()
        .values("receiver", "error_class")
        .annotate(count=Count("*"), first_seen=Min("finished_at"), last_seen=Max("finished_at"))
        .order_by(F("last_seen").desc(nulls_last=True), "receiver", "error_class")
    )
    return [Group(**values) for values in found[:MOST_GROUPS]]


def _with_latest(found: Sequence[Group]) -> list[Group]:
    """The same groups, with the last error of each."""
    latest: dict[Key, dict[str, Any]] = {}
    for part in _parts([group for group in found if group.count]):
        last = (Q(finished_at=group.last_seen) & _is(group.key) for group in part)
        ended_last = _dead().filter(reduce(or_, last)).order_by()
        newest = ended_last.values("receiver", "error_class").annotate(newest=Max("pk"))
        runs = rows(ReceiverRun).filter(pk__in=[values["newest"] for values in newest])
        for receiver, error_class, error, delivery_id, webhook_id in runs.values_list(
            "receiver", "error_class", "last_error", "delivery_id", "delivery__webhook_id"
        ):
            latest[receiver, error_class] = {
                "latest_error": error,
                "latest_delivery_id": delivery_id,
                "latest_webhook_id": webhook_id,
            }
    return [replace(group, **latest.get(group.key, {})) for group in found]


def _mutes(now: datetime | None = None) -> dict[Key, Mute]:
    """What is muted; a mute that has an end is over by itself."""
    return {
        (row.receiver, row.error_class): Mute(
            since=row.muted_at, until=row.muted_until, by=row.muted_by, reason=row.reason
        )
        for row in rows(FailureGroup).filter(_is_muted(now))
        if row.muted_at is not None
    }


def _is_muted(now: datetime | None = None) -> Q:
    lasts = Q(muted_until=None) | Q(muted_until__gt=now or clock.now())
    return Q(muted_at__isnull=False) & lasts


def _ensure(keys: Iterable[Key]) -> None:
    """See to it that each group has a row."""
    new = [
        FailureGroup(receiver=receiver, error_class=error_class) for receiver, error_class in keys
    ]
    rows(FailureGroup).bulk_create(new, ignore_conflicts=True)


def _is(key: Key) -> Q:
    return Q(receiver=key[0], error_class=key[1])


def _any_of(keys: Iterable[Key]) -> Q:
    return reduce(or_, map(_is, keys))


def _parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), MOST_CONDITIONS):
        yield items[start : start + MOST_CONDITIONS]
