"""What a replay is about, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gemini_webhooks import clock
from gemini_webhooks.admin.times import moment
from gemini_webhooks.deliveries import Selection
from gemini_webhooks.exceptions import InvalidSelection
from gemini_webhooks.models import Replay, WebhookDelivery

#: So many ids are named.
MOST_IDS = 5

WHAT: Mapping[str, Promise] = {
    Replay.What.EVERYTHING: _("all receivers, also those that were connected since"),
    Replay.What.FAILED: _("only receivers that gave up"),
    Replay.What.RESULTS: _("only the fetch of the result file"),
    Replay.What.RECEIVERS: _("only the receivers named below"),
}

Condition = tuple[str | Promise, str]


def conditions(stored: object, *, may_see_payload: bool) -> list[Condition] | None:
    """Each condition of a stored selection with its name; ``None`` if it cannot be read.

    Args:
        stored: as ``Selection.to_json()`` made it. What is empty is every delivery.
        may_see_payload: show values of the metadata.
    """
    try:
        selection = Selection.from_json(stored)
    except InvalidSelection:
        return None
    found: list[Condition] = []
    for name, (label, words) in CONDITIONS.items():
        value = getattr(selection, name)
        if value is not None and (value or name == "endpoint"):
            found.append((label, words(value)))
    for path, value in selection.metadata.items():
        shown = value if may_see_payload else "…"
        found.append((gettext("metadata %(path)s") % {"path": path}, shown))
    return found


def what_of(replay: Replay) -> str:
    """What runs again."""
    if replay.what == Replay.What.RECEIVERS and isinstance(replay.receivers, list):
        return ", ".join(map(str, replay.receivers))
    return replay.get_what_display()


def progress_of(replay: Replay) -> str:
    """How far it is."""
    numbers = {"done": replay.replayed, "total": replay.total, "skipped": replay.skipped}
    if replay.skipped:
        return gettext("%(done)d of %(total)d, %(skipped)d skipped") % numbers
    return gettext("%(done)d of %(total)d") % numbers


def local(when: datetime) -> datetime:
    """An aware time, as the fields of models have it."""
    return clock.for_database(when)


def _ids(ids: Sequence[int]) -> str:
    named = ", ".join(f"{one}" for one in ids[:MOST_IDS])
    if len(ids) <= MOST_IDS:
        return named
    return gettext("%(ids)s and %(number)d more") % {"ids": named, "number": len(ids) - MOST_IDS}


def _states(states: Sequence[str]) -> str:
    return ", ".join(str(WebhookDelivery.State(one).label) for one in states)


def _types(types: Sequence[str]) -> str:
    return ", ".join(one or gettext("none given") for one in types)


def _endpoint(slug: str) -> str:
    return slug or gettext("root endpoint")


def _signing(signing: str) -> str:
    return str(WebhookDelivery.Signing(signing).label)


def _time(when: datetime) -> str:
    return moment(local(when))


CONDITIONS: Mapping[str, tuple[Promise, Callable[[Any], str]]] = {
    "ids": (_("deliveries"), _ids),
    "states": (_("state"), _states),
    "event_types": (_("event type"), _types),
    "endpoint": (_("endpoint"), _endpoint),
    "signing": (_("signing"), _signing),
    "since": (_("received since"), _time),
    "until": (_("received before"), _time),
    "receiver": (_("a receiver that gave up"), str),
    "error_class": (_("class of error"), str),
}
