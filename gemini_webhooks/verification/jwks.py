"""The public keys of dynamic webhooks: a JSON Web Key Set (RFC 7517), fetched and kept."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from http.client import HTTPException, HTTPMessage
from typing import IO, Any, cast
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gemini_webhooks import logs
from gemini_webhooks.exceptions import ConfigurationError, Unauthorised, Undecided
from gemini_webhooks.verification import shared

logger = logs.get_logger(__name__)

#: Share of its lifetime after which the key set is fetched again, while it still holds.
REFRESH_AT = 0.8
#: How long after its lifetime the key set is used when it cannot be fetched.
STALE_SECONDS = 24 * 3600
#: After a failed fetch nobody tries again for so long.
FAILURE_COOLDOWN_SECONDS = 30
#: Unknown key ids make the site fetch once in so many seconds.
UNKNOWN_KEY_COOLDOWN_SECONDS = 60
MAX_ANSWER_BYTES = 1024 * 1024
MIN_KEY_BITS = 2048

POLL_SECONDS = 0.02
#: States of a turn: somebody fetches now; somebody did, or could not, and nobody does so again
#: for a while.
RUNNING, OVER, FAILED = "running", "over", "failed"


@dataclass(frozen=True, kw_only=True)
class HeldKeys:
    """A key set as it is kept.

    Attributes:
        fetched_at: Unix seconds.
        keys: modulus and exponent by key id, both base64url as in the key set.
    """

    fetched_at: float
    keys: Mapping[str, list[str]]


class KeySet:
    """A key set at a URL, shared by all processes of the site.

    It is fetched ahead of expiry by one process while the others go on with what is there,
    kept for a day when that fails, and fetched at most once per cool-down for key ids that
    it does not hold.

    Args:
        url: ``https://`` or ``http://``.
        cache_seconds: lifetime of a fetched key set.
        timeout_seconds: for one fetch.

    Raises:
        ConfigurationError: the URL has another scheme.
    """

    def __init__(self, url: str, *, cache_seconds: float, timeout_seconds: float) -> None:
        if urlsplit(url).scheme not in ("https", "http"):
            raise ConfigurationError("JWKS_URL must begin with https:// or http://.")
        self.url = url
        self.cache_seconds = cache_seconds
        self.timeout_seconds = timeout_seconds
        prefix = f"gemini_webhooks:jwks:1:{hashlib.sha256(url.encode()).hexdigest()}"
        self._held_key = f"{prefix}:held"
        self._refresh_turn = f"{prefix}:refresh"
        self._unknown_turn = f"{prefix}:unknown"

    def find(self, key_id: str) -> RSAPublicKey:
        """The public key with this id.

        Raises:
            Unauthorised: ``unknown_key``.
            Undecided: ``key_set_unavailable``, no key set could be fetched, or none newer than the
                one at hand, which lacks this key.
        """
        held = self._current()
        newest = held if key_id in held.keys else self._refetched(held)
        if key_id in newest.keys:
            return _public_key(*newest.keys[key_id])
        if newest == held and shared.read(self._unknown_turn) != OVER:
            raise _unavailable(
                "the key set at hand lacks the token's key, and no newer one can be had"
            )
        raise Unauthorised("unknown_key", "the token's key id is not in the key set")

    def _current(self) -> HeldKeys:
        held = self._held()
        if held and time.time() < held.fetched_at + REFRESH_AT * self.cache_seconds:
            return held
        newest = self._fetch_in_turn(self._refresh_turn, held) or held
        if newest is None:
            newest = self._awaited(self._refresh_turn)
        if newest is None:
            raise _unavailable("the key set cannot be fetched, and no older one is at hand")
        return newest

    def _refetched(self, seen: HeldKeys) -> HeldKeys:
        """The key set after Google may have changed it."""
        fetched = self._fetch_in_turn(
            self._unknown_turn, seen, rest_seconds=UNKNOWN_KEY_COOLDOWN_SECONDS
        )
        return fetched or self._awaited(self._unknown_turn) or seen

    def _held(self) -> HeldKeys | None:
        stored = shared.read(self._held_key)
        return HeldKeys(**stored) if stored else None

    def _fetch_in_turn(
        self, turn: str, seen: HeldKeys | None, *, rest_seconds: float = 0
    ) -> HeldKeys | None:
        """Fetch the key set, unless somebody else does so, just did, or lately failed to.

        Args:
            turn: cache key of the turn to take.
            seen: the key set that will not do.
            rest_seconds: after success nobody gets this turn again for so long.
        """
        if not shared.claim(turn, RUNNING, seconds=2 * self.timeout_seconds + 10):
            return None
        newest = self._held()
        if newest is not None and newest != seen:
            shared.write(turn, OVER, seconds=0)
            return newest
        fetched = self._fetch()
        if fetched:
            shared.write(turn, OVER, seconds=rest_seconds)
        else:
            shared.write(turn, FAILED, seconds=FAILURE_COOLDOWN_SECONDS)
        return fetched

    def _awaited(self, turn: str) -> HeldKeys | None:
        """The key set once the fetch that is under way has ended, waiting no longer than it may."""
        deadline = time.monotonic() + self.timeout_seconds + 1
        while shared.read(turn) == RUNNING and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return self._held()

    def _fetch(self) -> HeldKeys | None:
        try:
            keys = _usable_keys(self._download())
        except (OSError, HTTPException, ValueError, RecursionError) as error:
            logger.warning("key set %s cannot be fetched: %.200r", self.url, error)
            return None
        fetched = HeldKeys(fetched_at=time.time(), keys=keys)
        # As plain data: not every cache can hold objects.
        stored = {"fetched_at": fetched.fetched_at, "keys": keys}
        shared.write(self._held_key, stored, seconds=self.cache_seconds + STALE_SECONDS)
        return fetched

    def _download(self) -> bytes:
        request = Request(self.url, headers={"Accept": "application/json"})  # noqa: S310  # see __init__
        deadline = time.monotonic() + self.timeout_seconds
        answer = b""
        with opener.open(request, timeout=self.timeout_seconds) as response:
            while chunk := response.read1(64 * 1024):
                answer += chunk
                if len(answer) > MAX_ANSWER_BYTES:
                    raise ValueError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the answer takes longer than {self.timeout_seconds} s")
        return answer


def _unavailable(why: str) -> Undecided:
    return Undecided("key_set_unavailable", why, retry_after=FAILURE_COOLDOWN_SECONDS)


class SameSchemeRedirects(HTTPRedirectHandler):
    """Follows no redirect from ``https://`` to anything else."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """``None``, which makes the redirect an error, or the request that follows it."""
        if urlsplit(newurl).scheme != req.type:
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


