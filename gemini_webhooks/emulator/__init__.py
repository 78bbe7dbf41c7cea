"""A local Gemini API: no account, no network, real signatures.

It answers the official SDK over HTTP, runs jobs that take a moment and deliver signed
webhooks, and keeps everything in memory, and in a file if asked to. For development and tests,
never for the internet.
"""

from gemini_webhooks.emulator.options import Options
from gemini_webhooks.emulator.server import EmulatorServer
from gemini_webhooks.emulator.state import Emulator

__all__ = ["Emulator", "EmulatorServer", "Options"]
