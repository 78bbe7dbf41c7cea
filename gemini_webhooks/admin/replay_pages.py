"""Pages from which deliveries are replayed: one, those that are ticked, and all that match."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import AdminForm
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.functional import Promise
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from gemini_webhooks import clock, replay
from gemini_webhooks.admin.base import ReadOnlyAdmin, may_see_payload, may_view
from gemini_webhooks.admin.filters import ReceivedFilter
from gemini_webhooks.admin.forms import LOCAL_TIME
from gemini_webhooks.admin.replay_forms import ROOT, ManyForm, MatchingForm, OneForm, SelectedForm
from gemini_webhooks.admin.replay_words import conditions, local
from gemini_webhooks.deliveries import Selection, rows
from gemini_webhooks.deliveries.selection import MAX_IDS
from gemini_webhooks.events import CATALOGUE
from gemini_webhooks.exceptions import GeminiWebhooksError
from gemini_webhooks.models import ReceiverRun, Replay, WebhookDelivery, WebhookEndpoint

PERMISSION = "gemini_webhooks.replay_webhookdelivery"
What = Replay.What
#: Parameters of a list that say how it is shown, not what it holds.
NO_FILTERS = ("o", "p", "all", "e", "_popup", "_to_field", "_facets")

TITLES: Mapping[str, Promise] = {
    What.EVERYTHING: _("Replay everything"),
    What.FAILED: _("Replay what failed"),
    What.RESULTS: _("Fetch the result again"),
    What.RECEIVERS: _("Replay some receivers"),
}


def may_replay(request: HttpRequest) -> bool:
    """Whether the user may start and stop replays."""
    return request.user.has_perm(PERMISSION)


class ReplayPages(ReadOnlyAdmin):
    """For the admin of deliveries. Each page calls a use-case of ``replay``."""

    change_list_template = "admin/gemini_webhooks/webhookdelivery/change_list.html"
    actions = ("replay_selected",)

    def get_urls(self) -> list[URLPattern]:
        """Ours before the admin's, which would take them for ids."""
        return [
            self._route("<int:object_id>/replay/", self.replay_page, "replay"),
            self._route("replay-selected/", self.replay_selected_page, "replay_selected"),
            self._route("replay-matching/", self.replay_matching_page, "replay_matching"),
            *super().get_urls(),
        ]

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Asked by Django for the action."""
        return may_replay(request)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Offer on the list what it finds."""
        offered = {"replay_url": self._url_of_matching(request) if may_replay(request) else ""}
        return super().changelist_view(request, {**offered, **(extra_context or {})})

    def add_to_page(self, request: HttpRequest, context: dict[str, Any], row: Any) -> None:
        """Offer what can be done with the delivery."""
        super().add_to_page(request, context, row)
        if may_replay(request):
            url = self._url("replay", row.pk)
            offered = _offered(row)
            if not may_view(request, ReceiverRun):
                offered = [what for what in offered if what != What.RECEIVERS]
            context["replay_buttons"] = [
                (TITLES[what], url if what == What.EVERYTHING else f"{url}?what={what}")
                for what in offered
            ]
            context["replay_url"] = url if offered else ""

    # --- one

    def replay_page(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """What will happen, and a reason; then it does."""
        self._require(request)
        found = rows(WebhookDelivery).defer("body", "user_metadata", "headers")
        delivery = get_object_or_404(found, pk=object_id)
        what = request.GET.get("what", What.EVERYTHING.value)
        if what not in What.values:
            raise Http404
        if what == What.RECEIVERS and not may_view(request, ReceiverRun):
            raise PermissionDenied
        names = list(delivery.runs.order_by("receiver").values_list("receiver", flat=True))
        form = OneForm(
            request.POST if request.method == "POST" else None,
            what=what,
            receivers=names,
            initial={"receivers": request.GET.getlist("receiver")},
        )
        if form.is_valid():
            try:
                return self._replay(request, delivery, what, form.cleaned_data)
            except GeminiWebhooksError as error:
                form.add_error(None, str(error))
        return self._page(
            request,
            "replay",
            TITLES[what],
            original=delivery,
            form=form,
            what=what,
            What=What,
            receivers=names,
        )

    def _replay(
        self, request: HttpRequest, delivery: WebhookDelivery, what: str, given: dict[str, Any]
    ) -> HttpResponse:
        runs = replay.replay(
            delivery,
            receivers=given.get("receivers"),
            only_failed=what == What.FAILED,
            only_results=what == What.RESULTS,
            actor=request.user.get_username(),
            reason=given["reason"],
        )
        done = gettext("The result file is fetched again.")
        if runs:
            done = ngettext(
                "%(count)d receiver runs again.", "%(count)d receivers run again.", len(runs)
            ) % {"count": len(runs)}
        self.log_change(request, delivery, done)
        messages.success(request, done)
        return HttpResponseRedirect(self._url("change", delivery.pk))

    # --- those that are ticked

    @admin.action(permissions=["replay"], description=_("Replay selected deliveries"))
    def replay_selected(
        self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]
    ) -> HttpResponse | None:
        """Lead to the page; from “select all” to the one with conditions."""
        if request.POST.get("select_across") == "1":
            return HttpResponseRedirect(self._url_of_matching(request))
        ids = list(queryset.order_by("pk").values_list("pk", flat=True)[: MAX_IDS + 1])
        if len(ids) > MAX_IDS:
            number = {"number": MAX_IDS}
            said = gettext("Select %(number)d at most, or use the conditions of a replay.")
            messages.error(request, said % number)
            return None
        form = SelectedForm(None, initial={"ids": ",".join(map(str, ids))})
        return self._selected(request, form, Selection(ids=tuple(ids)))

    def replay_selected_page(self, request: HttpRequest) -> HttpResponse:
        """What, how fast and why; then it begins."""
        self._require(request)
        if request.method != "POST":
            return HttpResponseRedirect(self._url("changelist"))
        form = SelectedForm(request.POST)
        if not form.is_valid():
            return self._selected(request, form, None)
        try:
            selection = form.selection()
            return self._start(request, selection, form)
        except GeminiWebhooksError as error:
            form.add_error(None, str(error))
            return self._selected(request, form, None)

    def _selected(
        self, request: HttpRequest, form: SelectedForm, selection: Selection | None
    ) -> HttpResponse:
        found = replay.preview(selection) if selection is not None else None
        return self._page(
            request,
            "replay_selected",
            _("Replay selected deliveries"),
            form=form,
            found=found,
            action_url=self._url("replay_selected"),
        )

    # --- all that match

    def replay_matching_page(self, request: HttpRequest) -> HttpResponse:
        """The conditions, then how many meet them, then it begins."""
        self._require(request)
        sees = may_see_payload(request)
        if request.method != "POST":
            initial, unused = _initial(request.GET, sees_payload=sees)
            form = MatchingForm(None, may_see_payload=sees, initial=initial)
            return self._matching(request, form, unused=unused)
        form = MatchingForm(request.POST, may_see_payload=sees)
        if "_back" in request.POST or not form.is_valid():
            return self._matching(request, form)
        try:
            selection = form.selection()
            everything = form.cleaned_data["everything"]
            if "_confirm" in request.POST:
                return self._start(request, selection, form, everything=everything)
            if selection.is_empty and not everything:
                form.add_error(None, gettext("Set a condition, or say that all are meant."))
                return self._matching(request, form)
            found = replay.preview(selection, **form.of_what())
        except GeminiWebhooksError as error:
            form.add_error(None, str(error))
            return self._matching(request, form)
        return self._page(
            request,
            "replay_preview",
            _("Replay deliveries"),
            form=form,
            found=found,
            oldest=found.oldest and local(found.oldest),
            newest=found.newest and local(found.newest),
            conditions=conditions(selection.to_json(), may_see_payload=sees),
            what=dict(form.fields["what"].choices)[form.cleaned_data["what"]],  # type: ignore[attr-defined]  # it has choices
            receivers=form.cleaned_data["receivers"],
            rate=form.cleaned_data["rate"],
        )

    def _matching(
        self, request: HttpRequest, form: MatchingForm, *, unused: list[str] | None = None
    ) -> HttpResponse:
        which = [name for name in form.fields if name not in ManyForm.base_fields]
        return self._page(
            request,
            "replay_matching",
            _("Replay deliveries"),
            form=form,
            fieldsets=[
                (_("Which deliveries"), {"fields": which}),
                (_("What is to be done"), {"fields": list(ManyForm.base_fields)}),
            ],
            unused=unused,
        )

    # --- what the pages share

    def _start(
        self,
        request: HttpRequest,
        selection: Selection,
        form: ManyForm,
        *,
        everything: bool = False,
    ) -> HttpResponse:
        begun = replay.start(
            selection,
            **form.how(),
            everything=everything,
            actor=request.user.get_username(),
            reason=form.cleaned_data["reason"],
        )
        numbers = {"count": begun.total}
        self.log_addition(
            request,
            begun,
            ngettext(
                "Started, for %(count)d delivery.",
                "Started, for %(count)d deliveries.",
                begun.total,
            )
            % numbers,
        )
        said = ngettext(
            "The replay of %(count)d delivery has begun.",
            "The replay of %(count)d deliveries has begun.",
            begun.total,
        )
        messages.success(request, said % numbers)
        if not may_view(request, Replay):
            return HttpResponseRedirect(self._url("changelist"))
        return HttpResponseRedirect(self.page_of(begun))

    def _url_of_matching(self, request: HttpRequest) -> str:
        """The page with conditions, as the list is narrowed."""
        url, query = self._url("replay_matching"), request.GET.urlencode()
        return f"{url}?{query}" if query else url

    def _require(self, request: HttpRequest) -> None:
        """Refuse who may not look at deliveries, or not replay them.

        Raises:
            PermissionDenied: such a one.
        """
        if not (self.has_view_permission(request) and may_replay(request)):
            raise PermissionDenied

    def _route(self, route: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
        """A URL of this admin: for staff only, with CSRF protection, never cached."""
        wrapped = self.admin_site.admin_view(view)
        return path(route, wrapped, name=f"gemini_webhooks_webhookdelivery_{name}")

    def _url(self, name: str, *args: object) -> str:
        full_name = f"admin:gemini_webhooks_webhookdelivery_{name}"
        return reverse(full_name, args=args, current_app=self.admin_site.name)

    def _page(
        self,
        request: HttpRequest,
        template: str,
        title: str | Promise,
        *,
        form: forms.Form,
        fieldsets: list[Any] | None = None,
        **context: Any,
    ) -> TemplateResponse:
        """Render a page in the admin's frame; ``form`` as the admin renders its own."""
        if fieldsets is None:
            shown = [field.name for field in form.visible_fields()]
            fieldsets = [(None, {"fields": shown})]
        adminform = AdminForm(form, fieldsets, {}, model_admin=self)  # type: ignore[arg-type]  # any form renders
        return TemplateResponse(
            request,
            f"admin/gemini_webhooks/webhookdelivery/{template}.html",
            {
                **self.admin_site.each_context(request),
                "title": title,
                "opts": self.opts,
                "media": self.media + form.media,
                "form": form,
                "adminform": adminform,
                **context,
            },
        )


def _offered(delivery: WebhookDelivery) -> list[What]:
    """What can be replayed of a delivery."""
    if delivery.state == WebhookDelivery.State.RECEIVED or delivery.emptied_at is not None:
        return []
    if delivery.state == WebhookDelivery.State.UNREADABLE:
        return []
    runs = list(delivery.runs.values_list("state", flat=True))
    offered = [What.EVERYTHING]
    if "dead" in runs:
        offered.append(What.FAILED)
    if delivery.results.exists():
        offered.append(What.RESULTS)
    if len(runs) > 1:
        offered.append(What.RECEIVERS)
    return offered


def _initial(query: QueryDict, *, sees_payload: bool) -> tuple[dict[str, Any], list[str]]:
    """What the filters of the list say, as values of the form; and the names of those unused."""
    initial: dict[str, Any] = {}
    unused: list[str] = []
    for name, value in query.items():
        if name in NO_FILTERS or not value:
            continue
        read = READERS.get(name)
        found = read(str(value)) if read else None
        if name == "q" and not sees_payload:
            found = None
        if found is None:
            unused.append("search" if name == "q" else name.partition("__")[0])
        else:
            initial |= found
    return initial, unused


def _read_type(value: str) -> dict[str, Any] | None:
    if value == "none":
        return {"event_types": [""]}
    return {"event_types": [value]} if value in CATALOGUE else None


def _read_endpoint(value: str) -> dict[str, Any] | None:
    if value == "root":
        return {"endpoint": ROOT}
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        return None
    endpoint = rows(WebhookEndpoint).filter(pk=int(value)).first()
    return {"endpoint": endpoint.slug} if endpoint else None


def _read_received(value: str) -> dict[str, Any] | None:
    seconds = ReceivedFilter.seconds.get(value)
    if seconds is None:
        return None
    return {"since": _minute(clock.now() - timedelta(seconds=seconds))}


def _read_time(name: str) -> Callable[[str], dict[str, Any] | None]:
    def read(value: str) -> dict[str, Any] | None:
        try:
            moment = parse_datetime(value)
            return {name: _minute(moment)} if moment else None
        except (ValueError, OverflowError):
            return None

    return read


def _read_failures(value: str) -> dict[str, Any] | None:
    return {"what": What.FAILED.value} if value == "dead" else None


def _read_search(value: str) -> dict[str, Any] | None:
    """Only what names a path is a condition; anything else may be the beginning of an id."""
    path_of, equals, _value = value.partition("=")
    return {"metadata": [value.strip()]} if equals and path_of.strip() else None


def _minute(moment: datetime) -> str:
    """In the reader's time zone, as a browser's field for times has it."""
    shown = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return shown.strftime(LOCAL_TIME)


READERS: Mapping[str, Callable[[str], dict[str, Any] | None]] = {
    "type": _read_type,
    "at": _read_endpoint,
    "state__exact": lambda value: (
        {"states": [value]} if value in WebhookDelivery.State.values else None
    ),
    "signing__exact": lambda value: (
        {"signing": value} if value in WebhookDelivery.Signing.values else None
    ),
    "received": _read_received,
    "received_at__gte": _read_time("since"),
    "received_at__lt": _read_time("until"),
    "failures": _read_failures,
    "q": _read_search,
}