opener = build_opener(SameSchemeRedirects)


def _usable_keys(answer: bytes) -> dict[str, list[str]]:
    """The RSA signature keys of a key set; whatever else it holds is passed over.

    Raises:
        ValueError: it is no key set, or one without any usable key.
    """
    document = json.loads(answer)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("the answer is not a key set")  # noqa: TRY004  # the content is wrong
    usable = [entry for entry in entries if isinstance(entry, dict) and _is_usable(entry)]
    if not usable:
        raise ValueError("the key set holds no RSA signature key of at least 2048 bits")
    return {entry["kid"]: [entry["n"], entry["e"]] for entry in usable}


def _is_usable(entry: Mapping[str, Any]) -> bool:
    texts = [entry.get(name) for name in ("kid", "n", "e")]
    if not all(isinstance(text, str) and text for text in texts):
        return False
    if entry.get("kty") != "RSA":
        return False
    if entry.get("use", "sig") != "sig" or entry.get("alg", "RS256") != "RS256":
        return False
    try:
        return _public_key(entry["n"], entry["e"]).key_size >= MIN_KEY_BITS
    except (jwt.PyJWTError, ValueError, ArithmeticError):
        return False


@lru_cache(maxsize=64)
def _public_key(modulus: str, exponent: str) -> RSAPublicKey:
    key = jwt.PyJWK({"kty": "RSA", "n": modulus, "e": exponent}, algorithm="RS256").key
    return cast("RSAPublicKey", key)
