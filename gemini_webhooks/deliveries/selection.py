"""Which deliveries are meant, in words that can be stored, sent and shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.utils.dateparse import parse_datetime

from gemini_webhooks import clock
from gemini_webhooks.deliveries.common import rows
from gemini_webhooks.deliveries.metadata import at_path, read_path
from gemini_webhooks.exceptions import ConfigurationError, InvalidSelection
from gemini_webhooks.models import ReceiverRun, WebhookDelivery
from gemini_webhooks.storable import is_storable

#: Every SQLite takes so many in one statement, and whoever means more has a filter for it.
MAX_IDS = 500
MAX_ID = 2**63 - 1
MAX_LENGTH = 255
MAX_PATHS = 10
#: Whatever the time zone of the database, a time stays within what a time can be.
MARGIN = timedelta(days=2)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which deliveries are meant: those that meet every condition that is set.

    One that exists can be used; it is checked when it is made.

    Attributes:
        ids: primary keys.
        states: one of these.
        event_types: one of these; the empty string is an event without a type.
        endpoint: a slug; the empty string is the root endpoint, ``None`` any.
        signing: how they were signed.
        since: received at this aware time or later.
        until: received before this aware time.
        metadata: values by their path, as in :func:`deliveries.metadata.at_path`.
        receiver: this receiver of theirs is dead.
        error_class: a receiver of theirs is dead with this class of error; with ``receiver``,
            that one is.

    Raises:
        InvalidSelection: a value cannot be what it should be; the message names it.
    """

    ids: Sequence[int] = ()
    states: Sequence[str] = ()
    event_types: Sequence[str] = ()
    endpoint: str | None = None
    signing: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    receiver: str | None = None
    error_class: str | None = None

    def __post_init__(self) -> None:
        _check_ids(self.ids)
        _check_choices("states", self.states, WebhookDelivery.State.values)
        if self.signing is not None:
            _check_choices("signing", (self.signing,), WebhookDelivery.Signing.values)
        _check_list("event_types", self.event_types)
        for one in self.event_types:
            _check_text("event_types", one)
        for name in ("endpoint", "receiver", "error_class"):
            if getattr(self, name) is not None:
                _check_text(name, getattr(self, name))
        if "" in (self.receiver, self.error_class):
            raise InvalidSelection("receiver and error_class are names, or left out.")
        _check_times(self.since, self.until)
        _check_metadata(self.metadata)

    @property
    def is_empty(self) -> bool:
        """Whether it has no condition, so that every delivery is meant."""
        return not self.to_json()

    def to_json(self) -> dict[str, Any]:
        """The conditions that are set, as JSON that :meth:`from_json` reads."""
        found: dict[str, Any] = {}
        for name in FIELDS:
            value = getattr(self, name)
            if value is None or (value != "" and not value):
                continue
            if isinstance(value, datetime):
                value = value.astimezone(UTC).isoformat()
            elif isinstance(value, Mapping):
                value = dict(value)
            elif not isinstance(value, str):
                value = list(value)
            found[name] = value
        return found

    @classmethod
    def from_json(cls, stored: object) -> Selection:
        """Read what :meth:`to_json` wrote, or what somebody sent.

        Raises:
            InvalidSelection: it is none.
        """
        if not isinstance(stored, Mapping):
            raise InvalidSelection("A selection is an object of conditions.")
        unknown = sorted(str(name) for name in stored if name not in FIELDS)
        if unknown:
            raise InvalidSelection(
                f"There is no condition {unknown[0][:80]!r}; there are: {', '.join(FIELDS)}."
            )
        given = {name: value for name, value in stored.items() if value is not None}
        for name in ("since", "until"):
            if name in given:
                given[name] = _read_time(name, given[name])
        for name in ("ids", "states", "event_types"):
            if name in given:
                _check_list(name, given[name])
                given[name] = tuple(given[name])
        return cls(**given)


FIELDS = tuple(one.name for one in fields(Selection))


