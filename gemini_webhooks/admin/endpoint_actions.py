"""Pages and buttons that register, change, switch, ping and delete an endpoint."""

from __future__ import annotations

import time
from copy import copy
from urllib.parse import urlsplit

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils import translation
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from gemini_webhooks import jobs, registration
from gemini_webhooks.admin.endpoint_pages import EndpointPages, outside_transactions
from gemini_webhooks.admin.forms import EndpointChangeForm, EndpointForm
from gemini_webhooks.deliveries import arrivals, rows
from gemini_webhooks.exceptions import ConfigurationError, GeminiWebhooksError, KeyRefused
from gemini_webhooks.models import RejectedRequest, WebhookDelivery, WebhookEndpoint

#: How long the page after a ping looks for it by itself.
PING_SECONDS = 20
REFRESH_SECONDS = 2

button = method_decorator(require_POST)


class EndpointActions(EndpointPages):
    """Each calls one use-case of ``registration``."""

    def get_urls(self) -> list[URLPattern]:
        """Ours first: they take the place of the admin's own for adding and deleting."""
        one = "<int:object_id>"
        return [
            self.route("add/", self.create_page, "add"),
            self.route(f"{one}/edit/", self.edit_page, "edit"),
            self.route(f"{one}/delete/", self.delete_page, "delete"),
            self.route(f"{one}/disable/", self.disable_button, "disable"),
            self.route(f"{one}/enable/", self.enable_button, "enable"),
            self.route(f"{one}/ping/", self.ping_button, "ping"),
            self.route(
                f"{one}/pinged/<int:sent>/<int:delivery_id>/<int:rejection_id>/",
                self.pinged_page,
                "pinged",
            ),
            *super().get_urls(),
        ]

    @outside_transactions
    def create_page(self, request: HttpRequest) -> HttpResponse:
        """Form, then what will be sent, then the call."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        title = _("Add webhook endpoint")
        form = EndpointForm(request.POST if request.method == "POST" else None)
        if "_back" in request.POST or not form.is_valid():
            return self.page(request, "form", title, form=form, next_step=_("Continue"))
        try:
            uri = jobs.public_uri(form.cleaned_data["slug"])
            if "_confirm" in request.POST:
                return self._create(request, form)
        except GeminiWebhooksError as error:
            form.add_error(None, str(error))
            return self.page(request, "form", title, form=form, next_step=_("Continue"))
        is_public = urlsplit(uri).scheme == "https"
        return self.page(request, "preview", title, form=form, uri=uri, is_public=is_public)

    def _create(self, request: HttpRequest, form: forms.Form) -> HttpResponse:
        endpoint = registration.create(**form.cleaned_data)
        self.log_addition(request, endpoint, gettext("Registered at Google."))
        messages.success(
            request,
            gettext("“%(name)s” is registered at Google, and its signing secret is stored. ")
            % {"name": endpoint}
            + gettext("Send a ping to see whether deliveries arrive."),
        )
        return self.to_page_of(endpoint)

    @outside_transactions
    def edit_page(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Name, URI, events and audiences."""
        endpoint = self.endpoint(request, object_id, to="change")
        data = request.POST if request.method == "POST" else None
        form = EndpointChangeForm(data, endpoint=endpoint)
        if form.is_valid() and self._edit(request, endpoint, form):
            return self.to_page_of(endpoint)
        return self.page(
            request,
            "form",
            _("Edit webhook endpoint"),
            endpoint=endpoint,
            form=form,
            own_uri=_own_uri(endpoint),
            next_step=_("Save here and at Google"),
        )

    def _edit(self, request: HttpRequest, endpoint: WebhookEndpoint, form: forms.Form) -> bool:
        # All fields, changed or not: what differs at Google is mended on the way.
        values = {**form.cleaned_data, "name": form.cleaned_data["name"] or endpoint.slug}
        done = gettext("Saved here and at Google.")
        if form.changed_data == ["audiences"]:
            values = {"audiences": values["audiences"]}
            done = gettext("Saved here. Google is not told the audiences, so it was not called.")
        try:
            registration.update(endpoint, **values)
        except GeminiWebhooksError as error:
            form.add_error(None, str(error))
            return False
        self.log_change(request, endpoint, _changes(form) or gettext("Sent again, unchanged."))
        messages.success(request, done)
        return True

    @outside_transactions
    @button
    def disable_button(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Stop deliveries."""
        endpoint = self.endpoint(request, object_id, to="change")
        try:
            registration.disable(endpoint)
        except KeyRefused as done_here:
            self.log_change(request, endpoint, gettext("Disabled here only."))
            messages.warning(request, str(done_here))
        except GeminiWebhooksError as error:
            messages.error(request, str(error))
        else:
            self.log_change(request, endpoint, gettext("Disabled."))
            messages.success(
                request, gettext("Disabled: Google sends nothing, and what comes is refused.")
            )
        return self.to_page_of(endpoint)

    @outside_transactions
    @button
    def enable_button(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Take up deliveries again, whoever stopped them."""
        endpoint = self.endpoint(request, object_id, to="change")
        if self.attempt(request, endpoint, registration.enable, history=_("Enabled.")):
            messages.success(
                request, gettext("Enabled: Google delivers again. Send a ping to see it arrive.")
            )
        return self.to_page_of(endpoint)

    @outside_transactions
    @button
    def ping_button(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Have Google send a test event, then look for it."""
        endpoint = self.endpoint(request, object_id, to="change")
        # Ids instead of times: the process that receives may have another clock.
        mark = (_last_id(WebhookDelivery), _last_id(RejectedRequest))
        if not self.attempt(request, endpoint, registration.ping, history=_("Pinged.")):
            return self.to_page_of(endpoint)
        return HttpResponseRedirect(self.url_of("pinged", object_id, int(time.time()), *mark))

    def pinged_page(
        self,
        request: HttpRequest,
        object_id: int,
        sent: int,
        delivery_id: int,
        rejection_id: int,
    ) -> HttpResponse:
        """Whether a delivery came in since; looks again by itself for a while."""
        endpoint = self.endpoint(request, object_id, to="view")
        refused = rows(RejectedRequest).order_by("-pk")
        delivery = arrivals.arrived(endpoint, since=delivery_id)
        refusal = refused.filter(endpoint_slug=endpoint.slug, pk__gt=rejection_id).first()
        # Whole numbers only: what the address says may be too large for a float.
        waiting = delivery is None and abs(int(time.time()) - sent) < PING_SECONDS
        return self.page(
            request,
            "pinged",
            _("Ping"),
            endpoint=endpoint,
            delivery=delivery,
            may_be_ping=delivery is not None and arrivals.may_be_ping(delivery),
            refusal=None if delivery else refusal,
            may_see_delivery=request.user.has_perm("gemini_webhooks.view_webhookdelivery"),
            may_see_refusal=request.user.has_perm("gemini_webhooks.view_rejectedrequest"),
            may_change=self.may(request, "change"),
            waiting=waiting,
            refresh_seconds=REFRESH_SECONDS,
            ping_seconds=PING_SECONDS,
        )

    @outside_transactions
    def delete_page(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """What will happen; then it does."""
        endpoint = self.endpoint(request, object_id, to="delete")
        key_refused = False
        if request.method == "POST":
            try:
                self._delete(request, endpoint)
                return HttpResponseRedirect(self.url_of("changelist"))
            except GeminiWebhooksError as error:
                messages.error(request, str(error))
                key_refused = isinstance(error, KeyRefused)
        return self.page(
            request,
            "delete",
            _("Delete webhook endpoint"),
            endpoint=endpoint,
            secrets=endpoint.signing_secrets.count(),
            deliveries=endpoint.deliveries.count(),
            key_refused=key_refused,
        )

    def _delete(self, request: HttpRequest, endpoint: WebhookEndpoint) -> None:
        gone = copy(endpoint)  # deleting takes the id, which the history is kept under
        only_here = "_only_here" in request.POST
        registration.delete(endpoint, only_here=only_here)
        self.log_deletions(request, [gone])  # type: ignore[arg-type]  # it only iterates
        done = (
            gettext("“%(name)s” is removed here; at Google it stays until you delete it there.")
            if only_here
            else gettext("“%(name)s” is deleted, here and at Google.")
        )
        messages.success(request, done % {"name": gone})


def _changes(form: forms.Form) -> list[dict[str, dict[str, list[str]]]]:
    """What changed, as the admin notes it: untranslated, so that each reader gets his language."""
    with translation.override(None):
        labels = [str(form[name].label) for name in form.changed_data]
    return [{"changed": {"fields": labels}}] if labels else []


def _last_id(model: type[WebhookDelivery | RejectedRequest]) -> int:
    return rows(model).order_by("-pk").values_list("pk", flat=True).first() or 0


def _own_uri(endpoint: WebhookEndpoint) -> str:
    """Where this site answers for ``endpoint``; empty if that is not configured."""
    try:
        return jobs.public_uri(endpoint.slug)
    except ConfigurationError:
        return ""
