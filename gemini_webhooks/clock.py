"""Time as the database wants it: aware with ``USE_TZ``, naive local time without."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.utils import timezone


def now() -> datetime:
    """The current time, fit for a model field."""
    return timezone.now()


def after(seconds: float) -> datetime:
    """The time ``seconds`` from now, fit for a model field."""
    return now() + timedelta(seconds=seconds)


def for_database(moment: datetime) -> datetime:
    """An aware ``moment``, fit for a model field."""
    return moment if settings.USE_TZ else timezone.make_naive(moment)


def aware(moment: datetime) -> datetime:
    """A model field's value as an aware UTC time, whatever ``USE_TZ`` says."""
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment)
    return moment.astimezone(UTC)
