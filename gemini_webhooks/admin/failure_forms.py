"""Forms about dead letters."""

from __future__ import annotations

from datetime import UTC, datetime

from django import forms
from django.contrib.admin.widgets import AdminIntegerFieldWidget
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from gemini_webhooks import clock
from gemini_webhooks.admin.forms import LOCAL_TIME, reason_field
from gemini_webhooks.replay import MAX_RATE


class MuteForm(forms.Form):
    """For how long, and why."""

    until = forms.DateTimeField(
        label=_("Until"),
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format=LOCAL_TIME),
        help_text=_("Empty: until somebody unmutes it."),
    )
    reason = reason_field()

    def clean_until(self) -> datetime | None:
        """As an aware time, whatever ``USE_TZ`` says."""
        until = self.cleaned_data["until"]
        if until is None:
            return None
        try:
            until = clock.aware(until)
        except (OverflowError, ValueError):
            raise ValidationError(_("There is no such time.")) from None
        if until <= datetime.now(UTC):
            raise ValidationError(_("Choose a time in the future."))
        return until


class RetryForm(forms.Form):
    """How fast, and why."""

    rate = forms.IntegerField(
        label=_("Deliveries per minute"),
        required=False,
        min_value=1,
        max_value=MAX_RATE,
        widget=AdminIntegerFieldWidget,
        help_text=_("Empty: as fast as the workers can."),
    )
    reason = reason_field()
