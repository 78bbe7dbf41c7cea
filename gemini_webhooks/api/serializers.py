"""Rows as JSON. The keys are the names of the columns; times are in UTC."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from gemini_webhooks.api import content, fields
from gemini_webhooks.api.fields import Moment, Seconds
from gemini_webhooks.models import (
    Attempt,
    ReceiverRun,
    RejectedRequest,
    Replay,
    ReplayedDelivery,
    ResultFile,
    WebhookDelivery,
    WebhookEndpoint,
)


def moment(help_text: str = "", *, nullable: bool = False) -> Moment:
    """A time that goes out only."""
    return Moment(read_only=True, allow_null=nullable, help_text=help_text)


def slug_of(column: str = "endpoint") -> Any:
    """The slug of an endpoint."""
    return serializers.CharField(
        source=f"{column}.slug",
        read_only=True,
        allow_null=True,
        default=None,
        help_text="Slug; null: the root endpoint, or one that was deleted.",
    )


@extend_schema_serializer(component_name="GeminiDelivery")
class DeliverySerializer(serializers.ModelSerializer[WebhookDelivery]):
    """A delivery, without what came in it."""

    endpoint = slug_of()
    signing = fields.Signing(read_only=True)
    state = fields.DeliveryState(read_only=True)
    source = fields.Source(read_only=True)  # type: ignore[assignment]  # a declaration
    binding = serializers.CharField(read_only=True, help_text="What a token vouches for.")
    occurred_at = moment("When it happened, as Google says.", nullable=True)
    received_at = moment()
    settled_at = moment("When it last came to a final state.", nullable=True)
    took = Seconds(
        read_only=True, allow_null=True, help_text="From receipt until it was done, in seconds."
    )
    emptied_at = moment("Since when it has neither body nor metadata.", nullable=True)
    emptied_by = serializers.CharField(read_only=True, help_text="retention, erasure or redaction.")

    class Meta:
        model = WebhookDelivery
        fields: tuple[str, ...] = (
            "id",
            "webhook_id",
            "event_type",
            "resource_id",
            "state",
            "source",
            "endpoint",
            "signing",
            "binding",
            "sealed",
            "key_hint",
            "occurred_at",
            "received_at",
            "settled_at",
            "took",
            "size",
            "duplicate_count",
            "redacted",
            "emptied_at",
            "emptied_by",
        )
        read_only_fields = fields


@extend_schema_serializer(component_name="GeminiDeliveryDetail")
class DeliveryDetailSerializer(DeliverySerializer):
    """A delivery with its content, as far as it may be seen."""

    headers = fields.AnObject(
        read_only=True, allow_null=True, help_text="Those that are not secret; null if unknown."
    )
    user_metadata = fields.AnObject(
        source="content.metadata", read_only=True, allow_null=True, help_text="Null if withheld."
    )
    body = serializers.CharField(
        source="content.body", read_only=True, allow_null=True, help_text="Null if withheld."
    )
    body_encoding = fields.BodyEncoding(
        source="content.encoding",
        read_only=True,
        allow_null=True,
        help_text="How the body is written: as the text that it is, or its bytes in base64.",
    )
    content_withheld = fields.Withheld(
        source="content.withheld",
        read_only=True,
        help_text="Why there is no body: no, permission (view_payload is needed), removed, or "
        "redaction (REDACT cannot look into it). Metadata may be there without a body.",
    )

    class Meta(DeliverySerializer.Meta):
        fields = (
            *DeliverySerializer.Meta.fields,
            "headers",
            "user_metadata",
            "body",
            "body_encoding",
            "content_withheld",
        )
        read_only_fields = fields

    def to_representation(self, instance: Any) -> Any:
        """Look at the content once for all."""
        sees_payloads = self.context["view"].sees_payloads()
        instance.content = content.seen(instance, sees_payloads=sees_payloads)
        return super().to_representation(instance)


@extend_schema_serializer(component_name="GeminiRun")
class RunSerializer(serializers.ModelSerializer[ReceiverRun]):
    """One receiver of a delivery."""

    webhook_id = serializers.CharField(source="delivery.webhook_id", read_only=True)
    state = fields.RunState(read_only=True)
    created_at = moment()
    next_attempt_at = moment("Null while it waits for something else.", nullable=True)
    parked_at = moment("Since when it waits for a place in its lane.", nullable=True)
    held_at = moment("Since when a pause holds it.", nullable=True)
    finished_at = moment(nullable=True)

    class Meta:
        model = ReceiverRun
        fields = (
            "id",
            "delivery",
            "webhook_id",
            "receiver",
            "result",
            "state",
            "attempts",
            "queue",
            "lane",
            "is_replay",
            "created_at",
            "next_attempt_at",
            "parked_at",
            "held_at",
            "finished_at",
            "error_class",
            "last_error",
        )
        read_only_fields = fields


@extend_schema_serializer(component_name="GeminiAttempt")
class AttemptSerializer(serializers.ModelSerializer[Attempt]):
    """One try of a run."""

    delivery = serializers.IntegerField(source="run.delivery_id", read_only=True)
    receiver = serializers.CharField(source="run.receiver", read_only=True)
    trigger = fields.Trigger(read_only=True)
    outcome = fields.Outcome(read_only=True)
    started = moment()
    finished = moment()

    class Meta:
        model = Attempt
        fields: tuple[str, ...] = (
            "id",
            "run",
            "delivery",
            "receiver",
            "number",
            "trigger",
            "actor",
            "started",
            "finished",
            "outcome",
            "error_class",
        )
        read_only_fields = fields


@extend_schema_serializer(component_name="GeminiAttemptDetail")
class AttemptDetailSerializer(AttemptSerializer):
    """One try of a run, with the traceback of its error."""

    class Meta(AttemptSerializer.Meta):
        fields = (*AttemptSerializer.Meta.fields, "traceback")
        read_only_fields = fields


@extend_schema_serializer(component_name="GeminiResult")
class ResultSerializer(serializers.ModelSerializer[ResultFile]):
    """A result file: how far it is. Where it is stored is nobody's business."""

    webhook_id = serializers.CharField(source="delivery.webhook_id", read_only=True)
    state = fields.ResultState(read_only=True)
    rows = serializers.SerializerMethodField(help_text="How many rows it has.")
    created_at = moment()
    next_attempt_at = moment(nullable=True)
    finished_at = moment(nullable=True)

    class Meta:
        model = ResultFile
        fields = (
            "id",
            "delivery",
            "webhook_id",
            "position",
            "source_uri",
            "state",
            "content_type",
            "bytes_done",
            "size",
            "crc32c",
            "generation",
            "rows",
            "failed_rows",
            "error",
            "attempts",
            "created_at",
            "next_attempt_at",
            "finished_at",
        )
        read_only_fields = fields

    @extend_schema_field({"type": "integer", "format": "int64"})
    def get_rows(self, result: ResultFile) -> int:
        """The number: the field's own value can be called, and REST framework would call it."""
        return int(result.rows)


