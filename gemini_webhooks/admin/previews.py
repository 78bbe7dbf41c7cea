"""The first rows of a result file, to be looked at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.template.loader import render_to_string
from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from gemini_webhooks import logs, redaction
from gemini_webhooks.admin.rendering import indented, printable
from gemini_webhooks.models import ResultFile

MOST_ROWS = 5
MOST_BYTES = 65_536
#: Most storages in a cloud fetch the whole file for its first byte.
LARGEST_AWAY = 4 * 1024**2
MEDIA = ("video/", "audio/", "image/")

logger = logs.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row as it is shown, or why it is not."""

    number: int
    text: str = ""
    note: str | Promise = ""
    key: str = ""
    failed: bool = False


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The first rows, or why there are none."""

    rows: tuple[Row, ...] = ()
    note: str | Promise = ""


def preview_block(result: ResultFile) -> SafeString:
    """Render the first rows of a result file, folded, as far as ``REDACT`` lets them be seen."""
    return render_to_string("admin/gemini_webhooks/preview.html", {"preview": preview(result)})


def preview(result: ResultFile) -> Preview:
    """Read the first rows; whatever the storage does, it is no error of the page."""
    if result.state == ResultFile.State.REMOVED:
        return Preview(note=_("The file was removed."))
    if result.state != ResultFile.State.COMPLETE or not result.file:
        return Preview(note=_("Its rows can be seen once it is complete."))
    if result.content_type.startswith(MEDIA):
        return Preview(note=_("It is no text."))
    try:
        head = _head(result)
    except Exception as error:  # noqa: BLE001  # a storage may raise anything; the page must open
        logger.warning("result %s cannot be looked into: %s", result.pk, type(error).__name__)
        return Preview(note=_("Its storage does not give it out now."))
    if head is None:
        return Preview(note=_("It is too large to be looked into where it is stored."))
    return _shown(head, is_whole=len(head) < MOST_BYTES)


def _head(result: ResultFile) -> bytes | None:
    """The first bytes; ``None`` if the storage would have to fetch too much for them."""
    if not _is_here(result) and (result.size is None or result.size > LARGEST_AWAY):
        return None
    with result.file.open("rb") as file:
        return bytes(file.read(MOST_BYTES))


def _is_here(result: ResultFile) -> bool:
    try:
        return bool(result.file.path)
    except NotImplementedError:  # as Django has it for storages elsewhere
        return False


def _shown(head: bytes, *, is_whole: bool) -> Preview:
    lines = list(_lines(head, is_whole=is_whole))
    if not lines:
        empty, long = _("It has no rows."), _("Its first row is too large to be shown here.")
        return Preview(note=long if head.strip() else empty)
    try:
        return Preview(rows=tuple(_row(number, line) for number, line in lines))
    except redaction.NotJson:
        return Preview(note=_("Not shown: REDACT cannot look into it."))
    except redaction.CannotRedact:
        return Preview(note=_("Not shown: REDACT failed; the log says why."))


def _lines(head: bytes, *, is_whole: bool) -> Iterator[tuple[int, bytes]]:
    """The first lines that are complete and not blank, with their numbers among these."""
    lines = head.split(b"\n")
    if not is_whole:
        lines.pop()
    kept = [line for line in lines if line.strip()]
    yield from enumerate(kept[:MOST_ROWS], start=1)


def _row(number: int, line: bytes) -> Row:
    try:
        parsed = json.loads(line)
    except (ValueError, RecursionError):
        return Row(number=number, note=_("It is not JSON."))
    shown = redaction.shown_row(parsed)
    try:
        text = json.dumps(shown, ensure_ascii=False)
    except RecursionError:
        return Row(number=number, note=_("It is nested too deeply to be shown."))
    fields: dict[str, Any] = shown if isinstance(shown, dict) else {}
    key = fields.get("key")
    return Row(
        number=number,
        text=printable(indented(text) or text),
        key=printable(key)[:100] if isinstance(key, str) else "",
        failed=fields.get("error") is not None and fields.get("response") is None,
    )
