"""Deliveries, the runs of their receivers and the attempts of those."""

# ruff: noqa: D101, D102  # a column says in its description what it shows

from __future__ import annotations

from django.contrib import admin
from django.contrib.admin.utils import display_for_value
from django.template.defaultfilters import filesizeformat
from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gemini_webhooks.admin.badges import badge
from gemini_webhooks.admin.base import (
    EMPTY,
    ReadOnlyAdmin,
    ReadOnlyInline,
    RelatedRows,
    excerpt,
)
from gemini_webhooks.admin.filters import EndpointFilter, EventTypeFilter
from gemini_webhooks.admin.rendering import body_block, folded_block, metadata_block, text_block
from gemini_webhooks.admin.results import ResultFileInline
from gemini_webhooks.models import Attempt, ReceiverRun
from gemini_webhooks.models import WebhookDelivery as Delivery

WHY_NO_RUNS = {
    Delivery.State.RECEIVED: _("It has not been processed yet."),
    Delivery.State.IGNORED: _("No receiver was connected when it was processed."),
    Delivery.State.UNREADABLE: _("Receivers are not run for a body that is not JSON."),
}


class RunShows:
    """What a list, a page and a table of runs show alike."""

    @admin.display(description=_("state"), ordering="state")
    def state_badge(self, run: ReceiverRun) -> SafeString:
        return badge(run.state, run.get_state_display())

    @admin.display(description=_("next attempt"), ordering="next_attempt_at")
    def next_attempt(self, run: ReceiverRun) -> str | Promise:
        waits = run.state == ReceiverRun.State.PENDING and run.next_attempt_at is None
        if waits and run.result_id and run.parked_at is None:
            return _("once its result file is complete")
        if run.parked_at is not None:
            return gettext("once there is a place in its lane, “%(lane)s”") % {"lane": run.lane}
        return display_for_value(run.next_attempt_at, EMPTY)

    @admin.display(description=_("last error"))
    def error_excerpt(self, run: ReceiverRun) -> str:
        return excerpt(run.last_error)


class RunsOfDelivery(RelatedRows):
    @property
    def empty_text(self) -> str | Promise:
        if self.instance.emptied_at and self.instance.state == Delivery.State.UNREADABLE:
            return _("Receivers are not run without a body.")
        return WHY_NO_RUNS.get(self.instance.state, _("No receiver has run."))


class ReceiverRunInline(RunShows, ReadOnlyInline):
    model = ReceiverRun
    formset = RunsOfDelivery
    show_change_link = True
    fields = ("receiver", "state_badge", "attempts", "next_attempt", "error_excerpt")


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """What came, what each receiver made of it, and the bytes themselves."""

    change_form_template = "admin/gemini_webhooks/change_form_story.html"
    list_display = (
        "webhook_id",
        "type",
        "state_badge",
        "received_at",
        "resource_id",
        "arrived_at",
        "signing",
        "duplicate_count",
    )
    list_filter = ("state", EventTypeFilter, EndpointFilter, "signing", "received_at")
    list_select_related = ("endpoint",)
    deferred = ("body", "user_metadata")
    search_fields = ("webhook_id__startswith", "resource_id__startswith")
    search_help_text = _("The beginning of a webhook id or resource id.")
    inlines = (ReceiverRunInline, ResultFileInline)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "webhook_id",
                    "type",
                    "state_badge",
                    "resource_id",
                    "occurred_at",
                    "received_at",
                    "readable_size",
                    "duplicate_count",
                )
            },
        ),
        (
            _("Where it came from"),
            {"fields": ("source", "arrived_at", "signing", "key", "vouched_for", "seal")},
        ),
        (_("User metadata"), {"fields": ("metadata",), "classes": ("gw-last", "gw-wide")}),
        (_("Body"), {"fields": ("readable_body",), "classes": ("gw-last", "gw-wide")}),
    )

    @admin.display(description=_("event type"), ordering="event_type")
    def type(self, delivery: Delivery) -> str:
        return delivery.event_type or EMPTY

    @admin.display(description=_("state"), ordering="state")
    def state_badge(self, delivery: Delivery) -> SafeString:
        return badge(delivery.state, delivery.get_state_display())

    @admin.display(description=_("endpoint"), ordering="endpoint")
    def arrived_at(self, delivery: Delivery) -> str | Promise:
        if delivery.endpoint:
            return self.link(delivery.endpoint)
        return EMPTY if delivery.source == Delivery.Source.RECONCILER else _("root")

    @admin.display(description=_("size"))
    def readable_size(self, delivery: Delivery) -> str:
        return filesizeformat(delivery.size)

    @admin.display(description=_("what the signature vouches for"))
    def vouched_for(self, delivery: Delivery) -> str | Promise:
        if delivery.signing == Delivery.Signing.HMAC:
            if delivery.redacted:
                return _("the webhook id, the time of sending and the body as it was before REDACT")
            return _("the webhook id, the time of sending and the body")
        if delivery.signing == Delivery.Signing.NONE:
            return _("nothing was signed: this site asked Google and made the event itself")
        return delivery.get_binding_display() or EMPTY

    @admin.display(description=_("seal"))
    def seal(self, delivery: Delivery) -> str | Promise:
        if delivery.sealed:
            return _("sealed: this site started the job")
        if delivery.signing == Delivery.Signing.JWT:
            return _("not sealed: anyone with a Gemini API key could have started the job")
        return _("not needed")

    @admin.display(description=_("key"))
    def key(self, delivery: Delivery) -> str:
        if not delivery.key_hint:
            return EMPTY
        if delivery.signing == Delivery.Signing.JWT:
            return gettext("key id %(hint)s") % {"hint": delivery.key_hint}
        if delivery.secret_id:
            return gettext("%(hint)s, a secret of the endpoint") % {"hint": delivery.key_hint}
        if delivery.endpoint_id:
            return gettext("%(hint)s, a secret that was deleted or came from SECRET_BACKEND") % {
                "hint": delivery.key_hint
            }
        return gettext("%(hint)s, from SIGNING_SECRETS or SECRET_BACKEND") % {
            "hint": delivery.key_hint
        }

    @admin.display(description=_("user metadata"))
    def metadata(self, delivery: Delivery) -> SafeString:
        empty = _("No metadata came with the event.")
        if delivery.emptied_at is not None:
            empty = _("If there was any, it was removed with the body.")
        return metadata_block(delivery.user_metadata, empty=empty)

    @admin.display(description=_("body"))
    def readable_body(self, delivery: Delivery) -> SafeString:
        return body_block(delivery)


