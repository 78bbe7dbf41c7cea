"""The key set: rarely fetched, never lost, never fetched once per request."""

from __future__ import annotations

import itertools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache

from gemini_webhooks.exceptions import ConfigurationError, Unauthorised, Undecided
from gemini_webhooks.verification import KeySet, shared
from tests.verification.signers import RSA_KEY, jwk

HOUR = 3600
DAY = 24 * HOUR
PUBLIC_KEY = RSA_KEY.public_key()


class BrokenCache(LocMemCache):
    """A cache whose server is down."""

    def _fail(self, *args, **kwargs):
        raise ConnectionResetError("the cache is down")

    get = set = add = delete = _fail


@pytest.fixture(params=["dummy", "broken"])
def _no_shared_cache(request, settings):
    backends = {
        "dummy": "django.core.cache.backends.dummy.DummyCache",
        "broken": f"{__name__}.BrokenCache",
    }
    settings.CACHES = {"default": {"BACKEND": backends[request.param]}}


def refusal(key_set, key_id):
    with pytest.raises((Unauthorised, Undecided)) as caught:
        key_set.find(key_id)
    return caught.value


def test_a_key_is_found_by_its_id_and_fetched_once(server, key_set):
    assert [key_set.find("key-1") for _ in range(3)] == [PUBLIC_KEY] * 3
    assert server.fetches == 1


def test_another_object_for_the_same_url_uses_the_same_keys(server, key_set):
    key_set.find("key-1")
    KeySet(server.url, cache_seconds=3600, timeout_seconds=3).find("key-1")

    assert server.fetches == 1


def test_clearing_the_cache_forgets_everything(server, key_set):
    key_set.find("key-1")
    server.serve(jwk(kid="key-2"))
    cache.clear()

    assert refusal(key_set, "key-1").code == "unknown_key"
    assert key_set.find("key-2") == PUBLIC_KEY


class TestLifetime:
    def test_keys_are_fetched_again_ahead_of_expiry(self, server, key_set, clock):
        key_set.find("key-1")
        clock.now += HOUR * 0.79
        key_set.find("key-1")
        assert server.fetches == 1

        clock.now += HOUR * 0.02
        key_set.find("key-1")
        key_set.find("key-1")
        assert server.fetches == 2

    def test_a_key_that_was_withdrawn_is_gone_after_the_refresh(self, server, key_set, clock):
        key_set.find("key-1")
        server.serve(jwk(kid="key-2"))
        clock.now += HOUR

        assert refusal(key_set, "key-1").code == "unknown_key"

    def test_while_one_fetches_the_others_go_on_with_what_is_there(self, server, key_set, clock):
        key_set.find("key-1")
        clock.now += HOUR
        server.gate.clear()
        with ThreadPoolExecutor() as pool:
            fetching = pool.submit(key_set.find, "key-1")
            wait_until(lambda: server.fetches == 2)
            assert key_set.find("key-1") == PUBLIC_KEY
            assert not fetching.done()
            server.gate.set()
            assert fetching.result() == PUBLIC_KEY
        assert server.fetches == 2

    def test_when_a_refresh_fails_the_old_keys_hold_for_a_day(self, server, key_set, clock):
        key_set.find("key-1")
        server.status = 500
        clock.now += HOUR + DAY - 60
        assert key_set.find("key-1") == PUBLIC_KEY
        assert server.fetches == 2

        clock.now += 61
        assert refusal(key_set, "key-1").code == "key_set_unavailable"

    def test_a_failed_refresh_is_repeated_once_per_cool_down(self, server, key_set, clock):
        key_set.find("key-1")
        server.status = 500
        clock.now += HOUR
        for _ in range(5):
            key_set.find("key-1")
        assert server.fetches == 2

        clock.now += 31
        server.status = 200
        key_set.find("key-1")
        assert server.fetches == 3


