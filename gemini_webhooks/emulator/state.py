"""One emulator: all that it knows, in memory."""

from __future__ import annotations

import threading

from gemini_webhooks.emulator.collection import Collection
from gemini_webhooks.emulator.faults import Faults
from gemini_webhooks.emulator.objects import ObjectStore
from gemini_webhooks.emulator.options import Options
from gemini_webhooks.emulator.outbox import Outbox
from gemini_webhooks.emulator.planning import Planner
from gemini_webhooks.emulator.registered import Webhook
from gemini_webhooks.emulator.resources import Batch, Interaction, Video
from gemini_webhooks.emulator.scheduler import Scheduler
from gemini_webhooks.emulator.shutoff import ShutOff
from gemini_webhooks.emulator.signing import Signer
from gemini_webhooks.emulator.switches import Switches
from gemini_webhooks.emulator.uploads import FileStore

#: Where a request to the emulator's own server has it, in ``META``.
ENVIRON_KEY = "gemini_webhooks.emulator"


class Emulator:
    """The resources, and the machinery that ends jobs and delivers events.

    Hold ``lock`` around any use of the collections; requests do so.

    Attributes:
        outbox: ``outbox.tries`` is the log of deliveries, ``outbox.wait_idle()`` waits.
        storage: ``storage.put()`` makes an object that can be fetched.
        faults: ``faults.fail_next()`` makes calls fail.
        switches: ``switches.change()`` sets them while it runs.
        version: grows with each change of jobs, webhooks, files, messages and tries.
        closing: set when it begins to end.
    """

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self.lock = threading.RLock()
        self.webhooks: Collection[Webhook] = Collection("Webhook")
        self.batches: Collection[Batch] = Collection("Batch")
        self.interactions: Collection[Interaction] = Collection("Interaction")
        self.videos: Collection[Video] = Collection("Operation")
        self.files = FileStore()
        self.storage = ObjectStore()
        self.faults = Faults()
        self.planner = Planner(self.options.scenario)
        self.switches = Switches(self.options)
        self.signer = Signer(lambda: self.switches.now.rotate_keys, self.touch)
        self.scheduler = Scheduler()
        self.closing = threading.Event()
        self.version = 0
        self._version_lock = threading.Lock()
        shutoff = ShutOff(self.switches, self.lock)
        self.outbox = Outbox(self.switches, self.scheduler, self.signer, shutoff, self.touch)

    def touch(self) -> None:
        """Say that something has changed; from any thread."""
        with self._version_lock:
            self.version += 1

    def close(self) -> None:
        """Drop the jobs and deliveries that are left, and end the threads."""
        self.closing.set()
        self.outbox.close()
        self.scheduler.close()


_sharing = threading.Lock()
_shared: list[Emulator] = []


def shared() -> Emulator:
    """The emulator of a site that has the URLs in its own URLconf."""
    with _sharing:
        if not _shared:
            _shared.append(Emulator())
        return _shared[0]
