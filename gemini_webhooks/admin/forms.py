"""Forms about endpoints, which never call Google, and fields that other forms have as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, cast

from django import forms
from django.contrib.admin.widgets import (
    AdminRadioSelect,
    AdminTextareaWidget,
    AdminTextInputWidget,
)
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from gemini_webhooks import clock
from gemini_webhooks.admin.events import SENTENCES, described
from gemini_webhooks.conf import settings
from gemini_webhooks.deliveries import rows
from gemini_webhooks.deliveries.replays import MAX_REASON_LENGTH
from gemini_webhooks.models import WebhookEndpoint
from gemini_webhooks.storable import strings_in

#: What an ``<input type="datetime-local">`` reads and writes.
LOCAL_TIME = "%Y-%m-%dT%H:%M"
READ_LATER = _("For those who look at it later.")


class EventsField(forms.MultipleChoiceField):
    """Checkboxes, one per event of the catalogue and per further type that is subscribed."""

    widget = forms.CheckboxSelectMultiple

    def offer(self, further: Iterable[str] = ()) -> None:
        """Offer the catalogue, and ``further`` types that Google has added since."""
        names = [*SENTENCES, *(name for name in further if name not in SENTENCES)]
        self.choices = [(name, described(name)) for name in names]


class LinesField(forms.CharField):
    """A list of texts, one per line, each once."""

    widget = AdminTextareaWidget

    def prepare_value(self, value: Any) -> Any:
        """A stored list as text; what was typed stays as it is."""
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        """The lines, without empty ones and the space around them."""
        lines = (line.strip() for line in str(value or "").splitlines())
        return list(dict.fromkeys(filter(None, lines)))

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether the lines differ, however they end."""
        return bool(self.to_python(self.prepare_value(initial)) != self.to_python(data))


def reason_field(help_text: Any = READ_LATER) -> forms.CharField:
    """Why somebody does it."""
    return forms.CharField(
        label=_("Reason"),
        required=False,
        max_length=MAX_REASON_LENGTH,
        widget=AdminTextInputWidget,
        help_text=help_text,
    )


def _audiences_field() -> LinesField:
    return LinesField(
        label=_("Audiences"),
        required=False,
        widget=AdminTextareaWidget(attrs={"rows": 3}),
        help_text=_(
            "Accepted “aud” values of dynamic webhooks, one per line. "
            "Empty: dynamic webhooks are refused at this address."
        ),
    )


class EndpointForm(forms.Form):
    """A new endpoint."""

    slug = forms.SlugField(
        label=_("Slug"),
        max_length=100,
        widget=AdminTextInputWidget,
        help_text=_("The last part of the address: letters, digits, hyphens and underscores."),
    )
    name = forms.CharField(
        label=_("Name"),
        max_length=200,
        required=False,
        widget=AdminTextInputWidget,
        help_text=_("For people, here and at Google. The slug, if you leave it empty."),
    )
    subscribed_events = EventsField(label=_("Events"))
    api_key_name = forms.ChoiceField(
        label=_("API key"),
        help_text=_("The name of a key in API_KEYS: it decides which project the endpoint is of."),
    )
    audiences = _audiences_field()

    def __init__(self, data: Mapping[str, Any] | None) -> None:
        super().__init__(data)
        events = cast("EventsField", self.fields["subscribed_events"])
        events.offer()
        events.initial = list(SENTENCES)
        key = cast("forms.ChoiceField", self.fields["api_key_name"])
        key.choices = [(name, name) for name, value in settings.API_KEYS.items() if value]
        if not key.choices:
            key.help_text = _(
                "No key in API_KEYS has a value. Set one, for example with the environment "
                "variable GEMINI_API_KEY, and open this page again."
            )

    def clean_slug(self) -> str:
        """Refuse a slug that is taken; creating tells again, should two come at once."""
        slug: str = self.cleaned_data["slug"]
        if rows(WebhookEndpoint).filter(slug=slug).exists():
            raise ValidationError(_("There is an endpoint with this slug already."))
        return slug


class EndpointChangeForm(forms.Form):
    """What may be changed about a registered endpoint."""

    name = forms.CharField(
        label=_("Name"),
        max_length=200,
        required=False,
        widget=AdminTextInputWidget,
        help_text=_("For people, here and at Google. The slug, if you leave it empty."),
    )
    uri = forms.URLField(
        label=_("URI"),
        max_length=500,
        assume_scheme="https",
        widget=forms.URLInput(attrs={"class": "vURLField"}),
        help_text=_("Where Google delivers."),
    )
    subscribed_events = EventsField(label=_("Events"))
    audiences = _audiences_field()

    def __init__(self, data: Mapping[str, Any] | None, *, endpoint: WebhookEndpoint) -> None:
        subscribed = strings_in(endpoint.subscribed_events)
        initial = {
            "name": endpoint.name,
            "uri": endpoint.uri,
            "subscribed_events": subscribed,
            "audiences": strings_in(endpoint.audiences),
        }
        super().__init__(data, initial=initial)
        cast("EventsField", self.fields["subscribed_events"]).offer(subscribed)


class RotationForm(forms.Form):
    """When the old secrets are to stop."""

    GRACE, AT_ONCE = "grace", "at-once"

    when = forms.ChoiceField(
        label=_("The old secret"),
        widget=AdminRadioSelect,
        initial=GRACE,
        choices=[
            (GRACE, _("stays valid for 24 hours")),
            (AT_ONCE, _("stops at once, because it may have leaked")),
        ],
    )


class SinceForm(forms.Form):
    """From when on to look."""

    since = forms.DateTimeField(
        label=_("Since"),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format=LOCAL_TIME),
    )

    def clean_since(self) -> datetime:
        """As an aware time, whatever ``USE_TZ`` says."""
        try:
            return clock.aware(self.cleaned_data["since"])
        except (OverflowError, ValueError):
            raise ValidationError(_("There was no such time.")) from None
