"""Figures of a period as tables. The charts are drawn from these, so both say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.utils import formats, timezone
from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gemini_webhooks import trends
from gemini_webhooks.admin.badges import TONES
from gemini_webhooks.admin.base import EMPTY
from gemini_webhooks.admin.concerns import Seen, duration
from gemini_webhooks.models import WebhookDelivery
from gemini_webhooks.trends.waiting import CEILING

State = WebhookDelivery.State
#: As a chart stacks them: what is usual at the bottom.
ORDER = (
    State.PROCESSED,
    State.IGNORED,
    State.UNREADABLE,
    State.RECEIVED,
    State.PROCESSING,
    State.FAILED,
)
#: These are shown though there are none.
ALWAYS = (State.PROCESSED, State.RECEIVED, State.PROCESSING, State.FAILED)
#: Reasons with a column of their own; the others share one.
MOST_REASONS = 5
SERIES = ("active", "warning", "waiting", "good", "bad")
#: How the beginning of a point is written below a chart.
SHORT = {"1h": "H:i", "24h": "H:i", "7d": "D H:i", "30d": "j M"}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A number and how it is written; ``None`` is not known."""

    value: float | None
    text: str


@dataclass(frozen=True, kw_only=True)
class Column:
    """What the numbers of a column are, and the tone of its bars or its line."""

    label: str
    tone: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """The numbers of one point."""

    label: str
    when: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A table, and how it is drawn.

    Attributes:
        name: unique on the page.
        title: heading.
        summary: what the chart shows, in a sentence.
        kind: ``bars`` on top of each other, or ``lines``.
        unit: ``""`` for numbers, ``s`` for seconds.
        total: the last row of the table, of the whole period.
    """

    name: str
    title: str | Promise
    summary: str
    kind: str
    unit: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    total: tuple[Cell, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to be drawn."""
        return not any(cell.value for cell in self.total)


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A number that everybody wants to see first."""

    label: str | Promise
    text: str
    note: str = ""
    tone: str = field(default="")


def tiles(found: trends.Trends, seen: Seen) -> list[Tile]:
    """The most important numbers."""
    failed = found.states.get(State.FAILED, 0)
    shown = [
        Tile(label=_("Received"), text=number(found.total)),
        Tile(label=_("Failed"), text=number(failed), tone="bad" if failed else ""),
        Tile(label=_("Not done now"), text=_open(seen), note=_oldest(seen)),
        _latency_tile(found.latency),
    ]
    if seen.may("rejectedrequest"):
        refused = sum(found.rejections.values()) + found.unrecorded
        shown.append(Tile(label=_("Refused"), text=number(refused)))
    return shown


def states_chart(found: trends.Trends) -> Chart:
    """Deliveries over time, by the state that they are in now."""
    states = [str(state) for state in ORDER if found.states.get(state) or state in ALWAYS]
    states += sorted(set(found.states) - set(ORDER))
    names = {**{state: state for state in found.states}, **dict(State.choices)}
    labels = [capfirst(str(names[state])) for state in states]
    numbers = [found.states.get(state, 0) for state in states]
    return Chart(
        name="states",
        title=_("Deliveries by state"),
        summary=_counted(labels, numbers),
        kind="bars",
        unit="",
        columns=tuple(
            Column(label=label, tone=TONES.get(state, "quiet"))
            for state, label in zip(states, labels, strict=True)
        ),
        rows=_rows(found, [[point.states.get(one, 0) for one in states] for point in found.points]),
        total=tuple(map(_count, numbers)),
    )


def latency_chart(found: trends.Trends) -> Chart:
    """From verification until done, over time."""
    summary = gettext("No receiver was done with a delivery of this period.")
    if found.latency is not None:
        summary = gettext(
            "From verification until the last receiver was done: half of the deliveries took up to"
            " %(p50)s, 95 %% up to %(p95)s and 99 %% up to %(p99)s."
        ) % {name: duration(getattr(found.latency, name)) for name in ("p50", "p95", "p99")}
    return Chart(
        name="latency",
        title=_("Time until done"),
        summary=summary,
        kind="lines",
        unit="s",
        columns=(
            Column(label=gettext("half of them"), tone="good"),
            Column(label="95 %", tone="warning"),
            Column(label="99 %", tone="bad"),
        ),
        rows=tuple(
            Row(label=row.label, when=row.when, cells=_times(point.latency))
            for row, point in zip(_rows(found, [()] * len(found.points)), found.points, strict=True)
        ),
        total=_times(found.latency),
    )


def rejections_chart(found: trends.Trends) -> Chart:
    """Requests that were refused, over time, by reason."""
    by_number = sorted(found.rejections, key=lambda reason: (-found.rejections[reason], reason))
    reasons, others = by_number[:MOST_REASONS], by_number[MOST_REASONS:]
    labels, tones = list(reasons), list(SERIES[: len(reasons)])
    if others or found.unrecorded or not reasons:
        labels.append(gettext("other reasons"))
        tones.append("quiet")

    def numbers(part: trends.Trends | trends.Point) -> list[int]:
        shown = [part.rejections.get(reason, 0) for reason in reasons]
        rest = sum(part.rejections.values()) - sum(shown) + part.unrecorded
        return [*shown, rest][: len(labels)]

    return Chart(
        name="rejections",
        title=_("Rejected requests by reason"),
        summary=_counted(labels, numbers(found)),
        kind="bars",
        unit="",
        columns=tuple(
            Column(label=label, tone=tone) for label, tone in zip(labels, tones, strict=True)
        ),
        rows=_rows(found, [numbers(point) for point in found.points]),
        total=tuple(map(_count, numbers(found))),
    )


def _rows(found: trends.Trends, numbers: Sequence[Sequence[int]]) -> tuple[Row, ...]:
    shown = []
    for point, row in zip(found.points, numbers, strict=True):
        start = point.start
        local = start if timezone.is_naive(start) else timezone.localtime(start)
        shown.append(
            Row(
                label=formats.date_format(local, SHORT[found.period]),
                when=formats.date_format(local, "SHORT_DATETIME_FORMAT"),
                cells=tuple(map(_count, row)),
            )
        )
    return tuple(shown)


def _counted(labels: Sequence[str], numbers: Sequence[int]) -> str:
    """Such as “Processed: 12, failed: 3”."""
    return ", ".join(f"{label}: {number(one)}" for label, one in zip(labels, numbers, strict=True))


def _times(latency: trends.Latency | None) -> tuple[Cell, ...]:
    if latency is None:
        return (Cell(value=None, text=EMPTY),) * 3
    return tuple(
        Cell(value=round(seconds, 4), text=duration(seconds))
        for seconds in (latency.p50, latency.p95, latency.p99)
    )


def _latency_tile(latency: trends.Latency | None) -> Tile:
    label = _("Time until done")
    if latency is None:
        return Tile(label=label, text=EMPTY)
    note = gettext("for half of them; 95 %%: %(p95)s, 99 %%: %(p99)s") % {
        "p95": duration(latency.p95),
        "p99": duration(latency.p99),
    }
    return Tile(label=label, text=duration(latency.p50), note=note)


def _open(seen: Seen) -> str:
    waiting = sum(seen.backlog.deliveries.values())
    is_more = CEILING in seen.backlog.deliveries.values()
    return gettext("over %(number)s") % {"number": number(waiting)} if is_more else number(waiting)


def _oldest(seen: Seen) -> str:
    if seen.oldest is None:
        return ""
    local = seen.oldest.received_at
    local = local if timezone.is_naive(local) else timezone.localtime(local)
    moment = formats.date_format(local, "SHORT_DATETIME_FORMAT")
    return gettext("the oldest since %(time)s") % {"time": moment}


def _count(value: int) -> Cell:
    return Cell(value=value, text=number(value))


def number(value: int) -> str:
    """A number with its thousands apart."""
    return formats.number_format(value, use_l10n=True, force_grouping=True)
