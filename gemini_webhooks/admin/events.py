"""What each event of Google's catalogue means, in one sentence for people."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

#: Keyed by the names of ``events.CATALOGUE``; a test keeps the two together.
SENTENCES: Mapping[str, Promise] = MappingProxyType(
    {
        "batch.succeeded": _("A batch finished, and its answers can be fetched."),
        "batch.failed": _("A batch ended with a system or validation error."),
        "batch.cancelled": _("A batch was cancelled by somebody on your side."),
        "batch.expired": _("A batch was not processed in time, and nothing more will come of it."),
        "interaction.requires_action": _("An interaction waits for you to answer a function call."),
        "interaction.completed": _("An interaction finished, and its answer can be read."),
        "interaction.failed": _("An interaction ended with a system or validation error."),
        "interaction.cancelled": _("An interaction was cancelled by somebody on your side."),
        "video.generated": _("A video is ready to be fetched."),
    }
)

_UNKNOWN = _("A type that this version does not know; it is stored and handed on all the same.")


def described(name: str) -> SafeString:
    """The type and its sentence, as one line."""
    return format_html(
        '<code>{}</code> <span class="gw-sentence">{}</span>', name, SENTENCES.get(name, _UNKNOWN)
    )
