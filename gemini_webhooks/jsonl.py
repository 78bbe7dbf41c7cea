"""Lines of JSON, read in large blocks and parsed as the standard library parses them.

With msgspec installed, extra ``[fast]``, most lines are parsed by it. It takes nothing otherwise
than the standard library does: integers of any size stay whole, the last of two equal keys counts.
What it refuses (``NaN``, lone surrogates, other encodings) is for the standard library to decide.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Protocol

BLOCK_BYTES = 256 * 1024
#: Of msgspec: what the extra asks for. An older one may be there for something else.
OLDEST = (0, 20)


class Readable(Protocol):
    """An open file."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""


def lines(file: Readable) -> Iterator[bytes]:
    r"""Yield each line from here on, without its end: ``\n``, ``\r\n`` or ``\r``.

    Holds a block and the line that goes beyond it.
    """
    begun: list[bytes] = []
    while block := file.read(BLOCK_BYTES):
        whole = block.split(b"\n")
        begun.append(whole[0])
        if len(whole) == 1:
            continue
        whole[0] = b"".join(begun)
        begun = [whole.pop()]
        yield from whole if b"\r" not in block and b"\r" not in whole[0] else _at_returns(whole)
    if last := b"".join(begun):
        yield from last.splitlines()


def loads(line: bytes) -> Any:
    """Parse one line.

    Raises:
        ValueError, RecursionError: as :func:`json.loads`.
    """
    try:
        return _decoder()(line)
    except (ValueError, RecursionError):
        return json.loads(line)


def _at_returns(whole: list[bytes]) -> Iterator[bytes]:
    for line in whole:
        # Without what follows it, "\r\n" would be an end and nothing would be a line.
        yield from (line + b"\n").splitlines()


def fast() -> Any:
    """The module ``msgspec``, if one is installed that will do."""
    try:
        import msgspec  # noqa: PLC0415  # an extra
    except ImportError:
        return None
    version = re.match(r"(\d+)\.(\d+)", msgspec.__version__)
    return msgspec if version and tuple(map(int, version.groups())) >= OLDEST else None


@cache
def _decoder() -> Callable[[bytes], Any]:
    msgspec = fast()
    if msgspec is None:
        decode = json.JSONDecoder().decode
        # Nearly all lines are UTF-8, so which encoding it is need not be found out for each.
        return lambda line: decode(line.decode())
    decoder: Callable[[bytes], Any] = msgspec.json.Decoder().decode
    return decoder
