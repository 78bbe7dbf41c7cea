"""Gemini API webhooks for Django: verified, stored once, handled in Celery workers."""

from gemini_webhooks.exceptions import GiveUp, RetryLater
from gemini_webhooks.schedule import beat_schedule

__all__ = ["GiveUp", "RetryLater", "beat_schedule"]

__version__ = "0.1.0"
