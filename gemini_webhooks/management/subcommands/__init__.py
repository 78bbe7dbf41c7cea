"""The subcommands of ``manage.py gemini_webhooks``, in the order in which help shows them."""

from gemini_webhooks.management.subcommands.adopting import Adopt
from gemini_webhooks.management.subcommands.base import Subcommand, printable, require_text
from gemini_webhooks.management.subcommands.comparing import Doctor, Reconcile, Sync
from gemini_webhooks.management.subcommands.endpoints import (
    Create,
    Delete,
    Endpoints,
    Ping,
    Update,
)
from gemini_webhooks.management.subcommands.failing import Failures, Mute, Unmute
from gemini_webhooks.management.subcommands.figures import RollUp
from gemini_webhooks.management.subcommands.pausing import Pause, Pauses, Resume
from gemini_webhooks.management.subcommands.recording import Export, Load
from gemini_webhooks.management.subcommands.replaying import Replay, Replays, StopReplay
from gemini_webhooks.management.subcommands.retention import Erase, Prune
from gemini_webhooks.management.subcommands.secrets import Reencrypt, Revoke, Rotate
from gemini_webhooks.management.subcommands.sending import Send
from gemini_webhooks.management.subcommands.trying import Run
from gemini_webhooks.management.subcommands.working import Drain, Sweep

__all__ = ["SUBCOMMANDS", "Subcommand", "printable", "require_text"]

SUBCOMMANDS: dict[str, type[Subcommand]] = {
    subcommand.name: subcommand
    for subcommand in (
        Endpoints,
        Create,
        Update,
        Rotate,
        Revoke,
        Delete,
        Sync,
        Reencrypt,
        Ping,
        Replay,
        Replays,
        StopReplay,
        Failures,
        Mute,
        Unmute,
        Pauses,
        Pause,
        Resume,
        Sweep,
        Drain,
        Reconcile,
        Adopt,
        Prune,
        Erase,
        RollUp,
        Send,
        Export,
        Load,
        Run,
        Doctor,
    )
}
