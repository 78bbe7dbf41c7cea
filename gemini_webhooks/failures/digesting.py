"""One message about all that has failed since the last one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from gemini_webhooks import clock, logs
from gemini_webhooks.conf import settings
from gemini_webhooks.deliveries import dead_letters
from gemini_webhooks.deliveries.dead_letters import News
from gemini_webhooks.failures import mailing

logger = logs.get_logger(__name__)

#: What failed later is left for the next message: its transaction may not be there yet, clocks
#: differ, and what has one cause is told of together.
SETTLED_SECONDS = 60
#: Groups in one message; the others come in the next.
MOST_GROUPS = 200


@dataclass(frozen=True, kw_only=True)
class Digest:
    """What a message told of.

    Attributes:
        news: the groups that have new failures, what failed last first.
        until: the moment up to which they are told of.
    """

    news: tuple[News, ...]
    until: datetime

    @property
    def failures(self) -> int:
        """How many failures are new; a delivery that failed in two receivers is two."""
        return sum(one.count for one in self.news)

    @property
    def receivers(self) -> int:
        """In how many receivers."""
        return len({one.receiver for one in self.news})


def digest(now: datetime | None = None) -> Digest | None:
    """Send a message about what has failed since the last one, if it is time for it.

    It goes to those whom ``FAILURE_EMAILS`` names, at most once in ``FAILURE_EMAIL_MINUTES``, and
    tells of nothing that failed before it was first called with that setting. Of several
    processes that call it at the same time one sends. Failures count as told of once the mail
    backend has taken the message; if it does not, the next call tries again.

    Args:
        now: what to take for the current time, fit for a model field.

    Returns:
        What was sent; ``None`` if nothing was.

    Raises:
        django.db.Error: the database did not answer.
    """
    if not settings.FAILURE_EMAILS:
        dead_letters.stop_telling()
        return None
    now = now or clock.now()
    last = dead_letters.mail()
    if last is None:
        dead_letters.begin_telling(now)
    if last is None or not _is_time(last.last_at, now):
        return None
    until = now - timedelta(seconds=SETTLED_SECONDS)
    news = dead_letters.news(since=last.since, until=until, now=now, limit=MOST_GROUPS)
    if not news or not dead_letters.take_turn(last, now):
        return None
    found = Digest(news=tuple(news), until=until)
    if not _sent(found, lambda: dead_letters.give_turn_back(last, now)):
        return None
    dead_letters.told(found.news, until)
    return found


def _is_time(last_at: datetime | None, now: datetime) -> bool:
    return last_at is None or last_at + timedelta(minutes=settings.FAILURE_EMAIL_MINUTES) <= now


def _sent(found: Digest, give_turn_back: Callable[[], None]) -> bool:
    try:
        mailing.send(found.news, failures=found.failures, receivers=found.receivers)
    except mailing.NoRecipients:
        # The turn stays taken, so that this is said no more often than a message would be sent.
        logger.warning("%s failures not told of by e-mail: ADMINS is empty", found.failures)
        return False
    except Exception as error:  # noqa: BLE001  # mail backends raise what they like
        kind = type(error).__name__  # its text may quote a server's answer
        logger.error("e-mail about failures not sent: %s", kind)  # noqa: TRY400  # likewise
        give_turn_back()
        return False
    return True
