"""What a list may be asked for, by the parameters of its address.

Each query is a serializer, so that what is accepted and what the schema says are one thing. A
parameter that is not known, or is given twice, is refused: a condition that is overlooked would
show everything. Most conditions have an index; one that has none and that hardly any row meets,
such as an outcome of attempts, takes as long as the table is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from django.db.models import Exists, OuterRef, QuerySet
from rest_framework import serializers
from rest_framework.settings import api_settings

from gemini_webhooks import clock, deliveries
from gemini_webhooks.api import fields, paging
from gemini_webhooks.api.fields import Moment, Text, Whole, Yes
from gemini_webhooks.deliveries.selection import MAX_LENGTH, MAX_PATHS, Selection
from gemini_webhooks.exceptions import InvalidSelection
from gemini_webhooks.models import ReceiverRun

#: Without ``\\s``: not all that read a schema mean the same by it.
SPACE = r"\x00-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
KEY = rf'[^{SPACE}.:*$"\[\]=]+'
IN_BRACKETS = r'\[(?:[0-9]{1,9}|"[^"\\\x00-\x1f]+")\]'
PATH = rf"(?:{KEY}|{IN_BRACKETS})(?:\.{KEY}|{IN_BRACKETS})*"
METADATA = rf"^{PATH}=[^\x00]*$"

Rows = QuerySet[Any]


class Query(serializers.Serializer[Any]):
    """The parameters of one address.

    Attributes:
        is_query: numbers and truth values come as texts.
        columns: parameters that are compared with a column just as they are.
    """

    is_query: ClassVar[bool] = True
    columns: ClassVar[Mapping[str, str]] = {}

    def to_internal_value(self, data: Any) -> Any:
        """Read the parameters.

        Raises:
            ValidationError: one is unknown, given twice, or cannot be what it should be.
        """
        given: dict[str, list[str]] = dict(data.lists())
        given.pop(str(api_settings.URL_FORMAT_OVERRIDE), None)  # REST framework's own
        fields.refuse_unknown(self, given)
        lists = {name for name in given if isinstance(self.fields[name], serializers.ListField)}
        twice = [name for name in given if len(given[name]) > 1 and name not in lists]
        if twice:
            raise serializers.ValidationError(dict.fromkeys(twice, "Given more than once."))
        # Not as the QueryDict that it is: REST framework would pass over empty parameters.
        return super().to_internal_value(
            {name: values if name in lists else values[0] for name, values in given.items()}
        )

    @property
    def asked(self) -> dict[str, Any]:
        """The parameters that were given, once they are known to be valid."""
        found: dict[str, Any] = self.validated_data
        return found

    def narrow(self, rows: Rows) -> Rows:
        """Those rows that meet all conditions."""
        for name, column in self.columns.items():
            if name in self.asked:
                rows = rows.filter(**{column: self.asked[name]})
        return rows


class ListQuery(Query):
    """Of a list, in the order of primary keys.

    Attributes:
        time: the column that the list is ordered by, before primary keys.
    """

    time: ClassVar[str | None] = None

    cursor = serializers.RegexField(
        paging.BY_ID, required=False, help_text="Where the page begins; from next or previous."
    )
    page_size = Whole(
        required=False,
        min_value=1,
        max_value=paging.MAX_SIZE,
        help_text=f"How many rows at most; {paging.DEFAULT_SIZE} if not given.",
    )

    @property
    def begins(self) -> paging.Cursor | None:
        """Where the page begins."""
        cursor = self.asked.get("cursor")
        return paging.Cursor.read(cursor) if cursor else None

    @property
    def size(self) -> int:
        """How many rows the page has at most."""
        return int(self.asked.get("page_size", paging.DEFAULT_SIZE))


def one_of(choice: type[fields.Choice], what: str) -> serializers.ListField:
    """A condition with several values, of which one has to hold."""
    return serializers.ListField(
        child=choice(), required=False, max_length=20, help_text=f"{what}; may be repeated."
    )


def primary_key(of: str) -> Whole:
    """A condition on a related row."""
    return Whole(
        required=False, min_value=1, max_value=fields.MAX_ID, help_text=f"Primary key of {of}."
    )


def same(what: str, *, max_length: int = MAX_LENGTH, **options: Any) -> Text:
    """A condition on the whole of a text."""
    return Text(required=False, max_length=max_length, help_text=f"{what}.", **options)


class DeliveryQuery(ListQuery):
    """Of deliveries."""

    time = "received_at"
    columns = {"webhook_id": "webhook_id", "resource_id": "resource_id", "source": "source"}

    cursor = serializers.RegexField(
        paging.BY_TIME, required=False, help_text="Where the page begins; from next or previous."
    )
    state = one_of(fields.DeliveryState, "State")
    event_type = serializers.ListField(
        child=Text(max_length=MAX_LENGTH, allow_blank=True),
        required=False,
        max_length=20,
        help_text="Event type; empty for those that have none; may be repeated.",
    )
    endpoint = same(
        "Slug of the endpoint; empty for the root endpoint", allow_blank=True, max_length=100
    )
    signing = fields.Signing(required=False, help_text="How it was signed.")
    source = fields.Source(  # type: ignore[assignment]  # a declaration
        required=False, help_text="How it came here."
    )
    since = Moment(required=False, help_text="Received at this time or later.")
    until = Moment(required=False, help_text="Received before this time.")
    webhook_id = same("Webhook id")
    resource_id = same("Resource id")
    has_failures = Yes(required=False, help_text="Whether a receiver of it has given up.")
    is_duplicate = Yes(required=False, help_text="Whether it was sent more than once.")
    metadata = serializers.ListField(
        child=serializers.RegexField(METADATA, max_length=MAX_LENGTH, trim_whitespace=False),
        required=False,
        max_length=MAX_PATHS,
        help_text="Value at a path of the user metadata, as in tenant=acme; may be repeated, and "
        "all have to hold. Needs the permission view_payload.",
    )

    def narrow(self, rows: Rows) -> Rows:
        """Those deliveries that meet all conditions."""
        asked = self.asked
        metadata = [_path_and_value(condition) for condition in asked.get("metadata", ())]
        values = dict(metadata)
        since, until = asked.get("since"), asked.get("until")
        if len(values) < len(metadata) and len(set(metadata)) > len(values):
            return rows.none()  # nothing has two values in one place
        if since and until and until <= since:
            return rows.none()
        try:
            selection = Selection(
                states=asked.get("state", ()),
                event_types=asked.get("event_type", ()),
                endpoint=asked.get("endpoint"),
                signing=asked.get("signing"),
                since=since,
                until=until,
                metadata=values,
            )
        except InvalidSelection as error:
            raise serializers.ValidationError({"metadata": [str(error)]}) from None
        rows = super().narrow(deliveries.select(selection))
        if "is_duplicate" in asked:
            repeated = {"duplicate_count__gt": 0}
            rows = rows.filter(**repeated) if asked["is_duplicate"] else rows.exclude(**repeated)
        if "has_failures" in asked:
            dead = Exists(
                ReceiverRun.objects.filter(delivery=OuterRef("pk"), state=ReceiverRun.State.DEAD)
            )
            rows = rows.filter(dead if asked["has_failures"] else ~dead)
        return rows


def _path_and_value(condition: str) -> tuple[str, str]:
    """The halves of a condition that has its form: a key in quotes may have = in it."""
    path = re.match(PATH, condition)
    end = path.end() if path else 0
    return condition[:end], condition[end + 1 :]


class RunQuery(ListQuery):
    """Of runs."""

    columns = {
        "delivery": "delivery",
        "webhook_id": "delivery__webhook_id",
        "state": "state__in",
        "receiver": "receiver",
        "error_class": "error_class",
    }

    delivery = primary_key("the delivery")
    webhook_id = same("Webhook id of the delivery")
    state = one_of(fields.RunState, "State")
    receiver = same("Name of the receiver")
    error_class = same("Class of the last error")


class AttemptQuery(ListQuery):
    """Of attempts."""

    columns = {
        "run": "run",
        "delivery": "run__delivery",
        "outcome": "outcome",
        "trigger": "trigger",
    }

    run = primary_key("the run")
    delivery = primary_key("the delivery")
    outcome = fields.Outcome(required=False, help_text="How it ended.")
    trigger = fields.Trigger(required=False, help_text="How it came about.")


class ResultQuery(ListQuery):
    """Of result files."""

    columns = {
        "delivery": "delivery",
        "webhook_id": "delivery__webhook_id",
        "resource_id": "delivery__resource_id",
        "state": "state__in",
    }

    delivery = primary_key("the delivery")
    webhook_id = same("Webhook id of the delivery")
    resource_id = same("Resource id of the delivery")
    state = one_of(fields.ResultState, "State")


class RejectionQuery(ListQuery):
    """Of rejected requests."""

    columns = {"reason": "reason", "status": "status", "endpoint_slug": "endpoint_slug"}

    reason = same("Code of the reason", max_length=60)
    status = Whole(required=False, min_value=400, max_value=599, help_text="HTTP status.")
    endpoint_slug = same(
        "Slug in the address; empty for the root", max_length=100, allow_blank=True
    )
    since = Moment(required=False, help_text="Received at this time or later.")
    until = Moment(required=False, help_text="Received before this time.")

    def narrow(self, rows: Rows) -> Rows:
        """Those requests that meet all conditions."""
        rows = super().narrow(rows)
        for name, lookup in (("since", "gte"), ("until", "lt")):
            if name in self.asked:
                moment = clock.for_database(self.asked[name])
                rows = rows.filter(**{f"received_at__{lookup}": moment})
        return rows


class EndpointQuery(ListQuery):
    """Of endpoints."""

    columns = {"slug": "slug", "state": "state"}

    slug = same("Slug", max_length=100)
    state = fields.EndpointState(required=False, help_text="State.")


class ReplayQuery(ListQuery):
    """Of replays."""

    columns = {"state": "state", "delivery": "log__delivery"}

    state = fields.ReplayState(required=False, help_text="State.")
    delivery = primary_key("a delivery that it came to")


class RowsQuery(Query):
    """Of the rows of a result file."""

    after = Whole(
        required=False,
        min_value=0,
        max_value=fields.MAX_ID,
        help_text="Position in the file, in bytes; from next. The page begins with the first row "
        "that begins there or later.",
    )
    page_size = Whole(
        required=False,
        min_value=1,
        max_value=paging.MAX_SIZE,
        help_text=f"How many rows at most; {paging.DEFAULT_SIZE} if not given.",
    )


class StatsQuery(Query):
    """Of figures over time."""

    period = fields.Period(required=False, help_text="24h if not given.")
