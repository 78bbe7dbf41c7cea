"""Signals of this app. Connect to them as to any Django signal.

Receivers of an :class:`EventSignal` are not called by ``send()``: each becomes a
``ReceiverRun`` with a transaction, attempts and retries of its own, and runs in a worker.
They get ``signal``, ``sender`` (``WebhookDelivery``), ``event`` and ``delivery``;
those of :data:`result_ready` get ``result`` as well.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

from django.dispatch import Signal


class EventSignal(Signal):
    """A signal whose receivers run one by one, in workers."""

    def connections(self, sender: type) -> Iterator[tuple[str | None, Callable[..., Any]]]:
        """Yield ``(dispatch_uid or None, receiver)`` for the live receivers of ``sender``.

        Django calls all receivers of a signal in one go and keeps no names for them; runs
        need both one by one, so this reads the list that ``connect()`` keeps.
        """
        for (uid, sender_id), receiver, *_ in list(self.receivers):
            if sender_id not in (id(None), id(sender)):
                continue
            live = receiver() if isinstance(receiver, weakref.ReferenceType) else receiver
            if live is not None:
                yield (uid if isinstance(uid, str) else None), live


batch_succeeded = EventSignal()
batch_failed = EventSignal()
batch_cancelled = EventSignal()
batch_expired = EventSignal()
interaction_requires_action = EventSignal()
interaction_completed = EventSignal()
interaction_failed = EventSignal()
interaction_cancelled = EventSignal()
video_generated = EventSignal()

#: Every event, unknown types included.
event_received = EventSignal()
#: The output file of a delivery is stored and checked.
result_ready = EventSignal()

#: A receiver gave up. Sent in the worker, after commit, with ``event``, ``delivery``, ``run``: at
#: most once, as a worker may die in between. The state of the run is what counts.
delivery_failed = Signal()
#: A request was refused, or put off with 503, and recorded. Sent with ``rejection`` (a
#: ``RejectedRequest``) and ``code``; ``event`` and ``delivery`` are ``None``, as nothing of it is
#: believed.
request_rejected = Signal()
