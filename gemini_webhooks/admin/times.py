"""Times and durations to be read by people."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.utils import formats, timezone
from django.utils.translation import gettext

MINUTE, HOUR, DAY = 60, 3600, 86_400


def moment(when: datetime) -> str:
    """The date and the time to the second, in the time zone of the site."""
    local = timezone.localtime(when) if settings.USE_TZ else when
    return f"{formats.date_format(local, 'DATE_FORMAT')}, {local:%H:%M:%S}"


def span(duration: timedelta) -> str:
    """How long something took."""
    seconds = max(duration.total_seconds(), 0)
    if seconds < MINUTE:
        return gettext("%(seconds).2f s") % {"seconds": seconds}
    if seconds < HOUR:
        return gettext("%(minutes)d min %(seconds)d s") % {
            "minutes": seconds // MINUTE,
            "seconds": seconds % MINUTE,
        }
    if seconds < DAY:
        return gettext("%(hours)d h %(minutes)d min") % {
            "hours": seconds // HOUR,
            "minutes": seconds % HOUR // MINUTE,
        }
    return gettext("%(days)d d %(hours)d h") % {
        "days": seconds // DAY,
        "hours": seconds % DAY // HOUR,
    }
