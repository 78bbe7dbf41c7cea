"""Takes away what has been kept long enough, and what somebody wants to be erased."""

from gemini_webhooks.retention.erasing import (
    Erased,
    Target,
    about_resource,
    erase,
    preview,
    with_metadata,
)
from gemini_webhooks.retention.pruning import Pruned, count, prune

__all__ = [
    "Erased",
    "Pruned",
    "Target",
    "about_resource",
    "count",
    "erase",
    "preview",
    "prune",
    "with_metadata",
]
