"""The page that compares endpoints with Google, and what a page says of one switched off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from gemini_webhooks import endpoints, registration
from gemini_webhooks.admin.endpoint_pages import EndpointPages, outside_transactions
from gemini_webhooks.conf import settings
from gemini_webhooks.deliveries import rows
from gemini_webhooks.models import SigningSecret, WebhookEndpoint
from gemini_webhooks.registration import Compared, Drift, Failures, SyncReport

State = WebhookEndpoint.State


@dataclass(frozen=True, kw_only=True)
class Project:
    """What the page says of one API key; endpoints stand beside what is said of them."""

    name: str
    error: str = ""
    report: SyncReport | None = None
    missing: Sequence[WebhookEndpoint] = field(default=())
    unregistered: Sequence[WebhookEndpoint] = field(default=())
    switched_off: Sequence[tuple[WebhookEndpoint, Failures]] = field(default=())
    drift: Sequence[tuple[WebhookEndpoint, Drift]] = field(default=())
    without_secret: Sequence[WebhookEndpoint] = field(default=())

    @property
    def all_the_same(self) -> bool:
        """Whether there is nothing to do."""
        report = self.report
        return report is not None and not (report.differs or report.adopted or self.without_secret)


class SyncPages(EndpointPages):
    """Comparing is a POST, which writes; the page then only looks, so it can be loaded again."""

    def get_urls(self) -> list[URLPattern]:
        """Ours before the admin's, which would take it for an id."""
        return [self.route("sync/", self.sync_page, "sync"), *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Offer the comparison on the list."""
        may = {"may_change": self.may(request, "change")}
        return super().changelist_view(request, {**may, **(extra_context or {})})

    def add_to_page(self, request: HttpRequest, context: dict[str, Any], row: Any) -> None:
        """Say since when and why Google switched the endpoint off."""
        super().add_to_page(request, context, row)
        if row.state == State.DISABLED_BY_GOOGLE:
            context |= {"failures": registration.failures(row), **_words(request)}

    @outside_transactions
    def sync_page(self, request: HttpRequest) -> HttpResponse:
        """Compare and follow what Google decides; then what there is to do."""
        if not self.may(request, "change"):
            raise PermissionDenied
        if request.method == "POST":
            self._sync(request)
            return HttpResponseRedirect(self.url_of("sync"))
        projects = [_project(compared) for compared in registration.sync_all(dry_run=True)]
        return self.page(
            request,
            "sync",
            _("Compare with Google"),
            projects=projects,
            may_add=self.may(request, "add"),
            may_change=True,
            may_delete=self.may(request, "delete"),
            State=State,
            **_words(request),
        )

    def _sync(self, request: HttpRequest) -> None:
        adopted = [
            slug
            for compared in registration.sync_all()
            if compared.report
            for slug in compared.report.adopted
        ]
        for endpoint in rows(WebhookEndpoint).filter(slug__in=adopted):
            self.log_addition(request, endpoint, gettext("Taken over from Google."))
        if adopted:
            messages.success(
                request,
                ngettext(
                    "Compared. %(count)d endpoint was taken over from Google: %(slugs)s.",
                    "Compared. %(count)d endpoints were taken over from Google: %(slugs)s.",
                    len(adopted),
                )
                % {"count": len(adopted), "slugs": ", ".join(adopted)},
            )


def _project(compared: Compared) -> Project:
    report = compared.report
    if report is None:
        return Project(name=compared.api_key_name, error=compared.error)
    own = {
        endpoint.slug: endpoint
        for endpoint in rows(WebhookEndpoint).filter(api_key_name=compared.api_key_name)
    }
    return Project(
        name=compared.api_key_name,
        report=report,
        missing=[own[slug] for slug in report.missing if slug in own],
        unregistered=[own[slug] for slug in report.unregistered if slug in own],
        switched_off=[(own[one.slug], one) for one in report.failures if one.slug in own],
        drift=[(own[drift.slug], drift) for drift in report.drift if drift.slug in own],
        without_secret=_without_secret(own, missing=report.missing),
    )


def _without_secret(
    own: dict[str, WebhookEndpoint], *, missing: Sequence[str]
) -> list[WebhookEndpoint]:
    """Those that a rotation would give a secret, as taking them over does not."""
    if settings.SECRET_BACKEND is not None:
        return []
    valid = endpoints.valid_now(rows(SigningSecret))
    with_secret = set(valid.values_list("endpoint_id", flat=True))
    return [
        endpoint
        for slug, endpoint in own.items()
        if endpoint.remote_id and slug not in missing and endpoint.pk not in with_secret
    ]


def _words(request: HttpRequest) -> dict[str, Any]:
    return {
        "nothing_refused": registration.NOTHING_REFUSED,
        "may_see_refusals": request.user.has_perm("gemini_webhooks.view_rejectedrequest"),
    }
