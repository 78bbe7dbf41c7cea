"""Pages that show a signing secret once, or end one; and what a page says about lost ones."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import Error as DatabaseTrouble
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gemini_webhooks import registration
from gemini_webhooks.admin.endpoint_pages import EndpointPages, outside_transactions
from gemini_webhooks.admin.secrets import MAY_REVEAL, SigningSecretInline
from gemini_webhooks.conf import settings
from gemini_webhooks.deliveries import alias, rows
from gemini_webhooks.exceptions import GeminiWebhooksError
from gemini_webhooks.models import SigningSecret, WebhookEndpoint


class SecretPages(EndpointPages):
    """What can be done to one secret."""

    def get_urls(self) -> list[URLPattern]:
        """Ours before the admin's, which would take them for ids."""
        one = "<int:object_id>/secrets/<int:secret_id>"
        return [
            self.route(f"{one}/reveal/", self.reveal_page, "reveal"),
            self.route(f"{one}/revoke/", self.revoke_page, "revoke"),
            *super().get_urls(),
        ]

    def add_to_page(self, request: HttpRequest, context: dict[str, Any], row: Any) -> None:
        """Say which of the endpoint's secrets are lost."""
        super().add_to_page(request, context, row)
        secrets = registration.valid_secrets(row)
        context |= {"secrets": secrets, "has_backend": settings.SECRET_BACKEND is not None}
        for formset in context["inline_admin_formsets"]:
            if isinstance(formset.opts, SigningSecretInline):
                formset.opts.unreadable = frozenset(lost.pk for lost in secrets.unreadable)

    @outside_transactions
    def reveal_page(self, request: HttpRequest, object_id: int, secret_id: int) -> HttpResponse:
        """What will happen; then the secret, in the answer to the POST and nowhere else."""
        endpoint = self.endpoint(request, object_id, to="view")
        if not request.user.has_perm(MAY_REVEAL):
            raise PermissionDenied
        secret = _secret(endpoint, secret_id)
        text, problem = "", registration.not_shown(secret)
        if request.method == "POST":
            text, problem = self._reveal(request, endpoint, secret)
        return self.page(
            request,
            "reveal",
            _("Show signing secret"),
            endpoint=endpoint,
            secret=secret,
            text=text,
            problem=problem,
            may_change=self.may(request, "change"),
        )

    def _reveal(
        self, request: HttpRequest, endpoint: WebhookEndpoint, secret: SigningSecret
    ) -> tuple[str, str]:
        """The secret, or why there is none. Nobody sees it without leaving a trace."""
        done = gettext("Was shown the signing secret %(hint)s.") % {"hint": secret.hint}
        try:
            with transaction.atomic(using=alias()):
                text = registration.reveal(secret, actor=request.user.get_username())
                self.log_change(request, endpoint, done)
        except GeminiWebhooksError as error:
            return "", str(error)
        except DatabaseTrouble as error:
            problem = gettext(
                "The secret is not shown, because the history cannot be written (%(error)s). "
                "Try again."
            )
            return "", problem % {"error": type(error).__name__}
        return text, ""

    def revoke_page(self, request: HttpRequest, object_id: int, secret_id: int) -> HttpResponse:
        """What it means; then it is done."""
        endpoint = self.endpoint(request, object_id, to="change")
        secret = _secret(endpoint, secret_id)
        if request.method == "POST":
            names = {"hint": secret.hint}
            history = gettext("Revoked the signing secret %(hint)s.") % names
            if self.attempt(
                request, endpoint, lambda _: registration.revoke(secret), history=history
            ):
                done = gettext("The signing secret %(hint)s is revoked: nothing it signs holds.")
                messages.success(request, done % names)
            return self.to_page_of(endpoint)
        valid = registration.valid_secrets(endpoint)
        return self.page(
            request,
            "revoke",
            _("Revoke signing secret"),
            endpoint=endpoint,
            secret=secret,
            has_ended=secret not in (*valid.readable, *valid.unreadable),
            is_last=not [other for other in valid.readable if other != secret],
            has_backend=settings.SECRET_BACKEND is not None,
        )


def _secret(endpoint: WebhookEndpoint, secret_id: int) -> SigningSecret:
    secrets = rows(SigningSecret).select_related("endpoint").defer("ciphertext")
    secret: SigningSecret = get_object_or_404(secrets, pk=secret_id, endpoint=endpoint)
    return secret
