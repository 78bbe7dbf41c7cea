"""The kinds of values that go in and out, read strictly: what a schema does not allow is refused.

REST framework's own fields read ``"yes"``, ``"1_0"`` or a number in the place of a text; a caller
who got something wrong would not be told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from gemini_webhooks import clock, trends
from gemini_webhooks.models import (
    Attempt,
    ReceiverRun,
    Replay,
    ResultFile,
    WebhookDelivery,
    WebhookEndpoint,
)

MAX_ID = 2**63 - 1
#: No row is older or newer; times beyond are taken for these, which not every database knows.
EARLIEST, LATEST = datetime(1980, 1, 1, tzinfo=UTC), datetime(2900, 1, 1, tzinfo=UTC)
TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<time>\d\d:\d\d:\d\d)(?P<fraction>\.\d{1,6})?\d*"
    r"(?P<zone>[Zz]|[+-]\d\d:\d\d)",
    re.ASCII,
)
WHOLE = re.compile(r"-?\d{1,19}", re.ASCII)


def from_query(field: serializers.Field[Any, Any, Any, Any]) -> bool:
    """Whether the values come from an address, where all are texts."""
    return getattr(field.root, "is_query", False)


class Text(serializers.CharField):
    """A text, just as it was sent."""

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        """Read it.

        Raises:
            ValidationError: it is no text.
        """
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class TextExtension(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]  # half typed
    """Says in the schema what REST framework's own validators refuse."""

    target_class = Text

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        """The schema of a text."""
        del auto_schema, direction
        text: Text = self.target
        found = {"type": "string", "pattern": r"^[^\x00]*$", "maxLength": text.max_length}
        if text.allow_blank:
            # Wrapped: drf-spectacular would offer the empty text besides, as if this were without.
            return {"anyOf": [found]}
        return {**found, "minLength": 1}


class Whole(serializers.IntegerField):
    """A whole number."""

    def to_internal_value(self, data: Any) -> int:
        """Read it.

        Raises:
            ValidationError: it is none.
        """
        if from_query(self):
            is_whole = isinstance(data, str) and WHOLE.fullmatch(data) is not None
        else:
            is_whole = not isinstance(data, bool) and (
                isinstance(data, int) or (isinstance(data, float) and data.is_integer())
            )
        if not is_whole:
            self.fail("invalid")
        return int(data)


class Yes(serializers.BooleanField):
    """``true`` or ``false``."""

    def to_internal_value(self, data: Any) -> bool:
        """Read it.

        Raises:
            ValidationError: it is neither.
        """
        if from_query(self):
            data = {"true": True, "false": False}.get(data)
        if not isinstance(data, bool):
            raise serializers.ValidationError("Must be true or false.")
        return data


@extend_schema_field({"type": "string", "format": "date-time"})
class Moment(serializers.Field[datetime, Any, str, Any]):
    """A time: in UTC when it goes out, with its time zone when it comes in."""

    def to_representation(self, value: datetime) -> str:
        """Write it, whatever ``USE_TZ`` says."""
        return clock.aware(value).isoformat().replace("+00:00", "Z")

    def to_internal_value(self, data: Any) -> datetime:
        """Read it.

        Raises:
            ValidationError: it is no time, or has no time zone.
        """
        found = TIME.fullmatch(data) if isinstance(data, str) else None
        if found is None:
            raise serializers.ValidationError(
                "Must be a time with its time zone, as in 2026-11-20T14:00:00Z. In an address + is "
                "written %2B."
            )
        try:
            return _within(found)
        except (ValueError, OverflowError):
            raise serializers.ValidationError("There is no such time.") from None


@extend_schema_field({"type": "number", "format": "double", "description": "In seconds."})
class Seconds(serializers.Field[timedelta, Any, float, Any]):
    """How long something took, in seconds."""

    def to_representation(self, value: timedelta) -> float:
        """Write it."""
        return value.total_seconds()


@extend_schema_field({})
class AnyJSON(serializers.Field[Any, Any, Any, Any]):
    """Any JSON, as it is."""

    def to_representation(self, value: Any) -> Any:
        """Write it."""
        return value


