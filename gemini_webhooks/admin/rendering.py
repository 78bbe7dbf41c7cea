"""Bodies, metadata and tracebacks as text that is safe to look at, whatever they contain."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from django.template.loader import render_to_string
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

INDENT_BYTES = 65_536
INDENT_DEPTH = 20
HEX_BYTES = 4096
HEX_COLUMNS = 16

JSON_PART = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]|[^\s\[\]{},:"]+', re.DOTALL)
NOT_PLAIN = re.compile(r"[^\n\t\x20-\x7e]")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A text and what must be said about how it is shown."""

    text: str = ""
    note: str | Promise = ""


def body_block(body: bytes | memoryview | None) -> SafeString:
    """Render the raw bytes of a delivery.

    Args:
        body: as stored; ``None`` once retention removed it.
    """
    return _block(show_body(None if body is None else bytes(body)), _("Body"))


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


def show_body(body: bytes | None) -> Shown:
    """Choose the plainest faithful form: indented JSON, text as sent, or hexadecimal."""
    if body is None:
        return Shown(note=_("Removed by retention."))
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


def _block(shown: Shown, label: str | Promise) -> SafeString:
    return render_to_string("admin/gemini_webhooks/block.html", {"shown": shown, "label": label})
