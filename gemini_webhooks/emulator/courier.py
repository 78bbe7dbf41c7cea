"""Signs one try of a message and posts it."""

from __future__ import annotations

import logging
import time

from gemini_webhooks.emulator.messages import Message, Try
from gemini_webhooks.emulator.options import Token
from gemini_webhooks.emulator.resources import now
from gemini_webhooks.emulator.signing import Signer, hmac_signature, new_secret, spoiled
from gemini_webhooks.emulator.switches import Switches
from gemini_webhooks.emulator.tokens import claims
from gemini_webhooks.emulator.transport import BrokenOff, Reply, Transport, Unreachable

logger = logging.getLogger(__name__)

WRONG_SIGNATURE, CLOCK_SKEW, POISON = "wrong_signature", "clock_skew", "poison"


class Courier:
    """Carries messages to their recipients, spoiled on purpose where the switches say so.

    Args:
        switches: the options.
        signer: signs the tokens.
    """

    def __init__(self, switches: Switches, signer: Signer) -> None:
        self._switches = switches
        self._signer = signer
        self._transport = Transport(switches.now.delivery_timeout)

    def carry(self, message: Message, number: int, *, duplicate: bool) -> Try:
        """Make one try.

        Raises:
            BrokenOff: the emulator ends.
        """
        fault = self._fault(message, number)
        at, started = now(), time.monotonic()
        target, headers, error = message.target, dict[str, str](), ""
        reply: Reply | None = None
        try:
            headers = self._headers(message, fault)
            reply = self._transport.post(target, headers, message.body)
        except BrokenOff:
            raise
        except Unreachable as reason:
            error = str(reason)
        except Exception as bug:
            # A try that failed is made again; one that nobody knows of would never be.
            logger.exception("A try of %s failed in the emulator itself", message.webhook_id)
            error = type(bug).__name__
        return Try(
            webhook_id=message.webhook_id,
            event_type=message.event_type,
            target=target,
            signing=message.signing,
            number=number,
            status=reply.status if reply else None,
            error=error,
            at=at,
            seconds=round(time.monotonic() - started, 6),
            duplicate=duplicate,
            fault=fault,
            request_headers=headers,
            answer_headers=reply.headers if reply else {},
            answer_body=reply.body if reply else b"",
        )

    def close(self) -> None:
        """Break off the tries under way."""
        self._transport.close()

    def _fault(self, message: Message, number: int) -> str:
        if number == 1 and self._switches.is_hit(WRONG_SIGNATURE):
            return WRONG_SIGNATURE
        if self._switches.now.clock_skew:
            return CLOCK_SKEW
        return POISON if message.is_poison else ""

    def _headers(self, message: Message, fault: str) -> dict[str, str]:
        timestamp = int(time.time() + self._switches.now.clock_skew)
        signature = self._token if message.webhook is None else self._entries
        return {
            "content-type": "application/json",
            "user-agent": "gemini-emulator",
            "connection": "close",
            "webhook-id": message.webhook_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(message, timestamp, wrong=fault == WRONG_SIGNATURE),
        }

    def _entries(self, message: Message, timestamp: int, *, wrong: bool) -> str:
        valid = message.webhook.valid_secrets if message.webhook else []
        return " ".join(
            hmac_signature(secret, message.webhook_id, timestamp, message.body)
            for secret in ([new_secret()] if wrong else [one.value for one in valid])
        )

    def _token(self, message: Message, timestamp: int, *, wrong: bool) -> str:
        options = self._switches.now
        # Poison is no event, and need not even be JSON.
        kind: Token = "body" if message.is_poison else options.token
        said = claims(
            kind,
            audience=options.audience or message.target,
            timestamp=timestamp,
            webhook_id=message.webhook_id,
            body=message.body,
        )
        token = self._signer.token(said)
        return spoiled(token) if wrong else token
