"""Takes a delivery to another machine as a file, and runs its receivers there, one by one."""

from gemini_webhooks.recordings.exporting import export
from gemini_webhooks.recordings.files import InvalidRecording, Recording, read, write
from gemini_webhooks.recordings.loading import Loaded, forget, load
from gemini_webhooks.recordings.running import (
    CannotRun,
    Ended,
    call,
    find,
    receivers_of,
    rolled_back,
    run_for_good,
)

__all__ = [
    "CannotRun",
    "Ended",
    "InvalidRecording",
    "Loaded",
    "Recording",
    "call",
    "export",
    "find",
    "forget",
    "load",
    "read",
    "receivers_of",
    "rolled_back",
    "run_for_good",
    "write",
]
