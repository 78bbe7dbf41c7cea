"""What ``doctor`` says of a local Gemini API."""

from __future__ import annotations

from typing import Any

import pytest

from gemini_webhooks.conf import EMULATOR
from gemini_webhooks.emulator.server import EmulatorServer
from tests.doctor.conftest import doctor

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _on_a_desk(settings: Any) -> None:
    settings.DEBUG = True


def test_one_that_answers(configured: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with EmulatorServer(output="inline") as running:
        monkeypatch.setenv(EMULATOR, running.url)
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        found = doctor()["emulator"]

    assert (found["status"], running.url in found["message"]) == ("ok", True)


def test_one_that_is_not_there(configured: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EMULATOR, "http://127.0.0.1:1")

    found = doctor()["emulator"]

    assert found["status"] == "failure"
    assert "runserver --with-emulator" in found["hint"]
    assert EMULATOR in found["hint"]


def test_nothing_that_leads_anywhere(configured: dict[str, Any]) -> None:
    configured |= {"PUBLIC_BASE_URL": None, "API_KEYS": {"default": None}}

    found = doctor()["emulator"]

    assert found["status"] == "warning"
    assert "export lines" in found["hint"]


@pytest.mark.parametrize(
    "given", [{"PUBLIC_BASE_URL": "https://site.example"}, {"API_KEYS": {"default": "key"}}]
)
def test_google_s_own_is_meant(configured: dict[str, Any], given: dict[str, Any]) -> None:
    configured |= {"PUBLIC_BASE_URL": None, "API_KEYS": {"default": None}} | given

    assert "emulator" not in {finding["name"] for finding in doctor().findings}


def test_where_debug_is_off_nothing_is_said(configured: dict[str, Any], settings: Any) -> None:
    settings.DEBUG = False
    configured |= {"PUBLIC_BASE_URL": None, "API_KEYS": {"default": None}}

    assert "emulator" not in {finding["name"] for finding in doctor().findings}