@extend_schema_serializer(component_name="GeminiRow")
class RowSerializer(serializers.Serializer[Any]):
    """One row of a result file."""

    position = serializers.IntegerField(help_text="Where it begins in the file, in bytes.")
    row = fields.AnyJSON(help_text="As REDACT lets it be seen; null if it cannot be shown.")
    problem = serializers.CharField(
        help_text="Why it is not shown: unreadable (no JSON object), too_large, redaction; or "
        "empty."
    )


@extend_schema_serializer(component_name="GeminiRows")
class RowsSerializer(serializers.Serializer[Any]):
    """Some rows of a result file."""

    next = serializers.IntegerField(
        allow_null=True, help_text="Ask for after=next for those that follow; null: there are none."
    )
    results = RowSerializer(many=True)


@extend_schema_serializer(component_name="GeminiRejection")
class RejectionSerializer(serializers.ModelSerializer[RejectedRequest]):
    """A request that was refused."""

    received_at = moment()

    class Meta:
        model = RejectedRequest
        fields: tuple[str, ...] = (
            "id",
            "reason",
            "status",
            "diagnosis",
            "endpoint_slug",
            "received_at",
            "body_digest",
            "body_size",
            "suppressed",
        )
        read_only_fields = fields


@extend_schema_serializer(component_name="GeminiRejectionDetail")
class RejectionDetailSerializer(RejectionSerializer):
    """A request that was refused, with those of its headers that are not secret."""

    headers = serializers.SerializerMethodField()

    class Meta(RejectionSerializer.Meta):
        fields = (*RejectionSerializer.Meta.fields, "headers")
        read_only_fields = fields

    @extend_schema_field({"type": "object", "additionalProperties": {"type": "string"}})
    def get_headers(self, rejection: RejectedRequest) -> Any:
        """The headers."""
        return rejection.headers


@extend_schema_serializer(component_name="GeminiEndpoint")
class EndpointSerializer(serializers.ModelSerializer[WebhookEndpoint]):
    """A registered endpoint, without its secrets."""

    uri = serializers.CharField(read_only=True)
    state = fields.EndpointState(read_only=True)
    subscribed_events = fields.AnyJSON(read_only=True)
    audiences = fields.AnyJSON(read_only=True)
    created_at = moment()
    state_changed_at = moment(nullable=True)
    last_synced_at = moment(nullable=True)
    last_delivery_at = moment(nullable=True)

    class Meta:
        model = WebhookEndpoint
        fields = (
            "id",
            "slug",
            "name",
            "uri",
            "remote_id",
            "subscribed_events",
            "state",
            "audiences",
            "api_key_name",
            "created_at",
            "state_changed_at",
            "last_synced_at",
            "last_delivery_at",
        )
        read_only_fields = fields


