"""Pauses: what is paused, what is being let go, and the pages that do both."""

# ruff: noqa: ARG002, D102  # Django names hooks; a column says in its description what it shows

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import AdminForm
from django.core.exceptions import PermissionDenied
from django.db.models import Count, F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from gemini_webhooks import pausing
from gemini_webhooks.admin.badges import badge
from gemini_webhooks.admin.base import EMPTY, ReadOnlyAdmin
from gemini_webhooks.admin.pause_forms import PauseForm, ResumeForm, chosen
from gemini_webhooks.deliveries import rows
from gemini_webhooks.exceptions import GeminiWebhooksError
from gemini_webhooks.models import Pause, ReceiverRun


@admin.register(Pause)
class PauseAdmin(ReadOnlyAdmin):
    """What is paused comes first, then what is being let go, then what was."""

    change_form_template = "admin/gemini_webhooks/pause/change_form.html"
    list_display = ("subject", "state_badge", "held", "paused_at", "paused_by", "why", "kind")
    list_filter = ("kind",)
    list_select_related = ("endpoint",)
    search_fields = ("receiver", "endpoint__slug", "reason")
    search_help_text = _("A part of a receiver’s name, a slug or a reason.")
    fieldsets = (
        (
            None,
            {"fields": ("subject", "kind", "state_badge", "held", "runs")},
        ),
        (_("When and why"), {"fields": ("paused_at", "paused_by", "why")}),
        (
            _("Letting go"),
            {"fields": ("resumed_at", "resumed_by_", "speed", "released", "ended_at")},
        ),
    )

    def get_urls(self) -> list[URLPattern]:
        """Ours first: one takes the place of the admin's own."""
        return [
            self._route("add/", self.pause_page, "add"),
            self._route("<int:object_id>/resume/", self.resume_page, "resume"),
            *super().get_urls(),
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        runs = ReceiverRun._default_manager.filter(held_by=OuterRef("pk")).order_by()
        held = Subquery(runs.values("held_by").annotate(n=Count("pk")).values("n"))
        pauses: QuerySet[Any] = super().get_queryset(request).annotate(held_now=Coalesce(held, 0))
        return pauses

    def get_ordering(self, request: HttpRequest) -> tuple[Any, ...]:
        ended, resumed = F("ended_at").desc(nulls_first=True), F("resumed_at").asc(nulls_first=True)
        return (ended, resumed, "-paused_at", "-pk")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Past ReadOnlyAdmin, to Django's own answer.
        return ModelAdmin.has_add_permission(self, request)

    def add_to_page(self, request: HttpRequest, context: dict[str, Any], row: Any) -> None:
        """Offer what can be done: resume it, change its rate, or pause again."""
        super().add_to_page(request, context, row)
        context |= {
            "may_add": self.has_add_permission(request),
            "may_resume": self._may_resume(request),
            "again_url": f"{self._url('add')}?{urlencode({'what': chosen(row)})}",
        }

    def pause_page(self, request: HttpRequest) -> HttpResponse:
        """What, and why; then it is paused."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        data = request.POST if request.method == "POST" else None
        form = PauseForm(data, what=request.GET.get("what", ""))
        if form.is_valid():
            try:
                return self._pause(request, form)
            except GeminiWebhooksError as error:
                form.add_error(None, str(error))
        return self._page(request, "add", _("Pause processing"), form=form)

    def _pause(self, request: HttpRequest, form: PauseForm) -> HttpResponse:
        actor = request.user.get_username()
        pause = pausing.pause(**form.target(), actor=actor, reason=form.cleaned_data["reason"])
        self.log_addition(request, pause, gettext("Paused."))
        messages.success(
            request, gettext("“%(name)s” is paused. What becomes due is held.") % {"name": pause}
        )
        return self._to_page_of(request, pause)

    def resume_page(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """How fast; then it is let go."""
        if not self._may_resume(request):
            raise PermissionDenied
        pauses = rows(Pause).select_related("endpoint")
        pause = get_object_or_404(pauses, pk=object_id)
        form = ResumeForm(request.POST if request.method == "POST" else {"rate": pause.rate})
        if request.method == "POST" and form.is_valid():
            try:
                return self._resume(request, pause, form.cleaned_data["rate"])
            except GeminiWebhooksError as error:
                form.add_error(None, str(error))
        title = _("Resume processing") if pause.resumed_at is None else _("Change the rate")
        held = pausing.held_by(pause)
        return self._page(request, "resume", title, pause=pause, form=form, held=held)

    def _resume(self, request: HttpRequest, pause: Pause, rate: int | None) -> HttpResponse:
        pausing.resume(pause, rate=rate, actor=request.user.get_username())
        done = gettext("Resumed, as fast as the workers can.")
        if rate is not None:
            done = ngettext(
                "Resumed, %(count)d run per minute.", "Resumed, %(count)d runs per minute.", rate
            ) % {"count": rate}
        self.log_change(request, pause, done)
        messages.success(request, done)
        return self._to_page_of(request, pause)

    @admin.display(description=_("what"))
    def subject(self, pause: Pause) -> str:
        return str(pause)

    @admin.display(description=_("state"))
    def state_badge(self, pause: Any) -> SafeString:
        numbers = {"count": pause.released, "all": pause.released + pause.held_now}
        if pause.ended_at is not None:
            return badge("ended", gettext("ended"))
        if pause.resumed_at is not None:
            return badge("letting_go", gettext("letting go: %(count)d of %(all)d") % numbers)
        return badge("paused", gettext("paused"))

    @admin.display(description=_("held runs"))
    def held(self, pause: Any) -> int:
        held: int = pause.held_now
        return held

    @admin.display(description=_("reason"))
    def why(self, pause: Pause) -> str:
        return pause.reason or EMPTY

    @admin.display(description=_("resumed by"))
    def resumed_by_(self, pause: Pause) -> str:
        return pause.resumed_by or EMPTY

    @admin.display(description=_("runs per minute"))
    def speed(self, pause: Pause) -> str | Promise:
        if pause.resumed_at is None:
            return EMPTY
        return _("as fast as the workers can") if pause.rate is None else str(pause.rate)

    @admin.display(description=_("runs"))
    def runs(self, pause: Any) -> SafeString | str:
        if not pause.held_now:
            return EMPTY
        name = "admin:gemini_webhooks_receiverrun_changelist"
        url = reverse(name, current_app=self.admin_site.name)
        query = urlencode({"held_by__exact": pause.pk})
        return format_html('<a href="{}?{}">{}</a>', url, query, _("Show what is held"))

    # --- what the pages share

    def _may_resume(self, request: HttpRequest) -> bool:
        return request.user.has_perm("gemini_webhooks.change_pause")

    def _route(self, route: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
        """A URL of this admin: for staff only, with CSRF protection, never cached."""
        return path(route, self.admin_site.admin_view(view), name=f"gemini_webhooks_pause_{name}")

    def _url(self, name: str, *args: object) -> str:
        full_name = f"admin:gemini_webhooks_pause_{name}"
        return reverse(full_name, args=args, current_app=self.admin_site.name)

    def _to_page_of(self, request: HttpRequest, pause: Pause) -> HttpResponse:
        """Go to its page, if the user may look at that."""
        if self.has_view_permission(request):
            return HttpResponseRedirect(self._url("change", pause.pk))
        return HttpResponseRedirect(reverse("admin:index", current_app=self.admin_site.name))

    def _page(
        self,
        request: HttpRequest,
        template: str,
        title: str | Promise,
        *,
        form: forms.Form,
        pause: Pause | None = None,
        **context: Any,
    ) -> TemplateResponse:
        """Render a page in the admin's frame; ``form`` as the admin renders its own."""
        fieldsets = [(None, {"fields": list(form.fields)})]
        return TemplateResponse(
            request,
            f"admin/gemini_webhooks/pause/{template}.html",
            {
                **self.admin_site.each_context(request),
                "title": title,
                "opts": self.opts,
                "original": pause,
                "media": self.media + form.media,
                "form": form,
                "adminform": AdminForm(form, fieldsets, {}, model_admin=self),  # type: ignore[arg-type]  # any form renders
                **context,
            },
        )
