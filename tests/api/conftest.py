"""A site that has included the API, the rows that it shows, and the people who ask."""

from __future__ import annotations

from base64 import b64encode

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

PREFIX = "/api/gemini/"
EVERYTHING = (
    *(
        f"view_{model}"
        for model in (
            "webhookdelivery",
            "receiverrun",
            "attempt",
            "resultfile",
            "rejectedrequest",
            "webhookendpoint",
            "replay",
        )
    ),
    "view_payload",
    "replay_webhookdelivery",
)


@pytest.fixture(autouse=True)
def _site(settings, tmp_path):
    settings.ROOT_URLCONF = "tests.api.urls"
    settings.MEDIA_ROOT = tmp_path
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


class Asker(Client):
    """Somebody with exactly these permissions, who logs in with each request."""

    def __init__(self, *permissions: str, name: str = "ada") -> None:
        self.user = get_user_model().objects.create_user(name, password="secret")
        found = Permission.objects.filter(
            content_type__app_label="gemini_webhooks", codename__in=permissions
        )
        assert len(found) == len(permissions), permissions
        self.user.user_permissions.set(found)
        super().__init__(headers={"authorization": self.authorization})

    @property
    def authorization(self) -> str:
        return "Basic " + b64encode(f"{self.user.get_username()}:secret".encode()).decode()

    def read(self, address: str = "", expected: int = 200, **parameters):
        """What is answered to a GET."""
        answer = self.get(f"{PREFIX}{address}", parameters)
        assert answer.status_code == expected, answer.content
        return answer.json()

    def send(self, address: str, body=None, expected: int = 200):
        """What is answered to a POST."""
        answer = self.post(f"{PREFIX}{address}", body or {}, content_type="application/json")
        assert answer.status_code == expected, answer.content
        return answer.json()


@pytest.fixture
def make_asker():
    """Makes people, once there is a database."""
    return Asker


@pytest.fixture
def asker(db):
    """Somebody who may do everything that the API offers."""
    return Asker(*EVERYTHING)
