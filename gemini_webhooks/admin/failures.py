"""Dead letters: what is broken now, and the buttons that mend it."""

# ruff: noqa: ARG002  # Django names these methods and their arguments

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import AdminForm
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.functional import Promise
from django.utils.http import urlencode
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from gemini_webhooks import failures, replay
from gemini_webhooks.admin.badges import badge
from gemini_webhooks.admin.base import ReadOnlyAdmin
from gemini_webhooks.admin.failure_forms import MuteForm, RetryForm
from gemini_webhooks.admin.rendering import text_block
from gemini_webhooks.conf import settings
from gemini_webhooks.deliveries import rows
from gemini_webhooks.deliveries.selection import Selection
from gemini_webhooks.exceptions import GeminiWebhooksError
from gemini_webhooks.failures import Group
from gemini_webhooks.models import FailureGroup, ReceiverRun, Replay
from gemini_webhooks.storable import is_storable

LIMIT = 200
LATEST = 20
MAX_LENGTH = 255


@admin.register(FailureGroup)
class FailureGroupAdmin(ReadOnlyAdmin):
    """The groups are counted, not stored: so these are pages of their own.

    A group is named in the query of an address, as its names may hold anything.
    """

    def get_urls(self) -> list[URLPattern]:
        """Ours before the admin's, which would take them for ids."""
        return [
            self._route("group", self.group_page),
            self._route("retry", self.retry_page),
            self._route("mute", self.mute_page),
            self._route("unmute", self.unmute_button),
            *super().get_urls(),
        ]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may see runs may see them in groups."""
        return request.user.has_perm("gemini_webhooks.view_receiverrun")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """All groups, muted ones folded away at the end."""
        self._require(request)
        found = failures.groups(limit=LIMIT + 1)
        shown = [(group, self._url("group", group)) for group in found[:LIMIT]]
        return self._page(
            request,
            "list",
            _("Dead letters"),
            open_groups=[each for each in shown if each[0].mute is None],
            muted_groups=[each for each in shown if each[0].mute is not None],
            limit=LIMIT if len(found) > LIMIT else None,
            open_badge=badge("open", _("open")),
            muted_badge=badge("muted", _("muted")),
        )

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The row by itself says little: go to the page of its group."""
        self._require(request)
        row = self.get_object(request, object_id)
        if row is None:
            return self._gone(request)
        group = Group(receiver=row.receiver, error_class=row.error_class)
        return HttpResponseRedirect(self._url("group", group))

    def group_page(self, request: HttpRequest) -> HttpResponse:
        """What failed last, and what can be done."""
        self._require(request)
        group = self._group(request)
        if group is None:
            return self._gone(request)
        row = rows(FailureGroup).filter(receiver=group.receiver, error_class=group.error_class)
        error = group.latest_error
        return self._page(
            request,
            "group",
            _("Group of dead letters"),
            group=group,
            state=badge("muted", _("muted")) if group.mute else badge("open", _("open")),
            latest=failures.latest(group, LATEST),
            latest_error=text_block(error, label=_("Last error")) if error else "",
            all_url=self._url_of_runs(group),
            history_id=row.values_list("pk", flat=True).first(),
            may_retry=self._may(request, "replay_webhookdelivery"),
            may_see_delivery=self._may(request, "view_webhookdelivery"),
        )

    def retry_page(self, request: HttpRequest) -> HttpResponse:
        """What it means; then the receiver runs again for all of them."""
        self._require(request, "replay_webhookdelivery")
        group = self._group(request)
        if group is None or not group.count:
            return self._gone(request)
        form = RetryForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            try:
                started = self._retry(request, group, form.cleaned_data)
            except GeminiWebhooksError as error:
                form.add_error(None, str(error))
            else:
                return self._to_replay(request, started)
        return self._page(request, "retry", _("Retry dead letters"), group=group, form=form)

    def mute_page(self, request: HttpRequest) -> HttpResponse:
        """For how long, and why."""
        self._require(request, "change_failuregroup")
        group = self._group(request)
        if group is None:
            return self._gone(request)
        form = MuteForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            row = failures.mute(*group.key, actor=_actor(request), **form.cleaned_data)
            self.log_change(request, row, gettext("Muted."))
            messages.success(request, gettext("Muted: no e-mail tells of it."))
            return HttpResponseRedirect(self._url("group", group))
        return self._page(
            request,
            "mute",
            _("Mute dead letters"),
            group=group,
            form=form,
            is_told=bool(settings.FAILURE_EMAILS),
        )

    @method_decorator(require_POST)
    def unmute_button(self, request: HttpRequest) -> HttpResponse:
        """Tell of it again."""
        self._require(request, "change_failuregroup")
        group = self._group(request)
        if group is None:
            return self._gone(request)
        row = failures.unmute(*group.key, actor=_actor(request))
        if row is not None:
            self.log_change(request, row, gettext("Unmuted."))
            messages.success(request, gettext("Not muted any more."))
        return HttpResponseRedirect(self._url("group", group) if group.count else self._url())

    def _retry(self, request: HttpRequest, group: Group, how: dict[str, Any]) -> Replay:
        # Of these deliveries nothing but this receiver: what else of them failed is another group.
        # Without a class, whatever it failed with: a selection cannot ask for none.
        return replay.start(
            Selection(receiver=group.receiver, error_class=group.error_class or None),
            what=Replay.What.RECEIVERS,
            receivers=(group.receiver,),
            rate=how["rate"],
            actor=_actor(request),
            reason=how["reason"],
        )

    def _to_replay(self, request: HttpRequest, started: Replay) -> HttpResponse:
        """Where its progress is shown, if the user may see that."""
        done = ngettext(
            "%(count)s delivery is being retried.",
            "%(count)s deliveries are being retried.",
            started.total,
        )
        messages.success(request, done % {"count": started.total})
        if not self._may(request, "view_replay"):
            return HttpResponseRedirect(self._url())
        name = "admin:gemini_webhooks_replay_change"
        url = reverse(name, args=[started.pk], current_app=self.admin_site.name)
        return HttpResponseRedirect(url)

    # --- what the pages share

    def _route(self, name: str, view: Callable[..., HttpResponse]) -> URLPattern:
        """A URL of this admin: for staff only, with CSRF protection, never cached."""
        wrapped = self.admin_site.admin_view(view)
        return path(f"{name}/", wrapped, name=f"gemini_webhooks_failuregroup_{name}")

    def _url(self, name: str = "changelist", group: Group | None = None) -> str:
        full_name = f"admin:gemini_webhooks_failuregroup_{name}"
        url = reverse(full_name, current_app=self.admin_site.name)
        return f"{url}?{_query(group)}" if group else url

    def _url_of_runs(self, group: Group) -> str:
        """The list of runs, with these alone."""
        name = "admin:gemini_webhooks_receiverrun_changelist"
        query = {
            "state__exact": ReceiverRun.State.DEAD.value,
            "receiver__exact": group.receiver,
            "error_class__exact": group.error_class,
        }
        return f"{reverse(name, current_app=self.admin_site.name)}?{urlencode(query)}"

    def _may(self, request: HttpRequest, permission: str) -> bool:
        return request.user.has_perm(f"gemini_webhooks.{permission}")

    def _require(self, request: HttpRequest, permission: str = "") -> None:
        """Refuse who may not look, or has not the permission.

        Raises:
            PermissionDenied: such a one.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        if permission and not self._may(request, permission):
            raise PermissionDenied

    def _group(self, request: HttpRequest) -> Group | None:
        """The group that the address names, if there is one now.

        Raises:
            Http404: it names none.
        """
        receiver, error_class = (request.GET.get(name, "") for name in ("receiver", "error_class"))
        names = (receiver, error_class)
        if not receiver or not all(is_storable(it) and len(it) <= MAX_LENGTH for it in names):
            raise Http404
        try:
            return failures.group(receiver, error_class)
        except failures.NoSuchGroup:
            return None

    def _gone(self, request: HttpRequest) -> HttpResponse:
        messages.info(request, gettext("Nothing of that group is left: it does not fail any more."))
        return HttpResponseRedirect(self._url())

    def _page(
        self,
        request: HttpRequest,
        template: str,
        title: str | Promise,
        *,
        group: Group | None = None,
        form: forms.Form | None = None,
        **context: Any,
    ) -> TemplateResponse:
        """Render a page in the admin's frame; ``form`` as the admin renders its own."""
        if form is not None:
            fieldsets = [(None, {"fields": list(form.fields)})]
            context["adminform"] = AdminForm(form, fieldsets, {}, model_admin=self)  # type: ignore[arg-type]  # any form renders
        return TemplateResponse(
            request,
            f"admin/gemini_webhooks/failuregroup/{template}.html",
            {
                **self.admin_site.each_context(request),
                "title": title,
                "opts": self.opts,
                "media": self.media + form.media if form is not None else self.media,
                "form": form,
                "group": group,
                "group_query": _query(group) if group else "",
                "may_mute": self._may(request, "change_failuregroup"),
                **context,
            },
        )


def _query(group: Group) -> str:
    return urlencode({"receiver": group.receiver, "error_class": group.error_class})


def _actor(request: HttpRequest) -> str:
    return request.user.get_username()
