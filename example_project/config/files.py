"""The broker that needs no server: messages are files in a folder.

Kombu's own transport creates a message's file before it writes it, so that a reader that comes in
between finds an empty message and the worker ends. Here a message appears whole, by a rename.
"""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

from kombu import transport
from kombu.transport import filesystem
from kombu.utils.json import dumps


class Channel(filesystem.Channel):
    """Writes a message aside before it moves it to where readers look."""

    def _put(  # type: ignore[override]  # the two bases name the message differently
        self, queue: str, payload: Any, **_: Any
    ) -> None:
        folder = Path(self.data_folder_out)
        file = folder / f"{round(time.monotonic() * 1000)}_{uuid.uuid4()}.{queue}.msg"
        aside = file.with_name(f"{file.name}.part")  # readers look for names ending in .msg
        aside.write_text(dumps(payload))
        aside.replace(file)


class Transport(filesystem.Transport):
    """``filesystem://`` with the channel above."""

    Channel = Channel


def use() -> None:
    """Let ``filesystem://`` mean this transport."""
    transport.TRANSPORT_ALIASES["filesystem"] = f"{__name__}:Transport"
