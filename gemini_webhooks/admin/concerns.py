"""What is broken now: one sentence each, and where to look."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from django.utils import formats, timezone
from django.utils.translation import gettext, ngettext

from gemini_webhooks import dispatch, trends

#: What could be done has not been for so long: somebody should look why.
OVERDUE_SECONDS = 300
#: Receivers with a sentence of their own.
MOST_RECEIVERS = 5

Url = Callable[..., str]
Tone = Literal["bad", "warning"]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """How things stand, as far as a user may see it.

    Attributes:
        allowed: names of the models of which the user may see rows.
        results: ``None`` if those of result files are not among them.
    """

    allowed: frozenset[str]
    backlog: trends.Backlog
    oldest: trends.Waiting | None
    failing: tuple[trends.FailingReceiver, ...]
    endpoints: tuple[trends.EndpointHealth, ...]
    results: trends.Results | None
    paused: tuple[trends.Paused, ...]

    def may(self, model: str) -> bool:
        """Whether the user may see rows of a model."""
        return model in self.allowed


@dataclass(frozen=True, kw_only=True)
class Concern:
    """Something that somebody should look at.

    Attributes:
        tone: ``bad``: it is broken; ``warning``: it may be meant.
        text: what it is.
        link, url: where to look; both empty if there is no such page.
    """

    tone: Tone
    text: str
    link: str = ""
    url: str = ""


def concerns(found: trends.Trends, seen: Seen, url: Url) -> list[Concern]:
    """All that is broken, the worst first."""
    every = [*_switched_off(seen, url), *_overdue(seen, url), *_failing(found, seen, url)]
    every += [*_results(seen, url), *_behind(found), *_paused(seen, url)]
    every += [*_refused(found, seen, url)]
    return sorted(every, key=lambda concern: concern.tone == "warning")


def duration(seconds: float) -> str:
    """A length of time in one unit that suits it."""
    if seconds < 1:
        return gettext("%(number)s ms") % {"number": max(1, round(seconds * 1000))}
    if seconds < 100:
        return gettext("%(number)s s") % {"number": _short(seconds)}
    if seconds < 100 * 60:
        return gettext("%(number)s min") % {"number": _short(seconds / 60)}
    if seconds < 48 * 3600:
        return gettext("%(number)s h") % {"number": _short(seconds / 3600)}
    return gettext("%(number)s days") % {"number": _short(seconds / 86_400)}


def _short(number: float) -> str:
    """Two digits at least."""
    digits = 1 if number < 10 else 0
    return formats.number_format(round(number, digits), digits)


def _switched_off(seen: Seen, url: Url) -> Iterator[Concern]:
    for endpoint in seen.endpoints:
        if endpoint.is_switched_off:
            text = gettext("Google switched off the endpoint “%(slug)s” after failed deliveries.")
            yield Concern(
                tone="bad",
                text=text % {"slug": endpoint.slug},
                link=gettext("Show the endpoint"),
                url=url("webhookendpoint_change", endpoint.endpoint_id),
            )


def _overdue(seen: Seen, url: Url) -> Iterator[Concern]:
    if seen.backlog.oldest_seconds > OVERDUE_SECONDS:
        text = gettext(
            "Something that could be done has been waiting for %(time)s: there is no worker, or too"
            " few."
        ) % {"time": duration(seen.backlog.oldest_seconds)}
        if seen.oldest is None:
            yield Concern(tone="bad", text=text)
        else:
            yield Concern(
                tone="bad",
                text=text,
                link=gettext("Show the oldest delivery that is not done"),
                url=url("webhookdelivery_change", seen.oldest.delivery_id),
            )
    if not dispatch.broker_is_up():
        text = gettext(
            "This process could not reach the broker a moment ago. Deliveries are stored, and the"
            " sweep hands them on."
        )
        yield Concern(tone="bad", text=text)


def _failing(found: trends.Trends, seen: Seen, url: Url) -> Iterator[Concern]:
    to_dead_letters = gettext("Show dead letters"), url("failuregroup_changelist")
    for receiver in seen.failing[:MOST_RECEIVERS]:
        text = ngettext(
            "The receiver %(receiver)s gave up on %(count)d delivery.",
            "The receiver %(receiver)s gave up on %(count)d deliveries.",
            receiver.dead,
        ) % {"receiver": receiver.receiver, "count": receiver.dead}
        yield Concern(tone="bad", text=text, link=to_dead_letters[0], url=to_dead_letters[1])
    if len(seen.failing) > MOST_RECEIVERS:
        text = gettext("More receivers gave up on deliveries of their own.")
        yield Concern(tone="bad", text=text, link=to_dead_letters[0], url=to_dead_letters[1])
    failed = found.states.get("failed", 0)
    if failed and not seen.failing:
        text = ngettext(
            "%(count)d delivery of this period has failed.",
            "%(count)d deliveries of this period have failed.",
            failed,
        )
        yield Concern(
            tone="bad",
            text=text % {"count": failed},
            link=gettext("Show failed deliveries"),
            url=_failed(url("webhookdelivery_changelist")),
        )


def _results(seen: Seen, url: Url) -> Iterator[Concern]:
    if seen.results is not None and seen.results.failed:
        text = ngettext(
            "%(count)d result file could not be fetched.",
            "%(count)d result files could not be fetched.",
            seen.results.failed,
        )
        yield Concern(
            tone="bad",
            text=text % {"count": seen.results.failed},
            link=gettext("Show them"),
            url=_failed(url("resultfile_changelist")),
        )


def _behind(found: trends.Trends) -> Iterator[Concern]:
    if found.stale_since is not None:
        since = found.stale_since
        local = since if timezone.is_naive(since) else timezone.localtime(since)
        text = gettext(
            "The figures below are incomplete since %(time)s, as they have not been rolled up: beat"
            " or the workers do not run. `manage.py gemini_webhooks roll-up` does it at once."
        )
        moment = formats.date_format(local, "SHORT_DATETIME_FORMAT")
        yield Concern(tone="warning", text=text % {"time": moment})


def _paused(seen: Seen, url: Url) -> Iterator[Concern]:
    for pause in seen.paused:
        text = gettext("%(what)s is paused by %(who)s.")
        if pause.is_resumed:
            text = gettext("What was held while %(what)s was paused is being let go.")
        yield Concern(
            tone="warning",
            text=text % {"what": pause.what, "who": pause.paused_by},
            link=gettext("Show the pause"),
            url=url("pause_change", pause.pause_id),
        )


def _refused(found: trends.Trends, seen: Seen, url: Url) -> Iterator[Concern]:
    refused = sum(found.rejections.values()) + found.unrecorded
    if refused and seen.may("rejectedrequest"):
        most = max(found.rejections, key=lambda reason: found.rejections[reason], default="-")
        text = ngettext(
            "%(count)d request was refused: %(reason)s.",
            "%(count)d requests were refused, most often for %(reason)s.",
            refused,
        )
        yield Concern(
            tone="warning",
            text=text % {"count": refused, "reason": most},
            link=gettext("Show rejected requests"),
            url=url("rejectedrequest_changelist"),
        )


def _failed(path: str) -> str:
    return f"{path}?state__exact=failed" if path else ""
