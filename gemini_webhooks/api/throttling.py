"""How often one user may ask. The site's own throttles hold besides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle, UserRateThrottle


class Throttle(UserRateThrottle):
    """A rate for each user, from ``DEFAULT_THROTTLE_RATES`` or else our own.

    Attributes:
        usual: the rate that holds if the site names none for the scope.
    """

    scope: str
    usual: ClassVar[str]

    def get_rate(self) -> str | None:
        """The rate; ``None`` if the site wants none."""
        rates: Mapping[str, Any] = api_settings.DEFAULT_THROTTLE_RATES
        rate: str | None = rates.get(self.scope, self.usual)
        return rate


def throttled(own: type[Throttle]) -> list[BaseThrottle]:
    """``own``, and those of the site."""
    of_site: Any = api_settings.DEFAULT_THROTTLE_CLASSES
    return [own(), *(throttle() for throttle in of_site)]


class ReadThrottle(Throttle):
    """Lists, details, figures."""

    scope = "gemini_webhooks_read"
    usual = "600/min"


class ReplayThrottle(Throttle):
    """Everything that makes receivers run, or stops that."""

    scope = "gemini_webhooks_replay"
    usual = "60/min"


class DownloadThrottle(Throttle):
    """Result files, each range of one."""

    scope = "gemini_webhooks_download"
    usual = "120/min"
