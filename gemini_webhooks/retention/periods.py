"""From which moment backwards things are old, by ``RETENTION_DAYS``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gemini_webhooks import clock
from gemini_webhooks.conf import SETTING, settings
from gemini_webhooks.exceptions import ConfigurationError

DAY = 24 * 3600.0
#: Google repeats an event for 24 hours: until then it has to be known.
LEAST_DAYS = {"payloads": 1, "results": 1, "deliveries": 2, "rejections": 1}
#: Clocks differ, and so may settings from one process to the next.
MARGIN_SECONDS = DAY
#: What is planned into a lane is stored within moments, not days.
LANE_DAYS = 7


@dataclass(frozen=True, kw_only=True)
class Periods:
    """What is older than these moments may go; ``None`` keeps it for ever."""

    payloads: datetime | None
    results: datetime | None
    deliveries: datetime | None
    rejections: datetime | None
    tokens: datetime
    lanes: datetime


def current() -> Periods:
    """The moments of now.

    Raises:
        ConfigurationError: ``RETENTION_DAYS`` is not what the system checks ask for. On a slip of
            the pen nothing is deleted.
    """
    try:
        before = {name: _before(days, LEAST_DAYS[name]) for name, days in _configured().items()}
        # A token is accepted up to this age, or up to an end of its own.
        oldest = settings.MAX_TOKEN_AGE_SECONDS + 2 * settings.TOLERANCE_SECONDS
        return Periods(
            **before,
            tokens=clock.after(-oldest - MARGIN_SECONDS),
            lanes=clock.after(-LANE_DAYS * DAY),
        )
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        raise ConfigurationError(
            f'{SETTING}["RETENTION_DAYS"] cannot be used; `manage.py check` says why.'
        ) from None


def _configured() -> dict[str, object]:
    return dict(settings.RETENTION_DAYS)


def _before(days: object, least: int) -> datetime | None:
    if days is None:
        return None
    if not isinstance(days, int) or isinstance(days, bool) or days < least:
        raise ValueError(days)
    return clock.after(-days * DAY)