class TestUnknownKeyIds:
    def test_a_new_key_is_found_at_once(self, server, key_set):
        key_set.find("key-1")
        server.serve(jwk(), jwk(kid="key-2"))

        assert key_set.find("key-2") == PUBLIC_KEY
        assert server.fetches == 2

    def test_a_flood_of_unknown_ids_fetches_once_per_cool_down(self, server, key_set, clock):
        key_set.find("key-1")
        for number in range(10):
            refused = refusal(key_set, f"forged-{number}")
            assert (refused.code, refused.status) == ("unknown_key", 401)
        assert server.fetches == 2

        clock.now += 61
        refusal(key_set, "forged")
        assert server.fetches == 3

    def test_a_key_that_may_be_new_is_not_refused_while_the_server_is_down(
        self, server, key_set, clock
    ):
        key_set.find("key-1")
        server.status = 500

        for _ in range(5):
            refused = refusal(key_set, "key-2")
            assert (refused.code, refused.status) == ("key_set_unavailable", 503)
            assert refused.retry_after == 30
            assert key_set.find("key-1") == PUBLIC_KEY
        assert server.fetches == 2

        clock.now += 31
        server.status = 200
        assert refusal(key_set, "key-2").code == "unknown_key"
        server.serve(jwk(kid="key-2"))
        clock.now += 61
        assert key_set.find("key-2") == PUBLIC_KEY

    def test_a_key_that_may_be_new_is_not_refused_when_the_cache_forgets_who_looked(
        self, server, key_set, monkeypatch
    ):
        key_set.find("key-1")
        server.status = 500
        refusal(key_set, "key-2")
        read = shared.read
        forgotten = key_set._unknown_turn
        monkeypatch.setattr(shared, "read", lambda key: None if key == forgotten else read(key))

        assert refusal(key_set, "key-2").code == "key_set_unavailable"

    def test_a_key_that_may_be_new_is_not_refused_while_another_looks_for_it(self, server, key_set):
        key_set.find("key-1")
        key_set.timeout_seconds = 0
        shared.claim(key_set._unknown_turn, "running", seconds=10)

        assert refusal(key_set, "key-2").code == "key_set_unavailable"

    def test_threads_that_meet_a_new_key_at_once_share_one_fetch(self, server, key_set):
        key_set.find("key-1")
        server.serve(jwk(kid="key-2"))

        assert all_at_once(lambda: key_set.find("key-2")) == [PUBLIC_KEY] * 12
        assert server.fetches == 2


class TestOutage:
    def test_without_any_keys_it_is_undecided_and_not_asked_per_request(
        self, server, key_set, clock
    ):
        server.status = 503
        for _ in range(5):
            refused = refusal(key_set, "key-1")
            assert (refused.code, refused.status) == ("key_set_unavailable", 503)
            assert refused.retry_after == 30
        assert server.fetches == 1

        clock.now += 31
        server.status = 200
        assert key_set.find("key-1") == PUBLIC_KEY

    def test_a_server_that_is_not_there(self):
        key_set = KeySet("http://127.0.0.1:1/", cache_seconds=3600, timeout_seconds=1)

        assert refusal(key_set, "key-1").code == "key_set_unavailable"

    def test_a_server_that_does_not_answer_is_given_up(self, server):
        server.gate.clear()
        key_set = KeySet(server.url, cache_seconds=3600, timeout_seconds=0.1)

        assert refusal(key_set, "key-1").code == "key_set_unavailable"

    def test_one_who_waits_for_a_fetch_that_does_not_end_gives_up(self, server):
        server.gate.clear()
        patient = KeySet(server.url, cache_seconds=3600, timeout_seconds=30)
        hasty = KeySet(server.url, cache_seconds=3600, timeout_seconds=0)
        with ThreadPoolExecutor() as pool:
            fetching = pool.submit(patient.find, "key-1")
            wait_until(lambda: server.fetches == 1)
            assert refusal(hasty, "key-1").code == "key_set_unavailable"
            server.gate.set()
            assert fetching.result() == PUBLIC_KEY


class TestThreads:
    def test_threads_that_find_nothing_share_one_fetch(self, server, key_set):
        assert all_at_once(lambda: key_set.find("key-1")) == [PUBLIC_KEY] * 12
        assert server.fetches == 1

    def test_one_who_gets_the_turn_after_another_has_fetched_does_not_fetch_again(
        self, server, key_set, monkeypatch
    ):
        claim = shared.claim

        def too_late(*args, **kwargs):
            monkeypatch.setattr(shared, "claim", claim)
            key_set.find("key-1")
            return claim(*args, **kwargs)

        monkeypatch.setattr(shared, "claim", too_late)

        assert key_set.find("key-1") == PUBLIC_KEY
        assert server.fetches == 1

    def test_they_share_its_failure_too(self, server, key_set):
        server.status = 500

        codes = all_at_once(lambda: refusal(key_set, "key-1").code)

        assert codes == ["key_set_unavailable"] * 12
        assert server.fetches == 1


@pytest.mark.usefixtures("_no_shared_cache")
class TestWithoutSharedCache:
    """Each process keeps its own keys then; the tests use a fresh URL each."""

    def test_keys_are_still_fetched_once(self, server, key_set):
        assert all_at_once(lambda: key_set.find("key-1")) == [PUBLIC_KEY] * 12
        assert key_set.find("key-1") == PUBLIC_KEY
        assert server.fetches == 1

    def test_unknown_ids_and_failures_still_cool_down(self, server, key_set):
        key_set.find("key-1")
        server.status = 500
        for _ in range(5):
            assert refusal(key_set, "forged").code == "key_set_unavailable"
        assert server.fetches == 2

    def test_an_outage_is_not_fetched_per_request(self, server, key_set):
        server.status = 500
        for _ in range(5):
            assert refusal(key_set, "key-1").code == "key_set_unavailable"
        assert server.fetches == 1

    def test_the_shared_cache_is_believed_again_once_it_works(self, server, key_set, settings):
        key_set.find("key-1")
        server.serve(jwk(kid="key-2"))
        settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
        cache.clear()

        assert refusal(key_set, "key-1").code == "unknown_key"


