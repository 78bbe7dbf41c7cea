"""The runs of receivers, and their attempts."""

# ruff: noqa: ARG002, D101, D102  # Django names its methods; a column says what it shows

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gemini_webhooks.admin.badges import badge
from gemini_webhooks.admin.base import (
    EMPTY,
    LongList,
    ReadOnlyInline,
    RelatedRows,
    excerpt,
)
from gemini_webhooks.admin.rendering import folded_block, text_block
from gemini_webhooks.admin.searching import Rows, runs_called
from gemini_webhooks.admin.times import moment, span
from gemini_webhooks.models import Attempt, ReceiverRun


class RunShows:
    """What a list, a page and a table of runs show alike."""

    @admin.display(description=_("state"), ordering="state")
    def state_badge(self, run: ReceiverRun) -> SafeString:
        return badge(run.state, run.get_state_display())

    @admin.display(description=_("next attempt"), ordering="next_attempt_at")
    def next_attempt(self, run: ReceiverRun) -> str | Promise:
        waits = run.state == ReceiverRun.State.PENDING and run.next_attempt_at is None
        if waits and run.result_id and run.parked_at is None and run.held_at is None:
            return _("once its result file is complete")
        if run.parked_at is not None:
            return gettext("once there is a place in its lane, “%(lane)s”") % {"lane": run.lane}
        if run.held_at is not None:
            return _("once it is let go: a pause holds it")
        return EMPTY if run.next_attempt_at is None else moment(run.next_attempt_at)

    @admin.display(description=_("last error"))
    def error_excerpt(self, run: ReceiverRun) -> str:
        return excerpt(run.last_error)


class AttemptShows:
    """What a list, a page and a table of attempts show alike."""

    @admin.display(description=_("outcome"), ordering="outcome")
    def outcome_badge(self, attempt: Attempt) -> SafeString:
        return badge(attempt.outcome, attempt.get_outcome_display())

    @admin.display(description=_("duration"))
    def duration(self, attempt: Attempt) -> str:
        return span(attempt.finished - attempt.started)

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
class ReceiverRunAdmin(RunShows, LongList):
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
    deferred = ("delivery__body", "delivery__user_metadata", "delivery__headers")
    ordering = ("-pk",)
    search_fields = ("receiver",)  # see get_search_results
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

    def get_search_results(
        self, request: HttpRequest, queryset: Rows, search_term: str
    ) -> tuple[Rows, bool]:
        words = search_term.strip()
        return (queryset.filter(runs_called(words)) if words else queryset), False

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
class AttemptAdmin(AttemptShows, LongList):
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
        "run__delivery__headers",
    )
    ordering = ("-pk",)
    search_fields = ("run__receiver",)  # see get_search_results
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

    def get_search_results(
        self, request: HttpRequest, queryset: Rows, search_term: str
    ) -> tuple[Rows, bool]:
        words = search_term.strip()
        if words:
            runs = ReceiverRun.objects.filter(runs_called(words)).order_by()
            queryset = queryset.filter(run__in=runs.values("pk"))
        return queryset, False

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
