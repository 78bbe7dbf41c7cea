"""What is sent to have deliveries run again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from gemini_webhooks import replay
from gemini_webhooks.api import fields
from gemini_webhooks.api.fields import Moment, Text, Whole, Yes
from gemini_webhooks.deliveries.replays import MAX_REASON_LENGTH
from gemini_webhooks.deliveries.selection import MAX_IDS, MAX_LENGTH, Selection
from gemini_webhooks.exceptions import InvalidSelection
from gemini_webhooks.models import Replay


class Body(serializers.Serializer[Any]):
    """An object without any key that is not known."""

    def to_internal_value(self, data: Any) -> Any:
        """Read it.

        Raises:
            ValidationError: it is not as it should be.
        """
        if isinstance(data, Mapping):
            fields.refuse_unknown(self, data)
        return super().to_internal_value(data)


class BodyExtension(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]  # half typed
    """Says so in the schema."""

    target_class = Body
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> Any:
        """The schema of the object."""
        found = auto_schema._map_serializer(  # as its documentation has it
            self.target, direction, bypass_extensions=True
        )
        return {**found, "additionalProperties": False}


def names(help_text: str) -> serializers.ListField:
    """Names of receivers."""
    return serializers.ListField(
        child=Text(max_length=replay.MAX_NAME_LENGTH),
        required=False,
        max_length=replay.MAX_RECEIVERS,
        help_text=help_text,
    )


def why() -> Text:
    """For the audit."""
    return Text(
        required=False,
        allow_blank=True,
        max_length=MAX_REASON_LENGTH,
        help_text="Why, for the audit.",
    )


def what() -> fields.What:
    """Which runs."""
    return fields.What(
        required=False,
        help_text="everything (if not given), only what failed, the receivers that are named, or "
        "the fetch of the result file.",
    )


@extend_schema_serializer(component_name="GeminiSelection")
class SelectionBody(Body):
    """Which deliveries: those that meet every condition that is given."""

    ids = serializers.ListField(
        child=Whole(min_value=1, max_value=fields.MAX_ID),
        required=False,
        max_length=MAX_IDS,
        help_text="Primary keys.",
    )
    states = serializers.ListField(
        child=fields.DeliveryState(), required=False, max_length=MAX_IDS, help_text="One of these."
    )
    event_types = serializers.ListField(
        child=Text(max_length=MAX_LENGTH, allow_blank=True),
        required=False,
        max_length=MAX_IDS,
        help_text="One of these; an empty text: those that have none.",
    )
    endpoint = Text(
        required=False,
        allow_blank=True,
        max_length=MAX_LENGTH,
        help_text="Slug; an empty text: the root endpoint.",
    )
    signing = fields.Signing(required=False)
    since = Moment(required=False, help_text="Received at this time or later.")
    until = Moment(required=False, help_text="Received before this time; later than since.")
    metadata = serializers.DictField(
        child=Text(max_length=MAX_LENGTH, allow_blank=True),
        required=False,
        help_text="Values of the user metadata by their path. Needs the permission view_payload.",
    )
    receiver = Text(
        required=False, max_length=MAX_LENGTH, help_text="This receiver of theirs has given up."
    )
    error_class = Text(
        required=False,
        max_length=MAX_LENGTH,
        help_text="A receiver of theirs has given up with this class of error.",
    )

    def validate(self, attrs: Any) -> Selection:
        """The selection itself.

        Raises:
            ValidationError: conditions contradict each other, or a path cannot be read.
        """
        try:
            return Selection(**attrs)
        except InvalidSelection as error:
            raise serializers.ValidationError(str(error)) from None


@extend_schema_serializer(component_name="GeminiReplayOrder")
class ReplayBody(Body):
    """An order to run deliveries again."""

    selection = SelectionBody(required=False)
    everything = Yes(
        required=False, help_text="The selection is empty, and all deliveries are meant."
    )
    what = what()
    receivers = names("Their names, with what: receivers.")
    rate = Whole(
        required=False,
        min_value=1,
        max_value=replay.MAX_RATE,
        help_text="Deliveries per minute, at most.",
    )
    reason = why()
    dry_run = Yes(required=False, help_text="Only say how many deliveries there are.")

    def chosen(self) -> dict[str, Any]:
        """What a preview and a replay need to know, in the words of the use-case."""
        asked = self.validated_data
        return {
            "selection": asked.get("selection", Selection()),
            "what": asked.get("what", Replay.What.EVERYTHING),
            "receivers": asked.get("receivers", ()),
        }


@extend_schema_serializer(component_name="GeminiDeliveryReplayOrder")
class DeliveryReplayBody(Body):
    """An order to run one delivery again."""

    what = what()
    receivers = names("Their names, with what: receivers.")
    reason = why()

    def validate(self, attrs: Any) -> dict[str, Any]:
        """The arguments of the use-case.

        Raises:
            ValidationError: there are names, but not for this, or none.
        """
        wanted = attrs.get("what", Replay.What.EVERYTHING)
        receivers = attrs.get("receivers")
        if (wanted == Replay.What.RECEIVERS) is not bool(receivers):
            raise serializers.ValidationError(
                {"receivers": "Names go with what: receivers, and only there."}
            )
        return {
            "receivers": receivers or None,
            "only_failed": wanted == Replay.What.FAILED,
            "only_results": wanted == Replay.What.RESULTS,
            "reason": attrs.get("reason", ""),
        }
