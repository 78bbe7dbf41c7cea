"""Which part of a file a request asks for (RFC 9110, section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

RANGE = re.compile(
    r"bytes\s*=\s*(?:(?P<first>\d{1,19})-(?P<last>\d{0,19})|-(?P<tail>\d{1,19}))", re.ASCII
)


class NotInFile(Exception):
    """416: no byte of the file is in the range."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Bytes of a file, from ``start`` on."""

    start: int
    length: int
    is_whole: bool


def part(header: str, *, size: int) -> Part:
    """What ``header`` asks for; the whole file for several ranges, and for what is no range.

    Raises:
        NotInFile: the range begins beyond the end, or has no bytes.
    """
    whole = Part(start=0, length=size, is_whole=True)
    found = RANGE.fullmatch(header.strip())
    if found is None:
        return whole
    if found["tail"]:
        length = min(int(found["tail"]), size)
        if not length:
            raise NotInFile
        return Part(start=size - length, length=length, is_whole=False)
    first = int(found["first"])
    last = int(found["last"] or first)
    if last < first:
        return whole
    if first >= size:
        raise NotInFile
    stop = min(last + 1, size) if found["last"] else size
    return Part(start=first, length=stop - first, is_whole=False)
