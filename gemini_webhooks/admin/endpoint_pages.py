"""What the pages that act on endpoints have in common.

Google is called while such a page is answered. That must not happen inside a transaction, so they
are views of their own instead of the admin's, which open one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import AdminForm
from django.core.exceptions import PermissionDenied
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.functional import Promise

from gemini_webhooks.admin.base import ReadOnlyAdmin
from gemini_webhooks.deliveries import rows
from gemini_webhooks.exceptions import GeminiWebhooksError
from gemini_webhooks.models import WebhookEndpoint

View = TypeVar("View", bound=Callable[..., HttpResponse])


def outside_transactions(view: View) -> View:
    """Exempt ``view`` from ``ATOMIC_REQUESTS``, on every database alias."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


class EndpointPages(ReadOnlyAdmin):
    """Addresses, permissions and the frame of the pages."""

    def route(self, route: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
        """A URL of this admin: for staff only, with CSRF protection, never cached."""
        wrapped = self.admin_site.admin_view(view)
        return path(route, wrapped, name=f"gemini_webhooks_webhookendpoint_{name}")

    def url_of(self, name: str, *args: object) -> str:
        """The path of one of this admin's pages."""
        name = f"admin:gemini_webhooks_webhookendpoint_{name}"
        return reverse(name, args=args, current_app=self.admin_site.name)

    def may(self, request: HttpRequest, action: str) -> bool:
        """Whether the user has Django's permission ``action`` (add, change, ...) on endpoints."""
        return request.user.has_perm(f"gemini_webhooks.{action}_webhookendpoint")

    def endpoint(self, request: HttpRequest, object_id: int, *, to: str) -> WebhookEndpoint:
        """The endpoint, for a user who has the permission ``to`` change, delete or view it."""
        allowed = self.has_view_permission(request) if to == "view" else self.may(request, to)
        if not allowed:
            raise PermissionDenied
        return get_object_or_404(rows(WebhookEndpoint), pk=object_id)

    def page(
        self,
        request: HttpRequest,
        template: str,
        title: str | Promise,
        *,
        endpoint: WebhookEndpoint | None = None,
        form: forms.Form | None = None,
        **context: Any,
    ) -> TemplateResponse:
        """Render a page in the admin's frame; ``form`` as the admin renders its own."""
        if form is not None:
            fieldsets = [(None, {"fields": list(form.fields)})]
            context["adminform"] = AdminForm(form, fieldsets, {}, model_admin=self)  # type: ignore[arg-type]  # any form renders
        media = self.media + form.media if form is not None else self.media
        return TemplateResponse(
            request,
            f"admin/gemini_webhooks/webhookendpoint/{template}.html",
            {
                **self.admin_site.each_context(request),
                "title": title,
                "opts": self.opts,
                "original": endpoint,
                "media": media,
                "form": form,
                **context,
            },
        )

    def to_page_of(self, endpoint: WebhookEndpoint) -> HttpResponseRedirect:
        """Go back to the page of ``endpoint``."""
        return HttpResponseRedirect(self.url_of("change", endpoint.pk))

    def attempt(
        self,
        request: HttpRequest,
        endpoint: WebhookEndpoint,
        action: Callable[[WebhookEndpoint], None],
        *,
        history: str | Promise,
    ) -> bool:
        """Run a use-case; note it in the history, or show why it failed."""
        try:
            action(endpoint)
        except GeminiWebhooksError as error:
            messages.error(request, str(error))
            return False
        self.log_change(request, endpoint, str(history))
        return True