@extend_schema_field({"type": "object", "additionalProperties": {}})
class AnObject(AnyJSON):
    """Any JSON object, as it is."""


class Choice(serializers.ChoiceField):
    """One of a few words, which have a name of their own in the schema."""

    words: Sequence[str]

    def __init__(self, **options: Any) -> None:
        super().__init__(choices=self.words, **options)

    def to_internal_value(self, data: Any) -> Any:
        """Read it.

        Raises:
            ValidationError: it is none of them.
        """
        if not isinstance(data, str):
            self.fail("invalid_choice", input=data)
        return super().to_internal_value(data)


def named(name: str) -> Any:
    """Give the choices of a field a name in the schema, whatever settings the site has."""

    def decorate(field: type[Choice]) -> type[Choice]:
        schema = {"type": "string", "enum": list(field.words)}
        decorated: type[Choice] = extend_schema_field(schema, component_name=name)(field)
        return decorated

    return decorate


@named("GeminiDeliveryState")
class DeliveryState(Choice):
    """State of a delivery."""

    words = WebhookDelivery.State.values


@named("GeminiSigning")
class Signing(Choice):
    """How a delivery was signed."""

    words = WebhookDelivery.Signing.values


@named("GeminiDeliverySource")
class Source(Choice):
    """How a delivery came here."""

    words = WebhookDelivery.Source.values


@named("GeminiRunState")
class RunState(Choice):
    """State of a run."""

    words = ReceiverRun.State.values


@named("GeminiAttemptTrigger")
class Trigger(Choice):
    """How an attempt came about."""

    words = Attempt.Trigger.values


@named("GeminiAttemptOutcome")
class Outcome(Choice):
    """How an attempt ended."""

    words = Attempt.Outcome.values


@named("GeminiResultState")
class ResultState(Choice):
    """State of a result file."""

    words = ResultFile.State.values


@named("GeminiEndpointState")
class EndpointState(Choice):
    """State of an endpoint."""

    words = WebhookEndpoint.State.values


@named("GeminiReplayWhat")
class What(Choice):
    """What of the deliveries runs again."""

    words = Replay.What.values


@named("GeminiReplayState")
class ReplayState(Choice):
    """State of a replay."""

    words = Replay.State.values


@named("GeminiBodyEncoding")
class BodyEncoding(Choice):
    """How a body is written."""

    words = ("utf-8", "base64")


@named("GeminiContentWithheld")
class Withheld(Choice):
    """Why there is no body."""

    words = ("no", "permission", "removed", "redaction")


@named("GeminiPeriod")
class Period(Choice):
    """How far figures go back."""

    words = trends.PERIODS


#: Nobody reads of more mistakes in one answer.
MOST_TOLD = 20


def refuse_unknown(serializer: serializers.BaseSerializer[Any], data: Mapping[str, Any]) -> None:
    """Refuse what a serializer has no field for: a misspelt condition would be none.

    Raises:
        ValidationError: there is such a name.
    """
    known: Sequence[str] = list(getattr(serializer, "fields", {}))
    unknown = [str(name) for name in data if name not in known]
    if unknown:
        raise serializers.ValidationError(
            {name[:80]: f"Unknown. There are: {', '.join(known)}." for name in unknown[:MOST_TOLD]}
        )


def _within(found: re.Match[str]) -> datetime:
    """A time that every database can compare with.

    Raises:
        ValueError: there is no such time.
    """
    zone = found["zone"].upper()
    clock_time = found["time"]
    leap = clock_time.endswith(":60")
    if leap:  # a leap second, which Python does not know
        clock_time = f"{clock_time[:-2]}59"
    moment = datetime.fromisoformat(f"{found['date']}T{clock_time}{found['fraction'] or ''}{zone}")
    if not EARLIEST.year < moment.year < LATEST.year:
        return EARLIEST if moment.year <= EARLIEST.year else LATEST
    return moment.astimezone(UTC) + timedelta(seconds=leap)
