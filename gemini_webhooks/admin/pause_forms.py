"""Forms that pause and resume."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from django import forms
from django.contrib.admin.widgets import AdminIntegerFieldWidget
from django.utils.translation import gettext_lazy as _

from gemini_webhooks import pausing
from gemini_webhooks.admin.forms import reason_field
from gemini_webhooks.deliveries import rows
from gemini_webhooks.models import Pause, WebhookEndpoint

ROOT = "root"
RECEIVER, ENDPOINT = "receiver:", "endpoint:"


class PauseForm(forms.Form):
    """What is to be paused, of all that is not; and why."""

    what = forms.ChoiceField(
        label=_("What"),
        help_text=_("A receiver, or an endpoint with all that comes in there."),
    )
    reason = reason_field(_("For those who find it paused."))

    def __init__(self, data: Mapping[str, Any] | None, *, what: str = "") -> None:
        super().__init__(data, initial={"what": what})
        active = [paused.pause for paused in pausing.paused() if paused.pause.resumed_at is None]
        taken = {chosen(pause) for pause in active}
        receivers = [(f"{RECEIVER}{name}", name) for name in pausing.known_receivers()]
        slugs = rows(WebhookEndpoint).order_by("slug").values_list("slug", flat=True)
        endpoints = [(ROOT, _("Root endpoint")), *((f"{ENDPOINT}{slug}", slug) for slug in slugs)]
        cast("forms.ChoiceField", self.fields["what"]).choices = [
            ("", "---------"),
            (_("Receivers"), [choice for choice in receivers if choice[0] not in taken]),
            (_("Endpoints"), [choice for choice in endpoints if choice[0] not in taken]),
        ]

    def target(self) -> dict[str, Any]:
        """What was chosen, as :func:`gemini_webhooks.pausing.pause` takes it."""
        what: str = self.cleaned_data["what"]
        if what == ROOT:
            return {"root": True}
        kind, _separator, name = what.partition(":")
        return {kind: name}


class ResumeForm(forms.Form):
    """How fast what is held is let go."""

    rate = forms.IntegerField(
        label=_("Runs per minute"),
        required=False,
        min_value=1,
        max_value=pausing.MAX_RATE,
        widget=AdminIntegerFieldWidget,
        help_text=_("Empty: as fast as the workers can."),
    )


def chosen(pause: Pause) -> str:
    """The choice of :class:`PauseForm` that is ``pause``."""
    if pause.kind == Pause.Kind.ROOT:
        return ROOT
    return f"{pause.kind}:{pausing.name_of(pause)}"
