"""Deliveries: the list in which one is found, and the page that tells all of it."""

# ruff: noqa: D102  # a column says in its description what it shows

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from gemini_webhooks.admin.badges import badge
from gemini_webhooks.admin.base import EMPTY, PAYLOAD_NEEDED, LongList, may_see_payload, withheld
from gemini_webhooks.admin.events import described
from gemini_webhooks.admin.filters import (
    DuplicatesFilter,
    EndpointFilter,
    EventTypeFilter,
    FailuresFilter,
    ReceivedFilter,
    ResourceFilter,
)
from gemini_webhooks.admin.rendering import body_block, json_block, metadata_block
from gemini_webhooks.admin.replay_pages import ReplayPages
from gemini_webhooks.admin.searching import Rows, deliveries_called, with_metadata
from gemini_webhooks.admin.story import tell
from gemini_webhooks.admin.times import moment, span
from gemini_webhooks.models import WebhookDelivery as Delivery


@admin.register(Delivery)
class DeliveryAdmin(ReplayPages, LongList):
    """What came, what each receiver made of it, and the bytes themselves."""

    change_form_template = "admin/gemini_webhooks/webhookdelivery/change_form.html"
    list_display = (
        "webhook_id",
        "state_badge",
        "type_badge",
        "received_time",
        "resource_id",
        "arrived_at",
        "signing",
        "duplicate_count",
    )
    list_filter = (
        ResourceFilter,
        "state",
        FailuresFilter,
        ReceivedFilter,
        EventTypeFilter,
        EndpointFilter,
        "signing",
        DuplicatesFilter,
    )
    list_select_related = ("endpoint",)
    deferred = ("body", "user_metadata", "headers")
    sortable_by = ("webhook_id", "received_time")
    goes_on_by = ("received_at", "received_at__lte")
    search_fields = ("webhook_id",)  # see get_search_results
    search_help_text = _(
        "The beginning of a webhook id or resource id; or a value of the metadata, such as acme or"
        " tenant=acme."
    )
    payloads = ("metadata", "readable_body")
    fieldsets = (
        (
            None,
            {
                "fields": ("type", "resource_id", "webhook_id", "happened"),
                "classes": ("gw-dense",),
            },
        ),
        (
            _("How it came"),
            {
                "fields": (
                    "received",
                    "sender",
                    "arrived_at",
                    "signature",
                    "vouched_for",
                    "seal",
                    "readable_size",
                    "duplicates",
                ),
                "classes": ("gw-dense",),
            },
        ),
        (_("User metadata"), {"fields": ("metadata",), "classes": ("gw-last", "gw-wide")}),
        (_("Headers"), {"fields": ("readable_headers",), "classes": ("gw-last", "gw-wide")}),
        (_("Body"), {"fields": ("readable_body",), "classes": ("gw-last", "gw-wide")}),
    )
    withheld_metadata = withheld(_("user metadata"))
    withheld_readable_body = withheld(_("body"))

    def get_search_results(
        self, request: HttpRequest, queryset: Rows, search_term: str
    ) -> tuple[Rows, bool]:
        """By ids; only where none begins so by metadata, which no index of MariaDB's finds."""
        words = search_term.strip()
        if not words:
            return queryset, False
        called = queryset.filter(deliveries_called(words))
        if not may_see_payload(request) or called.order_by().values("pk")[:1].exists():
            return called, False
        return with_metadata(queryset, words), False

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changes = super().get_changelist_instance(request)
        if not may_see_payload(request):
            changes.search_help_text = gettext("The beginning of a webhook id or resource id.")
        return changes

    def add_to_page(self, request: HttpRequest, context: dict[str, Any], row: Any) -> None:
        super().add_to_page(request, context, row)
        context["story"] = tell(row, request, self.address_of)
        context["others_url"] = self.list_of(Delivery, resource=row.resource_id)
        context["payload_needed"] = PAYLOAD_NEEDED

    @admin.display(description=_("event type"), ordering="event_type")
    def type_badge(self, delivery: Delivery) -> SafeString | str:
        if not delivery.event_type:
            return EMPTY
        return format_html('<code class="gw-type">{}</code>', delivery.event_type)

    @admin.display(description=_("event type"))
    def type(self, delivery: Delivery) -> SafeString | str:
        return described(delivery.event_type) if delivery.event_type else EMPTY

    @admin.display(description=_("state"), ordering="state")
    def state_badge(self, delivery: Delivery) -> SafeString:
        return badge(delivery.state, delivery.get_state_display())

    @admin.display(description=_("endpoint"), ordering="endpoint")
    def arrived_at(self, delivery: Delivery) -> str | Promise:
        if delivery.endpoint:
            return self.link(delivery.endpoint)
        return EMPTY if delivery.source == Delivery.Source.RECONCILER else _("root")

    @admin.display(description=_("happened"))
    def happened(self, delivery: Delivery) -> str | Promise:
        if delivery.occurred_at is None:
            return _("Google did not say when.")
        return moment(delivery.occurred_at)

    @admin.display(description=_("received"))
    def received(self, delivery: Delivery) -> str:
        when = moment(delivery.received_at)
        if delivery.occurred_at is None or delivery.occurred_at > delivery.received_at:
            return when
        after = span(delivery.received_at - delivery.occurred_at)
        return gettext("%(when)s, %(after)s after it happened") % {"when": when, "after": after}

    @admin.display(description=_("received"), ordering="received_at")
    def received_time(self, delivery: Delivery) -> str:
        return moment(delivery.received_at)

    @admin.display(description=_("sender"))
    def sender(self, delivery: Delivery) -> Promise:
        if delivery.source == Delivery.Source.RECONCILER:
            return _("this site: the reconciler found out what no event had told")
        if delivery.source == Delivery.Source.RECORDING:
            return _("somebody with access to this site, from a recording")
        return _("Google, by a webhook")

    @admin.display(description=_("signature"))
    def signature(self, delivery: Delivery) -> str:
        key = self._key(delivery)
        return ": ".join(filter(None, (delivery.get_signing_display(), key)))

    @admin.display(description=_("size"))
    def readable_size(self, delivery: Delivery) -> str:
        return filesizeformat(delivery.size)

    @admin.display(description=_("duplicates"))
    def duplicates(self, delivery: Delivery) -> str | Promise:
        number = delivery.duplicate_count
        if not number:
            return _("none: it came once")
        told = ngettext(
            "%(number)d: it came once more, which was counted and nothing else",
            "%(number)d: it came so many times more, which was counted and nothing else",
            number,
        )
        return told % {"number": number}

    @admin.display(description=_("what the signature vouches for"))
    def vouched_for(self, delivery: Delivery) -> str | Promise:
        if delivery.signing == Delivery.Signing.HMAC:
            if delivery.redacted:
                return _("the webhook id, the time of sending and the body as it was before REDACT")
            return _("the webhook id, the time of sending and the body")
        if delivery.source == Delivery.Source.RECORDING:
            return _("nothing: a recording is not signed")
        if delivery.signing == Delivery.Signing.NONE:
            return _("nothing was signed: this site asked Google and made the event itself")
        return delivery.get_binding_display() or EMPTY

    @admin.display(description=_("seal"))
    def seal(self, delivery: Delivery) -> str | Promise:
        if delivery.sealed:
            return _("sealed: this site started the job")
        if delivery.signing == Delivery.Signing.JWT:
            return _("not sealed: anyone with a Gemini API key could have started the job")
        return _("not needed")

    def _key(self, delivery: Delivery) -> str:
        if not delivery.key_hint:
            return ""
        if delivery.signing == Delivery.Signing.JWT:
            return gettext("key id %(hint)s") % {"hint": delivery.key_hint}
        if delivery.secret_id:
            return gettext("%(hint)s, a secret of the endpoint") % {"hint": delivery.key_hint}
        if delivery.endpoint_id:
            return gettext("%(hint)s, a secret that was deleted or came from SECRET_BACKEND") % {
                "hint": delivery.key_hint
            }
        return gettext("%(hint)s, from SIGNING_SECRETS or SECRET_BACKEND") % {
            "hint": delivery.key_hint
        }

    @admin.display(description=_("user metadata"))
    def metadata(self, delivery: Delivery) -> SafeString:
        empty = _("No metadata came with the event.")
        if delivery.emptied_at is not None:
            empty = _("If there was any, it was removed with the body.")
        return metadata_block(delivery.user_metadata, empty=empty)

    @admin.display(description=_("headers"))
    def readable_headers(self, delivery: Delivery) -> SafeString:
        return json_block(delivery.headers, label=_("Headers"), empty=_("None were recorded."))

    @admin.display(description=_("body"))
    def readable_body(self, delivery: Delivery) -> SafeString:
        return body_block(delivery)