def select(selection: Selection) -> QuerySet[WebhookDelivery]:
    """The deliveries that are meant, in no order.

    The conditions are on columns as they are, so that the database can use its indexes; only
    metadata are searched in ways of their own.
    """
    found = rows(WebhookDelivery).order_by()
    if selection.ids:
        found = found.filter(pk__in=selection.ids)
    if selection.states:
        found = found.filter(state__in=selection.states)
    if selection.event_types:
        found = found.filter(event_type__in=selection.event_types)
    if selection.endpoint is not None:
        named = Q(endpoint__slug=selection.endpoint)
        found = found.filter(named if selection.endpoint else Q(endpoint=None))
    if selection.signing is not None:
        found = found.filter(signing=selection.signing)
    if selection.since is not None:
        found = found.filter(received_at__gte=clock.for_database(selection.since))
    if selection.until is not None:
        found = found.filter(received_at__lt=clock.for_database(selection.until))
    for path, value in selection.metadata.items():
        found = found.filter(at_path(path, value))
    if selection.receiver is not None or selection.error_class is not None:
        found = found.filter(pk__in=_with_dead_run(selection))
    return found


def _with_dead_run(selection: Selection) -> QuerySet[ReceiverRun, int]:
    dead = rows(ReceiverRun).filter(state=ReceiverRun.State.DEAD).order_by()
    if selection.receiver is not None:
        dead = dead.filter(receiver=selection.receiver)
    if selection.error_class is not None:
        dead = dead.filter(error_class=selection.error_class)
    return dead.values_list("delivery_id", flat=True)


def _check_list(name: str, values: object) -> None:
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        raise InvalidSelection(f"{name} is a list.")
    if len(values) > MAX_IDS:
        raise InvalidSelection(f"{name} has more than {MAX_IDS} entries; use another condition.")


def _check_ids(ids: object) -> None:
    _check_list("ids", ids)
    for one in ids:  # type: ignore[attr-defined]  # a list by now
        if not isinstance(one, int) or isinstance(one, bool) or not 0 < one <= MAX_ID:
            raise InvalidSelection("ids are whole numbers, the primary keys of deliveries.")


def _check_choices(name: str, values: object, choices: Sequence[str]) -> None:
    _check_list(name, values)
    for one in values:  # type: ignore[attr-defined]  # likewise
        if one not in choices:
            raise InvalidSelection(f"{name} may be {', '.join(choices)}; {one!r:.80} is none.")


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str) or len(value) > MAX_LENGTH or not is_storable(value):
        raise InvalidSelection(f"{name} is a text of at most {MAX_LENGTH} characters.")


def _check_times(since: object, until: object) -> None:
    for name, moment in (("since", since), ("until", until)):
        if moment is None:
            continue
        if not isinstance(moment, datetime) or moment.utcoffset() is None:
            raise InvalidSelection(f"{name} is a time with a time zone.")
        try:
            for margin in (-MARGIN, MARGIN):
                clock.for_database(moment.astimezone(UTC) + margin)
        except (ValueError, OverflowError):
            raise InvalidSelection(f"{name} is too far away.") from None
    if isinstance(since, datetime) and isinstance(until, datetime) and until <= since:
        raise InvalidSelection("until is later than since.")


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, Mapping):
        raise InvalidSelection("metadata is an object of values by path.")
    if len(metadata) > MAX_PATHS:
        raise InvalidSelection(f"metadata has more than {MAX_PATHS} paths.")
    for path, value in metadata.items():
        _check_text("a path in metadata", path)
        # Which value it is stays out of the message: it may be whose data it is.
        if not isinstance(value, str) or len(value) > MAX_LENGTH or not is_storable(value):
            raise InvalidSelection(
                f"A value in metadata is a text of at most {MAX_LENGTH} characters."
            )
        try:
            read_path(path)
        except ConfigurationError as error:
            raise InvalidSelection(f"metadata: {error}.") from None


def _read_time(name: str, value: object) -> datetime:
    """A time as JSON has it."""
    try:
        moment = value if isinstance(value, datetime) else parse_datetime(str(value))
    except ValueError:
        moment = None
    if moment is None:
        raise InvalidSelection(f"{name} is no ISO 8601 time, such as 2026-11-20T14:00:00Z.")
    return moment