@extend_schema_serializer(component_name="GeminiReplay")
class ReplaySerializer(serializers.ModelSerializer[Replay]):
    """An order to run deliveries again, and how far it is."""

    what = fields.What(read_only=True)
    state = fields.ReplayState(read_only=True)
    receivers = serializers.SerializerMethodField()
    selection = serializers.SerializerMethodField(help_text="As it was asked for.")
    created_at = moment()
    finished_at = moment(nullable=True)

    class Meta:
        model = Replay
        fields = (
            "id",
            "what",
            "receivers",
            "selection",
            "actor",
            "reason",
            "rate",
            "state",
            "total",
            "replayed",
            "skipped",
            "created_at",
            "finished_at",
            "stopped_by",
        )
        read_only_fields = fields

    @extend_schema_field({"type": "array", "items": {"type": "string"}})
    def get_receivers(self, replay: Replay) -> Any:
        """Their names."""
        return replay.receivers

    @extend_schema_field({"type": "object", "additionalProperties": {}})
    def get_selection(self, replay: Replay) -> Any:
        """The conditions; values of metadata only for who may see metadata."""
        selection = replay.selection
        if not isinstance(selection, dict) or self.context["view"].sees_payloads():
            return selection
        return {name: value for name, value in selection.items() if name != "metadata"}


@extend_schema_serializer(component_name="GeminiReplayed")
class ReplayedSerializer(serializers.ModelSerializer[ReplayedDelivery]):
    """What became of a delivery that a replay came to."""

    webhook_id = serializers.CharField(source="delivery.webhook_id", read_only=True)
    at = moment()

    class Meta:
        model = ReplayedDelivery
        fields = ("id", "delivery", "webhook_id", "at", "runs", "problem")
        read_only_fields = fields


@extend_schema_serializer(component_name="GeminiReplayedPage")
class ReplayedPageSerializer(serializers.Serializer[Any]):
    """Some deliveries that a replay came to."""

    next = serializers.URLField(allow_null=True, help_text="Older rows.")
    previous = serializers.URLField(allow_null=True, help_text="Newer rows.")
    results = ReplayedSerializer(many=True)


@extend_schema_serializer(component_name="GeminiReplayedRuns")
class ReplayedRunsSerializer(serializers.Serializer[Any]):
    """What runs again of one delivery."""

    runs = serializers.ListField(
        child=serializers.IntegerField(),
        help_text="Primary keys of the runs; none if they wait for the result file.",
    )


@extend_schema_serializer(component_name="GeminiSample")
class SampleSerializer(serializers.Serializer[Any]):
    """A delivery that a replay would come to."""

    id = serializers.IntegerField()
    webhook_id = serializers.CharField()

    def to_representation(self, instance: Any) -> Any:
        """Write a pair of these."""
        return super().to_representation(dict(zip(self.fields, instance, strict=True)))


@extend_schema_serializer(component_name="GeminiPreview")
class PreviewSerializer(serializers.Serializer[Any]):
    """What a replay would be about."""

    count = serializers.IntegerField(help_text="How many deliveries.")
    at_least = serializers.BooleanField(help_text="There are more than that.")
    without_body = serializers.IntegerField(
        help_text="Of these; they cannot be replayed, as their body was removed."
    )
    oldest = moment("When the first of them was received.", nullable=True)
    newest = moment("When the last of them was received.", nullable=True)
    sample = SampleSerializer(many=True, help_text="A few, the newest ones.")


@extend_schema_field({"type": "object", "additionalProperties": {"type": "integer"}})
class Counts(fields.AnyJSON):
    """Numbers by name."""


@extend_schema_serializer(component_name="GeminiLatency")
class LatencySerializer(serializers.Serializer[Any]):
    """From verification until the last receiver was done, for the first time, in seconds."""

    count = serializers.IntegerField(help_text="Of so many deliveries.")
    p50 = serializers.FloatField()
    p95 = serializers.FloatField()
    p99 = serializers.FloatField()


@extend_schema_serializer(component_name="GeminiPoint")
class PointSerializer(serializers.Serializer[Any]):
    """One stretch of a period, until the next one."""

    start = moment()
    states = Counts(help_text="Deliveries received then, by the state that they are in now.")
    latency = LatencySerializer(allow_null=True)
    rejections = Counts(help_text="Requests refused then, by reason.")
    unrecorded = serializers.IntegerField(help_text="So many more were refused.")


@extend_schema_serializer(component_name="GeminiTrends")
class TrendsSerializer(serializers.Serializer[Any]):
    """A period."""

    period = fields.Period()
    since = moment()
    until = moment()
    total = serializers.IntegerField(help_text="How many deliveries were received.")
    states = Counts(help_text="By state.")
    latency = LatencySerializer(allow_null=True)
    rejections = Counts(help_text="By reason.")
    unrecorded = serializers.IntegerField()
    stale_since = moment("From then on figures are incomplete.", nullable=True)
    points = PointSerializer(many=True)


@extend_schema_serializer(component_name="GeminiBacklog")
class BacklogSerializer(serializers.Serializer[Any]):
    """What is waiting."""

    oldest_seconds = serializers.FloatField(
        help_text="For how long that has been waiting which has been waiting longest."
    )
    deliveries = Counts(help_text="By open state.")
    runs = Counts(help_text="due, running, scheduled, parked, held, dead.")
    results = Counts(help_text="Result files: due, fetching, scheduled.")
