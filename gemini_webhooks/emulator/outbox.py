"""Delivers events at least once: tries, retries, repeats, and keeps what became of each."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial

from gemini_webhooks.emulator import poison
from gemini_webhooks.emulator.courier import Courier
from gemini_webhooks.emulator.messages import Message, Posted, Try
from gemini_webhooks.emulator.resources import now
from gemini_webhooks.emulator.scheduler import Scheduler
from gemini_webhooks.emulator.shutoff import ShutOff
from gemini_webhooks.emulator.signing import Signer
from gemini_webhooks.emulator.switches import Switches
from gemini_webhooks.emulator.transport import BrokenOff

MAX_PAUSE_SECONDS = 3600
KEPT_MESSAGES = 2_000
KEPT_TRIES = 20_000


class Outbox:
    """Sends messages in the background.

    Args:
        switches: the options; those that are switches count at the moment of use.
        scheduler: runs the tries.
        signer: signs the tokens.
        shutoff: is told how the events of registered webhooks end.
        touch: called after each change.
    """

    def __init__(
        self,
        switches: Switches,
        scheduler: Scheduler,
        signer: Signer,
        shutoff: ShutOff,
        touch: Callable[[], None],
    ) -> None:
        self._switches = switches
        self._options = switches.now
        self._scheduler = scheduler
        self._shutoff = shutoff
        self._touch = touch
        self._courier = Courier(switches, signer)
        self._lock = threading.Lock()
        self._messages: list[Posted] = []
        self._poisons = itertools.count()
        self._held: dict[str, Posted] = {}
        self._tries: deque[Try] = deque(maxlen=KEPT_TRIES)

    @property
    def tries(self) -> list[Try]:
        """The newest 20,000 tries, oldest first."""
        with self._lock:
            return list(self._tries)

    @property
    def messages(self) -> list[Posted]:
        """All messages that wait, and the newest that do not, up to 2,000; oldest first."""
        with self._lock:
            return list(self._messages)

    def post(self, message: Message) -> None:
        """Deliver ``message`` soon, or do with it what a switch says."""
        posted = Posted(message=message)
        self._keep(posted)
        if self._switches.is_hit("lost"):
            posted.state = "lost"
            self._options.report(f"{message.name}: lost")
        else:
            posted.twice = self._switches.is_hit("duplicates")
            self._send(posted)
        if self._switches.is_hit("poison"):
            extra = Posted(message=poison.beside(message, next(self._poisons)))
            self._keep(extra)
            self._begin(extra, 0)
        self._touch()

    def send_lost(self) -> None:
        """Deliver what was lost after all."""
        for posted in self.messages:
            if posted.state == "lost":
                posted.state = "waiting"
                self._begin(posted, 0)
        self._touch()

    def resend(self, webhook_id: str, target: str) -> None:
        """Make one more try now, whatever the state of the message.

        If it is accepted, a message that waits is delivered; otherwise it goes on to wait.

        Raises:
            KeyError: there is no such message for this recipient.
        """
        for posted in self.messages:
            if (posted.webhook_id, posted.target) == (webhook_id, target):
                self._scheduler.after(0, partial(self._try, posted))
                return
        raise KeyError(webhook_id)

    def restore(self, messages: Iterable[Posted]) -> None:
        """Go on with these, oldest first; those that wait are tried at their time."""
        with self._lock:
            self._messages = list(messages)
            tries = (made for posted in self._messages for made in posted.tries)
            self._tries.extend(sorted(tries, key=lambda made: made.at))
        for posted in self.messages:
            if posted.state == "waiting":
                due = posted.next_try_at or now()
                self._begin(posted, max(0.0, (due - now()).total_seconds()))

    def wait_idle(self, timeout: float = 10) -> bool:
        """Wait until all jobs have ended and all messages are delivered or given up.

        Returns:
            ``False`` if that takes longer than ``timeout`` seconds.
        """
        return self._scheduler.wait_idle(timeout)

    def close(self) -> None:
        """Break off the tries under way; they do not count."""
        self._courier.close()

    def _keep(self, posted: Posted) -> None:
        with self._lock:
            self._messages.append(posted)
            if len(self._messages) > KEPT_MESSAGES:
                ended = (n for n, one in enumerate(self._messages) if one.state != "waiting")
                if (oldest := next(ended, None)) is not None:
                    del self._messages[oldest]

    def _send(self, posted: Posted) -> None:
        """Deliver it now, late, or after the next one."""
        options, wait = self._switches.now, 0.0
        if self._switches.is_hit("late"):
            wait = options.real_seconds(options.late_seconds)
            options.report(f"{posted.message.name}: late on purpose")
        elif self._switches.is_hit("reorder") and self._hold(posted):
            wait = options.reorder_seconds
            options.report(f"{posted.message.name}: held back for the next one")
        self._begin(posted, wait)

    def _hold(self, posted: Posted) -> bool:
        """Let the next one to the same recipient pass, unless another one waits for that."""
        with self._lock:
            return self._held.setdefault(posted.message.address, posted) is posted

    def _release(self, passed: Posted) -> None:
        """Send the one that a later one has overtaken, or forget that it waits for that."""
        address = passed.message.address
        with self._lock:
            held = self._held.get(address)
            if held is None or passed.created < held.created:
                return
            del self._held[address]
        if held is not passed and held.task is not None and self._scheduler.cancel(held.task):
            self._begin(held, 0)

    def _begin(self, posted: Posted, wait: float) -> None:
        """Have it tried in ``wait`` seconds."""
        due = now() + timedelta(seconds=wait)
        if posted.give_up_at is None:
            real = self._options.real_seconds(self._options.retry_hours * 3600)
            posted.give_up_at = due + timedelta(seconds=real)
        posted.next_try_at = due
        posted.task = self._scheduler.after(wait, partial(self._turn, posted))

    def _turn(self, posted: Posted) -> None:
        """Make the try that is due."""
        if posted.state == "waiting" and self._try(posted):
            self._go_on(posted)

    def _go_on(self, posted: Posted) -> None:
        """See to the next try, or give up."""
        with self._lock:
            # It is delivered, by this try or meanwhile by hand.
            if posted.state != "waiting":
                return
            pause = self._pause(posted)
            if pause is None:
                posted.state, posted.next_try_at = "given up", None
            else:
                self._begin(posted, pause)
        if pause is None and posted.message.webhook:
            self._shutoff.given_up(posted.message.webhook)
        self._touch()

    def _pause(self, posted: Posted) -> float | None:
        """Seconds until the next try; ``None`` if there is to be none."""
        options = self._options
        if options.max_tries is not None and posted.count >= options.max_tries:
            return None
        doublings = min(posted.count - 1, 64)  # the longest pause is reached long before
        google = min(options.retry_base * 2.0**doublings, MAX_PAUSE_SECONDS)
        pause = options.real_seconds(google)
        if posted.give_up_at and now() + timedelta(seconds=pause) > posted.give_up_at:
            return None
        return pause

    def _try(self, posted: Posted) -> bool:
        """Make one try; ``False`` if the webhook receives nothing or the emulator ends."""
        webhook = posted.message.webhook
        if webhook and not webhook.receives:
            self._drop(posted)
            return False
        with self._lock:
            posted.count += 1
            number, duplicate = posted.count, posted.state == "delivered"
        try:
            made = self._courier.carry(posted.message, number, duplicate=duplicate)
        except BrokenOff:
            posted.count -= 1
            return False
        with self._lock:
            self._tries.append(made)
            posted.add(made)
        self._options.report(made.line())
        if made.delivered and not duplicate:
            self._delivered(posted)
        self._release(posted)
        self._touch()
        return True

    def _delivered(self, posted: Posted) -> None:
        with self._lock:
            posted.state, posted.next_try_at = "delivered", None
            # Sent by hand, its own next try may still wait.
            if posted.task is not None:
                self._scheduler.cancel(posted.task)
        if posted.message.webhook:
            self._shutoff.delivered(posted.message.webhook)
        if posted.twice:
            posted.twice = False
            self._scheduler.after(0, partial(self._try, posted))

    def _drop(self, posted: Posted) -> None:
        name = f"{posted.message.name} try {posted.count + 1}"
        self._options.report(f"{name}: dropped, its webhook is disabled or deleted")
        if posted.state == "waiting":
            posted.state, posted.next_try_at = "dropped", None
        self._touch()
