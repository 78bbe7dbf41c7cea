"""Settings, URLs, middleware and the way from outside."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.urls import clear_script_prefix, set_script_prefix

from gemini_webhooks.models import RejectedRequest, WebhookDelivery, WebhookEndpoint
from tests.doctor.conftest import answering, doctor

pytestmark = pytest.mark.django_db

ROOT, ACME = "inside, root", "inside, endpoint “acme”"
OUTSIDE = "outside, root"
FIRST = "django.middleware.security.SecurityMiddleware"


@pytest.fixture(autouse=True)
def _site(configured: dict[str, Any]) -> None:
    configured["PUBLIC_BASE_URL"] = "https://127.0.0.1:1"


def add(settings: Any, name: str) -> str:
    """Put a middleware in the middle of the others."""
    dotted = f"tests.doctor.middleware.{name}"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE[:3], dotted, *settings.MIDDLEWARE[3:]]
    return dotted


# --- settings and URLs


def test_settings(configured: dict[str, Any]) -> None:
    assert doctor().status("settings") == "ok"

    configured["MAX_BODY_BYTE"] = 1
    report = doctor()

    assert report.exit_code == 1
    assert report["settings"]["message"].endswith("(gemini_webhooks.E002)")
    assert "MAX_BODY_BYTES" in report["settings"]["hint"]


def test_settings_that_are_no_dict_end_it(settings: Any) -> None:
    settings.GEMINI_WEBHOOKS = "whsec_x"

    report = doctor()

    assert [found["name"] for found in report.findings] == ["settings", "everything else"]
    assert report.exit_code == 1


@pytest.mark.parametrize(
    ("urlconf", "said"),
    [
        ("tests.urls_empty", "not included"),
        ("tests.doctor.urls_broken", "cannot be loaded: RuntimeError"),
        ("tests.doctor.urls_shadowed", "/webhooks/gemini/ leads to another view"),
    ],
)
def test_urls_that_lead_nowhere(settings: Any, urlconf: str, said: str) -> None:
    settings.ROOT_URLCONF = urlconf

    report = doctor()

    assert said in report.all("urls")[0]["message"]
    assert report.all("urls")[0]["status"] == "failure"
    if "shadowed" in urlconf:
        assert report.status(ROOT) == "failure"
    else:
        assert report.status("inside") == report.status("outside") == "skipped"


@pytest.mark.parametrize("urlconf", ["tests.urls", "tests.urls_without_slash"])
def test_urls(settings: Any, urlconf: str) -> None:
    settings.ROOT_URLCONF = urlconf

    assert doctor().status("urls") == "ok"


# --- middleware


def test_a_post_gets_through_and_leaves_no_trace() -> None:
    WebhookEndpoint.objects.create(slug="acme")

    report = doctor()

    assert report.status(ROOT) == report.status(ACME) == "ok"
    assert not RejectedRequest.objects.exists()
    assert not WebhookDelivery.objects.exists()


@pytest.mark.parametrize(
    ("middleware", "said", "hint"),
    [
        ("login", "redirected to the login page", "without a login"),
        ("slash", "with a slash, which loses the POST", "appends slashes"),
        ("csrf", "a CSRF protection refuses it", "exempt"),
        ("firewall", "refused with 403", "without a login"),
        ("elsewhere", "redirected to https://elsewhere.example/maintenance", "no redirects"),
        ("broken", "an error 500, KeyError", "log"),
        ("AtTheView", "something else answers, with status 418", "another site"),
    ],
)
def test_middleware_that_answers_itself(
    settings: Any, middleware: str, said: str, hint: str, caplog: pytest.LogCaptureFixture
) -> None:
    culprit = add(settings, middleware)
    every = list(settings.MIDDLEWARE)
    WebhookEndpoint.objects.create(slug="acme")

    found = doctor()[ACME]

    assert found["status"] == "failure"
    assert said in found["message"]
    assert f"(by {culprit})" in found["message"]
    assert hint in found["hint"]
    assert every == settings.MIDDLEWARE
    assert caplog.messages == []


def test_middleware_that_reads_the_body(settings: Any) -> None:
    add(settings, "greedy")

    assert "without its body" in doctor()[ROOT]["message"]


def test_host_that_is_not_allowed(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["site.example"]

    found = doctor()[ROOT]

    assert found["status"] == "failure"
    assert "refuses the host 127.0.0.1:1" in found["message"]
    assert 'Add "127.0.0.1" to ALLOWED_HOSTS' in found["hint"]


def test_redirect_to_another_host(settings: Any, configured: dict[str, Any]) -> None:
    configured["PUBLIC_BASE_URL"] = "https://site.invalid"
    settings.PREPEND_WWW = True

    found = doctor()[ROOT]

    assert "redirected to the host www.site.invalid" in found["message"]
    assert "PUBLIC_BASE_URL with www.site.invalid" in found["hint"]


def test_redirect_to_https_behind_a_proxy(settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    found = doctor()[ROOT]
    assert found["status"] == "warning"
    assert "if the web server itself marks it as https" in found["message"]
    assert "SECURE_PROXY_SSL_HEADER" in found["hint"]

    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert doctor().status(ROOT) == "ok"


def test_redirect_to_https_of_an_http_address(settings: Any, configured: dict[str, Any]) -> None:
    configured["PUBLIC_BASE_URL"] = "http://127.0.0.1:1"
    settings.SECURE_SSL_REDIRECT = True

    found = doctor()[ROOT]

    assert (found["status"], FIRST in found["message"]) == ("failure", True)
    assert 'PUBLIC_BASE_URL with "https://"' in found["hint"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/webhooks/gemini/bolt/", "another view or endpoint"),
        ("/hooks/acme/", "nobody knows this address (404)"),
    ],
)
def test_registered_address_that_is_not_the_endpoint_s(path: str, said: str) -> None:
    WebhookEndpoint.objects.create(slug="acme", uri=f"https://127.0.0.1:1{path}")

    found = doctor()[ACME]

    assert (found["status"], said in found["message"]) == ("failure", True)


def test_site_below_a_prefix(settings: Any) -> None:
    settings.FORCE_SCRIPT_NAME = "/app"
    WebhookEndpoint.objects.create(slug="acme", uri="https://127.0.0.1:1/app/webhooks/gemini/acme/")
    set_script_prefix("/app/")
    try:
        report = doctor()
    finally:
        clear_script_prefix()

    assert report.status("urls") == report.status(ROOT) == report.status(ACME) == "ok"
    assert "/app/webhooks/gemini/acme/" in report[ACME]["message"]


def test_without_a_public_address(settings: Any, configured: dict[str, Any]) -> None:
    configured["PUBLIC_BASE_URL"] = None
    settings.ALLOWED_HOSTS = [".site.example"]

    report = doctor()

    assert report.status("public address") == "warning"
    assert report.status(ROOT) == "ok"
    assert report.all(OUTSIDE) == []


def test_disabled_endpoints_are_named_and_left_alone(configured: dict[str, Any]) -> None:
    configured["AUDIENCES"] = []
    WebhookEndpoint.objects.create(slug="acme", state="disabled")
    WebhookEndpoint.objects.create(slug="bolt")

    report = doctor("--no-ping")

    named = report["endpoint “acme”"]
    assert named["status"] == "warning"
    assert named["message"] == "It is disabled here: every event is refused."
    assert "update acme --enable" in named["hint"]
    assert report.all(ACME) == report.all("endpoint “bolt”") == report.all("inside") == []
    assert len(report.all("inside, endpoint “bolt”")) == 1


def test_when_every_endpoint_is_disabled_nothing_is_left(configured: dict[str, Any]) -> None:
    configured["AUDIENCES"] = []
    WebhookEndpoint.objects.create(slug="acme", state="disabled")

    report = doctor("--no-ping")

    assert report.status("endpoint “acme”") == "warning"
    assert {report.status(name) for name in ("secrets", "inside", "outside")} == {"skipped"}


# --- from outside


def test_outside(live_server: Any, configured: dict[str, Any]) -> None:
    configured["PUBLIC_BASE_URL"] = live_server.url

    found = doctor()[OUTSIDE]

    assert (found["status"], live_server.url in found["message"]) == ("ok", True)
    assert not RejectedRequest.objects.exists()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:1", "connection was refused"),
        ("https://nowhere.invalid", "name cannot be resolved"),
    ],
)
def test_outside_does_not_answer(configured: dict[str, Any], url: str, said: str) -> None:
    configured["PUBLIC_BASE_URL"] = url
    WebhookEndpoint.objects.create(slug="acme")

    report = doctor()

    assert report.status(OUTSIDE) == "warning"
    assert said in report[OUTSIDE]["message"]
    assert report.status("outside, endpoint “acme”") == "skipped"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"status": 200, "body": b"<html>welcome"}, "something else answers, with status 200"),
        ({"status": 404}, "404"),
        ({"status": 401}, "refused with 401"),
        ({"status": 502}, "a proxy answers 502"),
        ({"status": 500}, "an error 500"),
        ({"status": 405, "body": b'{"error": "other"}'}, "something else answers"),
        ({"status": 301, "Location": "/webhooks/gemini/?go"}, "redirected to http://127.0.0.1"),
        ({"status": 302, "Location": "/accounts/login/?next=/"}, "the login page"),
    ],
)
def test_outside_answers_otherwise(
    configured: dict[str, Any], answer: dict[str, Any], said: str
) -> None:
    with answering(**answer) as url:
        configured["PUBLIC_BASE_URL"] = url
        found = doctor()[OUTSIDE]

    assert found["status"] == "failure"
    assert said in found["message"]
    assert found["hint"]


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    kept = tmp_path / "server.pem"
    kept.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(kept)
    return context


def test_outside_with_a_bad_certificate(
    configured: dict[str, Any], self_signed: ssl.SSLContext
) -> None:
    with answering(context=self_signed) as url:
        configured["PUBLIC_BASE_URL"] = url
        found = doctor()[OUTSIDE]

    assert found["status"] == "failure"
    assert "certificate is not valid: self-signed certificate" in found["message"]
    assert "public authority" in found["hint"]


def test_outside_speaks_no_tls(configured: dict[str, Any]) -> None:
    with answering() as url:
        configured["PUBLIC_BASE_URL"] = url.replace("http:", "https:")
        found = doctor()[OUTSIDE]

    assert (found["status"], "TLS failed" in found["message"]) == ("failure", True)