class AttemptShows:
    """What a list, a page and a table of attempts show alike."""

    @admin.display(description=_("outcome"), ordering="outcome")
    def outcome_badge(self, attempt: Attempt) -> SafeString:
        return badge(attempt.outcome, attempt.get_outcome_display())

    @admin.display(description=_("duration"))
    def duration(self, attempt: Attempt) -> str:
        seconds = (attempt.finished - attempt.started).total_seconds()
        return gettext("%(seconds).2f s") % {"seconds": seconds}

    @admin.display(description=_("error"))
    def folded_traceback(self, attempt: Attempt) -> SafeString | str:
        if not attempt.traceback:
            return attempt.error_class or EMPTY
        return folded_block(
            attempt.traceback,
            summary=attempt.error_class or _("Traceback"),
            label=_("Traceback"),
        )


class AttemptsOfRun(RelatedRows):
    empty_text = _("It has not been tried yet.")


class AttemptInline(AttemptShows, ReadOnlyInline):
    model = Attempt
    formset = AttemptsOfRun
    show_change_link = True
    ordering = ("number",)
    fields = (
        "number",
        "trigger",
        "actor",
        "started",
        "duration",
        "outcome_badge",
        "folded_traceback",
    )


@admin.register(ReceiverRun)
class ReceiverRunAdmin(RunShows, ReadOnlyAdmin):
    """One receiver of one delivery, with its attempts."""

    list_display = (
        "receiver",
        "delivery_link",
        "state_badge",
        "attempts",
        "next_attempt",
        "finished_at",
        "error_excerpt",
    )
    list_display_links = ("receiver",)
    list_filter = ("state", "created_at")
    list_select_related = ("delivery", "result")
    deferred = ("delivery__body", "delivery__user_metadata")
    ordering = ("-pk",)
    search_fields = ("receiver", "delivery__webhook_id__startswith")
    search_help_text = _("A part of a receiver’s name, or the beginning of a webhook id.")
    inlines = (AttemptInline,)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "receiver",
                    "delivery",
                    "result",
                    "state_badge",
                    "attempts",
                    "next_attempt",
                    "error_text",
                )
            },
        ),
        (
            _("How it runs"),
            {
                "fields": (
                    "queue",
                    "lane",
                    "trigger",
                    "actor",
                    "replayed",
                    "created_at",
                    "claimed_at",
                    "lease_until",
                    "finished_at",
                )
            },
        ),
    )

    @admin.display(description=_("delivery"))
    def delivery_link(self, run: ReceiverRun) -> SafeString | str:
        return self.link(run.delivery)

    @admin.display(description=_("replay"))
    def replayed(self, run: ReceiverRun) -> Promise:
        return _("yes") if run.is_replay else _("no")

    @admin.display(description=_("last error"))
    def error_text(self, run: ReceiverRun) -> SafeString | str:
        return text_block(run.last_error, label=_("Last error")) if run.last_error else EMPTY


@admin.register(Attempt)
class AttemptAdmin(AttemptShows, ReadOnlyAdmin):
    """The audit log: every try of every run, in the order in which they were written."""

    list_display = (
        "label",
        "run_link",
        "delivery_link",
        "outcome_badge",
        "trigger",
        "actor",
        "started",
        "duration",
        "error_class",
    )
    list_filter = ("outcome", "trigger")
    list_select_related = ("run__delivery",)
    deferred = (
        "traceback",
        "run__last_error",
        "run__delivery__body",
        "run__delivery__user_metadata",
    )
    ordering = ("-pk",)
    search_fields = ("run__receiver", "run__delivery__webhook_id__startswith")
    search_help_text = _("A part of a receiver’s name, or the beginning of a webhook id.")
    fields = (
        "run",
        "delivery_link",
        "number",
        "outcome_badge",
        "trigger",
        "actor",
        "started",
        "finished",
        "duration",
        "error_class",
        "full_traceback",
    )

    @admin.display(description=_("attempt"), ordering="number")
    def label(self, attempt: Attempt) -> str:
        return f"#{attempt.number}"

    @admin.display(description=_("receiver"))
    def run_link(self, attempt: Attempt) -> SafeString | str:
        return self.link(attempt.run)

    @admin.display(description=_("delivery"))
    def delivery_link(self, attempt: Attempt) -> SafeString | str:
        return self.link(attempt.run.delivery)

    @admin.display(description=_("traceback"))
    def full_traceback(self, attempt: Attempt) -> SafeString | str:
        return text_block(attempt.traceback, label=_("Traceback")) if attempt.traceback else EMPTY
