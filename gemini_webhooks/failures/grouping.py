"""Looking at the groups, and muting them."""

from __future__ import annotations

from datetime import datetime

from gemini_webhooks import clock, logs
from gemini_webhooks.deliveries import dead_letters
from gemini_webhooks.deliveries.dead_letters import Group
from gemini_webhooks.exceptions import GeminiWebhooksError
from gemini_webhooks.models import FailureGroup, ReceiverRun

logger = logs.get_logger(__name__)

DEFAULT_LIMIT = 200


class NoSuchGroup(GeminiWebhooksError):
    """Nothing of this receiver has failed for good with this class of error, nor is it muted."""


class MuteEnded(GeminiWebhooksError):
    """The end of a mute is not in the future."""


def groups(*, include_muted: bool = True, limit: int = DEFAULT_LIMIT) -> list[Group]:
    """What has failed for good, by receiver and class of error; what failed last comes first.

    Muted groups come at the end, also those that have no failure now. What an erasure ended has
    not failed.

    Args:
        include_muted: ``False`` leaves those out.
        limit: how many groups at most.
    """
    return dead_letters.groups(include_muted=include_muted, limit=limit)


def group(receiver: str, error_class: str) -> Group:
    """One group.

    Raises:
        NoSuchGroup: it has no failure, and is not muted.
    """
    found = dead_letters.group(receiver, error_class)
    if found is None:
        words = f"{receiver} with {error_class}" if error_class else receiver
        raise NoSuchGroup(f"Nothing has failed for good in {words}.")
    return found


def latest(of: Group, limit: int) -> list[ReceiverRun]:
    """The runs of a group that failed last, with their deliveries but not what these hold."""
    runs = dead_letters.runs_of(*of.key).select_related("delivery")
    return list(runs.defer("last_error", "delivery__body", "delivery__user_metadata")[:limit])


def mute(
    receiver: str,
    error_class: str,
    *,
    until: datetime | None = None,
    actor: str,
    reason: str = "",
) -> FailureGroup:
    """Tell of no further failures of a group by e-mail. They are counted and shown all the same.

    What fails meanwhile is told of once the mute is over.

    Args:
        receiver: stable name.
        error_class: as the group has it.
        until: aware time at which the mute is over by itself; ``None`` leaves that to
            :func:`unmute`.
        actor: who wants it.
        reason: why.

    Returns:
        The group's row.

    Raises:
        NoSuchGroup: it has no failure, and is not muted.
        MuteEnded: ``until`` is not in the future.
    """
    end = clock.for_database(until) if until else None
    if end is not None and end <= clock.now():
        raise MuteEnded("A mute has to end in the future, or never.")
    known = group(receiver, error_class)
    row = dead_letters.mute(*known.key, until=end, actor=actor, reason=reason)
    logger.info("%s muted %s until %s", row.muted_by, row, row.muted_until or "further notice")
    return row


def unmute(receiver: str, error_class: str, *, actor: str) -> FailureGroup | None:
    """Tell of a group's failures again, and of those that came while it was muted.

    Returns:
        The group's row; ``None`` if it was not muted.
    """
    row = dead_letters.unmute(receiver, error_class)
    if row is not None:
        logger.info("%s unmuted %s", actor, row)
    return row
