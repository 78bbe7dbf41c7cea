"""Failures for good: their groups, what is decided about them, and who is told of them."""

from gemini_webhooks.deliveries.dead_letters import Group, Mute, News
from gemini_webhooks.failures.digesting import Digest, digest
from gemini_webhooks.failures.grouping import (
    MuteEnded,
    NoSuchGroup,
    group,
    groups,
    latest,
    mute,
    unmute,
)

__all__ = [
    "Digest",
    "Group",
    "Mute",
    "MuteEnded",
    "News",
    "NoSuchGroup",
    "digest",
    "group",
    "groups",
    "latest",
    "mute",
    "unmute",
]