def test_a_cache_that_breaks_down_in_the_middle_does_no_harm(server, key_set, monkeypatch):
    monkeypatch.setattr(LocMemCache, "add", fail_for_shared(LocMemCache.add))
    assert key_set.find("key-1") == PUBLIC_KEY

    monkeypatch.setattr(LocMemCache, "set", fail_for_shared(LocMemCache.set, only=":held"))
    cache.clear()
    assert key_set.find("key-1") == PUBLIC_KEY


def test_a_cache_that_dies_after_it_was_found_to_work_does_no_harm(server, key_set, monkeypatch):
    delete, read = LocMemCache.delete, LocMemCache.get

    def die(self, key, *args, **kwargs):
        delete(self, key, *args, **kwargs)
        monkeypatch.setattr(LocMemCache, "get", fail_for_shared(read))

    monkeypatch.setattr(LocMemCache, "delete", die)
    assert key_set.find("key-1") == PUBLIC_KEY


def fail_for_shared(method, only=""):
    def wrapper(self, key, *args, **kwargs):
        if self._cache is cache._cache and only in key:
            raise ConnectionResetError
        return method(self, key, *args, **kwargs)

    return wrapper


class TestAnswers:
    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"\xff\xfe",
            b"[]",
            b"null",
            b"<html>",
            b"{}",
            b'{"keys": {}}',
            b'{"keys": []}',
            b'{"keys": [1, null, {}]}',
            b"[" * 100_000,
            json.dumps({"keys": [jwk(kid="key-2")]}).encode() + b" " * 1024 * 1024,
        ],
    )
    def test_what_is_no_key_set_does_not_wipe_the_keys(self, server, key_set, clock, answer):
        key_set.find("key-1")
        server.answer = answer
        clock.now += HOUR

        assert key_set.find("key-1") == PUBLIC_KEY
        assert server.fetches == 2

    @pytest.mark.parametrize(
        "changes",
        [
            {"kty": "EC"},
            {"kty": "oct", "k": "c2VjcmV0"},
            {"use": "enc"},
            {"alg": "RS512"},
            {"alg": "HS256"},
            {"kid": None},
            {"kid": ""},
            {"kid": 1},
            {"n": 5},
            {"n": "é"},
            {"n": "AQAB"},
            {"n": ""},
            {"e": "AA"},
            {"e": "AQ"},
            {"e": "_" * 4000},
        ],
    )
    def test_entries_that_are_no_rsa_signature_keys_are_passed_over(self, server, key_set, changes):
        server.serve(jwk(**{"kid": "odd"} | changes), jwk())

        assert key_set.find("key-1") == PUBLIC_KEY
        assert refusal(key_set, "odd").code == "unknown_key"

    def test_short_keys_are_passed_over(self, server, key_set):
        short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
        server.serve(jwk(short, kid="short"), jwk())
        key_set.find("key-1")

        assert refusal(key_set, "short").code == "unknown_key"

    def test_use_and_alg_may_be_absent(self, server, key_set):
        entry = jwk()
        del entry["use"], entry["alg"]
        server.serve(entry)

        assert key_set.find("key-1") == PUBLIC_KEY

    def test_a_redirect_is_followed(self, server, key_set):
        server.moved_to = "/moved"

        assert key_set.find("key-1") == PUBLIC_KEY

    def test_a_redirect_to_another_scheme_is_not_followed(self, server, key_set, caplog):
        server.moved_to = "ftp://127.0.0.1/jwks.json"

        assert refusal(key_set, "key-1").code == "key_set_unavailable"
        assert "HTTPError 302" in caplog.text

    def test_an_answer_that_trickles_in_is_given_up(self, server, monkeypatch):
        ticks = itertools.count(step=2)
        monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))
        key_set = KeySet(server.url, cache_seconds=3600, timeout_seconds=1)

        assert refusal(key_set, "key-1").code == "key_set_unavailable"
        assert server.fetches == 1


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "ftp://example.com/", "jwks.json"])
def test_only_http_urls_are_key_set_urls(url):
    with pytest.raises(ConfigurationError, match="JWKS_URL"):
        KeySet(url, cache_seconds=3600, timeout_seconds=3)


def all_at_once(call, threads=12):
    barrier = threading.Barrier(threads)

    def together(_):
        barrier.wait()
        return call()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(together, range(threads)))


def wait_until(condition):
    pause = threading.Event()
    assert any(condition() or pause.wait(0.01) for _ in range(1000)), "not within 10 s"
