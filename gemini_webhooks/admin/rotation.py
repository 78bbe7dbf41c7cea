"""Pages that rotate a signing secret and show what the old ones verified."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gemini_webhooks import clock, registration
from gemini_webhooks.admin.endpoint_pages import EndpointPages, outside_transactions
from gemini_webhooks.admin.forms import LOCAL_TIME, RotationForm, SinceForm
from gemini_webhooks.exceptions import GeminiWebhooksError
from gemini_webhooks.models import WebhookEndpoint

#: How far back the list of an incident starts, unless told.
LOOK_BACK = timedelta(hours=24)
#: The most that one page lists; the time narrows it.
MAX_LISTED = 200


class RotationPages(EndpointPages):
    """The way from an old secret to a new one."""

    def get_urls(self) -> list[URLPattern]:
        """Ours before the admin's, which would take them for ids."""
        return [
            self.route("<int:object_id>/rotate/", self.rotate_page, "rotate"),
            self.route("<int:object_id>/verified/", self.verified_page, "verified"),
            *super().get_urls(),
        ]

    @outside_transactions
    def rotate_page(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """The choice between a day of grace and at once; then the call."""
        endpoint = self.endpoint(request, object_id, to="change")
        form = RotationForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            try:
                return self._rotate(request, endpoint, form.cleaned_data["when"])
            except GeminiWebhooksError as error:
                form.add_error(None, str(error))
        title = _("Rotate signing secret")
        return self.page(request, "rotate", title, endpoint=endpoint, form=form)

    def _rotate(self, request: HttpRequest, endpoint: WebhookEndpoint, when: str) -> HttpResponse:
        at_once = when == RotationForm.AT_ONCE
        rotation = registration.rotate(endpoint, revoke_immediately=at_once)
        names = {"hint": rotation.secret.hint}
        if rotation.old_valid_until:
            end = date_format(_local(rotation.old_valid_until), "DATETIME_FORMAT")
            # Not at the end of the sentence: a time may end in “a.m.”.
            done = gettext("The new secret %(hint)s is in place; until %(end)s the old one holds.")
            names["end"] = end
        elif at_once:
            done = gettext("The new secret %(hint)s is in place; the old ones are revoked.")
        else:
            done = gettext("The new secret %(hint)s is in place.")
        self.log_change(request, endpoint, done % names)
        messages.success(request, done % names)
        if at_once and self._may_look(request):
            return HttpResponseRedirect(self.url_of("verified", endpoint.pk))
        return self.to_page_of(endpoint)

    def verified_page(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Deliveries that revoked secrets verified since a time that the reader chooses."""
        endpoint = self.endpoint(request, object_id, to="view")
        if not self._may_look(request):
            raise PermissionDenied
        default = (_local(clock.now()) - LOOK_BACK).strftime(LOCAL_TIME)
        form = SinceForm({"since": request.GET.get("since", default)})
        found = None
        if form.is_valid():
            found = registration.verified_since(endpoint, form.cleaned_data["since"])
            found = found.defer("body", "user_metadata", "headers").select_related("secret")
        return self.page(
            request,
            "verified",
            _("What the revoked secrets verified"),
            endpoint=endpoint,
            form=form,
            count=found.count() if found is not None else None,
            found=found[:MAX_LISTED] if found is not None else (),
            limit=MAX_LISTED,
        )

    def _may_look(self, request: HttpRequest) -> bool:
        return request.user.has_perm("gemini_webhooks.view_webhookdelivery")


def _local(moment: datetime) -> datetime:
    """A model field's value in the reader's time zone."""
    return timezone.localtime(moment) if timezone.is_aware(moment) else moment
