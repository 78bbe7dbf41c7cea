"""Replays: who had what run again, how far that is, and the button that stops it."""

# ruff: noqa: D102  # Django names hooks; a column says in its description what it shows

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from gemini_webhooks import replay
from gemini_webhooks.admin.badges import badge
from gemini_webhooks.admin.base import EMPTY, LongList, may_see_payload, may_view
from gemini_webhooks.admin.replay_pages import may_replay
from gemini_webhooks.admin.replay_words import conditions, progress_of, what_of
from gemini_webhooks.deliveries import rows
from gemini_webhooks.deliveries.selection import MAX_ID
from gemini_webhooks.models import Replay, ReplayedDelivery, WebhookDelivery

#: So many skipped deliveries are on one page.
MOST = 100


@admin.register(Replay)
class ReplayAdmin(LongList):
    """They are started from the deliveries, and from dead letters."""

    change_form_template = "admin/gemini_webhooks/replay/change_form.html"
    list_display = ("number", "state_badge", "progress", "what_", "created_at", "actor", "why")
    list_filter = ("state", "what")
    search_fields = ("actor__startswith", "reason")
    search_help_text = _("The beginning of a name, or a part of a reason.")
    ordering = ("-pk",)
    fieldsets = (
        (None, {"fields": ("state_badge", "progress", "skipped_", "what_", "found", "speed")}),
        (_("Who and why"), {"fields": ("actor", "why", "created_at", "finished_at", "stopper")}),
    )

    def get_urls(self) -> list[URLPattern]:
        """Ours before the admin's, which would take them for ids."""
        return [
            self._route("<int:object_id>/stop/", self.stop_button, "stop"),
            self._route("<int:object_id>/skipped/", self.skipped_page, "skipped"),
            *super().get_urls(),
        ]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Values of the metadata are for who may see payloads."""
        found = "found" if may_see_payload(request) else "found_without_values"
        return [
            (
                title,
                {**options, "fields": [found if it == "found" else it for it in options["fields"]]},
            )
            for title, options in super().get_fieldsets(request, obj)
        ]

    def add_to_page(self, request: HttpRequest, context: dict[str, Any], row: Any) -> None:
        """Offer what can be done: stop it, look again."""
        super().add_to_page(request, context, row)
        is_running = row.state == Replay.State.RUNNING
        context |= {"is_running": is_running, "may_stop": is_running and may_replay(request)}

    @method_decorator(require_POST)
    def stop_button(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """It comes to no further delivery."""
        found = self._replay(request, object_id)
        if not may_replay(request):
            raise PermissionDenied
        if replay.stop(found, actor=request.user.get_username()):
            self.log_change(request, found, gettext("Stopped."))
            messages.success(request, gettext("Stopped. What it has begun goes on."))
        else:
            messages.info(request, gettext("It had ended before."))
        return HttpResponseRedirect(self._url("change", found.pk))

    def skipped_page(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """The deliveries that it passed over, and why."""
        found = self._replay(request, object_id)
        after = request.GET.get("after", "")
        start = int(after) if after.isascii() and after.isdigit() and len(after) < 20 else 0
        log = rows(ReplayedDelivery).filter(replay=found, delivery__gt=min(start, MAX_ID))
        log = log.exclude(problem="").order_by("delivery_id").select_related("delivery")
        log = log.defer("delivery__body", "delivery__user_metadata", "delivery__headers")
        skipped = list(log[: MOST + 1])
        return TemplateResponse(
            request,
            "admin/gemini_webhooks/replay/skipped.html",
            {
                **self.admin_site.each_context(request),
                "title": _("Skipped deliveries"),
                "opts": self.opts,
                "media": self.media,
                "original": found,
                "skipped": skipped[:MOST],
                "after": str(skipped[MOST - 1].delivery_id) if len(skipped) > MOST else "",
                "may_see_delivery": may_view(request, WebhookDelivery),
            },
        )

    @admin.display(description=_("replay"), ordering="pk")
    def number(self, one: Replay) -> str:
        return str(one)

    @admin.display(description=_("state"), ordering="state")
    def state_badge(self, one: Replay) -> SafeString:
        return badge(one.state, one.get_state_display())

    @admin.display(description=_("progress"))
    def progress(self, one: Replay) -> str:
        return progress_of(one)

    @admin.display(description=_("what runs again"))
    def what_(self, one: Replay) -> str:
        return what_of(one)

    @admin.display(description=_("reason"))
    def why(self, one: Replay) -> str:
        return one.reason or EMPTY

    @admin.display(description=_("stopped by"))
    def stopper(self, one: Replay) -> str:
        return one.stopped_by or EMPTY

    @admin.display(description=_("speed"))
    def speed(self, one: Replay) -> str | Promise:
        if one.rate is None:
            return _("as fast as the workers can")
        return gettext("%(rate)d deliveries per minute") % {"rate": one.rate}

    @admin.display(description=_("skipped"))
    def skipped_(self, one: Replay) -> SafeString | str:
        if not one.skipped:
            return EMPTY
        url = self._url("skipped", one.pk)
        return format_html('{} <a href="{}">{}</a>', one.skipped, url, _("Show which, and why"))

    @admin.display(description=_("deliveries"))
    def found(self, one: Replay) -> SafeString | str | Promise:
        return self._found(one, may_see_payload=True)

    @admin.display(description=_("deliveries"))
    def found_without_values(self, one: Replay) -> SafeString | str | Promise:
        return self._found(one, may_see_payload=False)

    def _found(self, one: Replay, *, may_see_payload: bool) -> SafeString | str | Promise:
        asked = conditions(one.selection, may_see_payload=may_see_payload)
        if asked is None:
            return _("It cannot be read what was asked for.")
        if not asked:
            return _("every one there was; or an erasure took away what was asked for")
        lines = format_html_join("", "<li>{}: {}</li>", asked)
        return format_html('<ul class="gw-events">{}</ul>', lines)

    def _replay(self, request: HttpRequest, object_id: int) -> Replay:
        """The replay, for a user who may look at it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return get_object_or_404(rows(Replay), pk=object_id)

    def _route(self, route: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
        """A URL of this admin: for staff only, with CSRF protection, never cached."""
        return path(route, self.admin_site.admin_view(view), name=f"gemini_webhooks_replay_{name}")

    def _url(self, name: str, *args: object) -> str:
        full_name = f"admin:gemini_webhooks_replay_{name}"
        return reverse(full_name, args=args, current_app=self.admin_site.name)
