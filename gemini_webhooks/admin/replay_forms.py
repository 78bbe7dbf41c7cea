"""Forms about replays: what is to run again, of which deliveries, how fast and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from django import forms
from django.contrib.admin.widgets import (
    AdminIntegerFieldWidget,
    AdminRadioSelect,
    AdminTextareaWidget,
    AdminTextInputWidget,
)
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from gemini_webhooks import clock
from gemini_webhooks.admin.events import SENTENCES
from gemini_webhooks.admin.forms import LOCAL_TIME, LinesField, reason_field
from gemini_webhooks.admin.replay_words import WHAT
from gemini_webhooks.deliveries import Selection, rows
from gemini_webhooks.deliveries.selection import MAX_IDS, MAX_LENGTH
from gemini_webhooks.exceptions import InvalidSelection
from gemini_webhooks.models import Replay, WebhookDelivery, WebhookEndpoint
from gemini_webhooks.replay import MAX_RATE

#: No slug looks like it.
ROOT = "/"
What = Replay.What


class LocalTimeField(forms.DateTimeField):
    """A time in the reader's zone, to the minute; cleaned, it is aware."""

    widget = forms.DateTimeInput

    def __init__(self, **options: Any) -> None:
        widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format=LOCAL_TIME)
        super().__init__(required=False, widget=widget, **options)

    def clean(self, value: Any) -> datetime | None:
        """As an aware time, whatever ``USE_TZ`` says."""
        moment = super().clean(value)
        try:
            return clock.aware(moment) if moment is not None else None
        except (OverflowError, ValueError):
            raise ValidationError(_("There was no such time.")) from None


class OneForm(forms.Form):
    """A replay of one delivery; what of it runs again stands in the address."""

    receivers = forms.MultipleChoiceField(
        label=_("Receivers"), widget=forms.CheckboxSelectMultiple, required=True
    )
    reason = reason_field()

    def __init__(
        self, data: Mapping[str, Any] | None, *, what: str, receivers: Sequence[str], **options: Any
    ) -> None:
        super().__init__(data, **options)
        if what != What.RECEIVERS:
            del self.fields["receivers"]
            return
        choices = cast("forms.MultipleChoiceField", self.fields["receivers"])
        choices.choices = [(name, name) for name in receivers]


class ManyForm(forms.Form):
    """What of many deliveries runs again, how fast, and why."""

    what = forms.ChoiceField(
        label=_("What runs again"),
        widget=AdminRadioSelect,
        choices=[(name.value, WHAT[name]) for name in What],
        initial=What.EVERYTHING,
    )
    receivers = LinesField(
        label=_("Receivers"),
        required=False,
        widget=AdminTextareaWidget(attrs={"rows": 2}),
        help_text=_("Their names, one per line, if only some of them run."),
    )
    rate = forms.IntegerField(
        label=_("Deliveries per minute"),
        required=False,
        min_value=1,
        max_value=MAX_RATE,
        widget=AdminIntegerFieldWidget,
        help_text=_("Empty: as fast as the workers can."),
    )
    reason = reason_field()

    def how(self) -> dict[str, Any]:
        """What ``replay.start`` takes beside the selection."""
        return {**self.of_what(), "rate": self.cleaned_data["rate"]}

    def of_what(self) -> dict[str, Any]:
        """What ``replay.preview`` takes beside the selection."""
        what, receivers = self.cleaned_data["what"], self.cleaned_data["receivers"]
        return {"what": what, "receivers": tuple(receivers)}


class SelectedForm(ManyForm):
    """Those that somebody has ticked in the list."""

    ids = forms.CharField(widget=forms.HiddenInput, max_length=MAX_IDS * 20)

    def selection(self) -> Selection:
        """The deliveries.

        Raises:
            InvalidSelection: the field was tampered with.
        """
        ids = self.cleaned_data["ids"].split(",")
        if not all(one.isascii() and one.isdigit() and len(one) < 20 for one in ids):
            raise InvalidSelection("ids are whole numbers, the primary keys of deliveries.")
        return Selection(ids=tuple(map(int, ids)))


class MatchingForm(ManyForm):
    """All that meet the conditions."""

    states = forms.MultipleChoiceField(
        label=_("State"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        choices=WebhookDelivery.State.choices,
    )
    event_types = forms.MultipleChoiceField(
        label=_("Event type"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        choices=[*((name, name) for name in SENTENCES), ("", _("none given"))],
    )
    other_type = forms.CharField(
        label=_("Another event type"),
        required=False,
        max_length=MAX_LENGTH,
        widget=AdminTextInputWidget,
    )
    endpoint = forms.ChoiceField(label=_("Endpoint"), required=False)
    signing = forms.ChoiceField(
        label=_("Signing"),
        required=False,
        choices=[("", _("any")), *WebhookDelivery.Signing.choices],
    )
    since = LocalTimeField(label=_("Received since"))
    until = LocalTimeField(label=_("Received before"))
    metadata = LinesField(
        label=_("Metadata"),
        required=False,
        widget=AdminTextareaWidget(attrs={"rows": 2}),
        help_text=_("Paths and values, one pair per line, such as tenant=acme or customer.id=7."),
    )
    receiver = forms.CharField(
        label=_("A receiver that gave up"),
        required=False,
        max_length=MAX_LENGTH,
        widget=AdminTextInputWidget,
    )
    failed_with = forms.CharField(
        label=_("Class of error"),
        required=False,
        max_length=MAX_LENGTH,
        widget=AdminTextInputWidget,
        help_text=_("Of a receiver that gave up, such as KeyError."),
    )
    everything = forms.BooleanField(
        label=_("Every delivery there is, if no condition is set"), required=False
    )
    field_order = (
        "states",
        "event_types",
        "other_type",
        "endpoint",
        "signing",
        "since",
        "until",
        "metadata",
        "receiver",
        "failed_with",
        "everything",
        "what",
        "receivers",
        "rate",
        "reason",
    )

    def __init__(
        self, data: Mapping[str, Any] | None, *, may_see_payload: bool, **options: Any
    ) -> None:
        super().__init__(data, **options)
        if not may_see_payload:
            del self.fields["metadata"]
        slugs = rows(WebhookEndpoint).order_by("slug").values_list("slug", flat=True)
        endpoint = cast("forms.ChoiceField", self.fields["endpoint"])
        endpoint.choices = [
            ("", _("any")),
            (ROOT, _("Root endpoint")),
            *((slug, slug) for slug in slugs),
        ]

    def selection(self) -> Selection:
        """The conditions.

        Raises:
            InvalidSelection: one of them makes no sense.
        """
        given = self.cleaned_data
        other = [given["other_type"]] if given["other_type"] else []
        endpoint = given["endpoint"] or None
        return Selection(
            states=tuple(given["states"]),
            event_types=(*given["event_types"], *other),
            endpoint="" if endpoint == ROOT else endpoint,
            signing=given["signing"] or None,
            since=given["since"],
            until=given["until"],
            metadata=dict(map(_condition, given.get("metadata", ()))),
            receiver=given["receiver"] or None,
            error_class=given["failed_with"] or None,
        )


def _condition(line: str) -> tuple[str, str]:
    path, equals, value = line.partition("=")
    if not equals:
        raise InvalidSelection("metadata: a path and a value are needed, as in tenant=acme.")
    return path.strip(), value.strip()
