"""Bodies, metadata and tracebacks as text that is safe to look at, whatever they contain."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.template.loader import render_to_string
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from gemini_webhooks import redaction
from gemini_webhooks.admin.times import moment
from gemini_webhooks.models import WebhookDelivery

INDENT_BYTES = 65_536
INDENT_DEPTH = 20
HEX_BYTES = 4096
HEX_COLUMNS = 16

JSON_PART = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]|[^\s\[\]{},:"]+', re.DOTALL)
NOT_PLAIN = re.compile(r"[^\n\t\x20-\x7e]")


_REDACTED = _("REDACT took something out of it.")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A text and what must be said about how it is shown."""

    text: str = ""
    note: str | Promise = ""


WHY_NO_BODY: Mapping[str, Promise] = {
    WebhookDelivery.EmptiedBy.ERASURE: _("Erased on request, %(when)s."),
    WebhookDelivery.EmptiedBy.REDACTION: _("Not stored: REDACT could not look into it."),
    WebhookDelivery.EmptiedBy.RETENTION: _("Removed by retention, %(when)s."),
}


def body_block(delivery: WebhookDelivery) -> SafeString:
    """Render the body of a delivery, as far as ``REDACT`` lets it be seen."""
    if delivery.body is None:
        why = WHY_NO_BODY.get(delivery.emptied_by, _("Removed by retention."))
        when = moment(delivery.emptied_at) if delivery.emptied_at else "-"
        return _block(Shown(note=str(why) % {"when": when}), _("Body"))
    try:
        body = redaction.shown_body(bytes(delivery.body))
    except redaction.CannotRedact as error:
        return _block(_kept_back(error), _("Body"))
    shown = show_body(body)
    if delivery.redacted or body != bytes(delivery.body):
        shown = replace(shown, note=" ".join(filter(None, (str(_REDACTED), str(shown.note)))))
    return _block(shown, _("Body"))


def metadata_block(metadata: Any, *, empty: str | Promise) -> SafeString:
    """Render stored metadata, as far as ``REDACT`` lets it be seen; or the sentence ``empty``."""
    try:
        shown = redaction.shown_metadata(metadata)
    except redaction.CannotRedact as error:
        return _block(_kept_back(error), _("User metadata"))
    return json_block(shown, label=_("User metadata"), empty=empty)


def json_block(value: Any, *, label: str | Promise, empty: str | Promise) -> SafeString:
    """Render a stored JSON value, or the sentence ``empty`` if it holds nothing."""
    if not value:
        return format_html('<span class="gw-note">{}</span>', empty)
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return _block(Shown(note=_("It is nested too deeply to be shown.")), label)
    return _block(Shown(text=printable(indented(text) or text)), label)


def text_block(text: str, *, label: str | Promise) -> SafeString:
    """Render several lines of text as they are."""
    return _block(Shown(text=printable(text)), label)


def folded_block(text: str, *, summary: str | Promise, label: str | Promise) -> SafeString:
    """Render ``text`` folded away under ``summary``."""
    return format_html(
        "<details><summary>{}</summary>{}</details>", summary, text_block(text, label=label)
    )


def show_body(body: bytes) -> Shown:
    """Choose the plainest faithful form: indented JSON, text as sent, or hexadecimal."""
    if not body:
        return Shown(note=_("The body was empty."))
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return _as_hex(body)
    return _as_text(text, size=len(body))


def printable(text: str) -> str:
    r"""Write control characters, surrogates and invisible marks as ``\uXXXX``.

    Some of them cannot be sent to a browser, and some would show a text that is not there.
    """
    return NOT_PLAIN.sub(lambda match: _escaped(match[0]), text)


def indented(text: str) -> str | None:
    """Indent JSON without reading its values, so that all stands as it was sent.

    Duplicate keys, the digits of a number and ``NaN`` would not survive parsing.

    Args:
        text: valid JSON.

    Returns:
        ``None`` if it is nested so deeply that the indentation would outgrow the text.
    """
    written: list[str] = []
    depth = 0
    previous = ""
    for part in JSON_PART.findall(text):
        closes, after_opening = part in ("]", "}"), previous in ("[", "{")
        depth -= closes
        if previous == "," or closes != after_opening:
            written.append("\n" + "  " * depth)
        written.append(": " if part == ":" else part)
        depth += part in ("[", "{")
        if depth > INDENT_DEPTH:
            return None
        previous = part
    return "".join(written)


def _as_text(text: str, *, size: int) -> Shown:
    if size > INDENT_BYTES:
        return Shown(text=printable(text), note=_("Shown as it was sent: it is large."))
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return Shown(text=printable(text), note=_("Not JSON. Shown as it was sent."))
    lines = indented(text)
    if lines is None:
        return Shown(text=printable(text), note=_("Shown as it was sent: it is deeply nested."))
    return Shown(text=printable(lines))


def _as_hex(body: bytes) -> Shown:
    lines = [
        _hex_line(offset, body[offset : offset + HEX_COLUMNS])
        for offset in range(0, min(len(body), HEX_BYTES), HEX_COLUMNS)
    ]
    note = _("Not text in UTF-8. Its first bytes, in hexadecimal:")
    if len(body) <= HEX_BYTES:
        note = _("Not text in UTF-8. Its bytes, in hexadecimal:")
    return Shown(text="\n".join(lines), note=note)


def _hex_line(offset: int, chunk: bytes) -> str:
    characters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in chunk)
    return f"{offset:06x}  {chunk.hex(' '):<{HEX_COLUMNS * 3}} {characters}"


def _escaped(character: str) -> str:
    category = unicodedata.category(character)
    if category[0] != "C" and category not in ("Zl", "Zp"):
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _kept_back(error: redaction.CannotRedact) -> Shown:
    if isinstance(error, redaction.NotJson):
        return Shown(note=_("Not shown: REDACT cannot look into it."))
    return Shown(note=_("Not shown: REDACT failed; the log says why."))


def _block(shown: Shown, label: str | Promise) -> SafeString:
    return render_to_string("admin/gemini_webhooks/block.html", {"shown": shown, "label": label})
