"""The command that makes tenants and people to try the studio with."""

from __future__ import annotations

import io
import json
import shlex
import sys
from pathlib import Path

import pytest
from django.core.management import call_command

from example_project.studio.models import Tenant

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_command_can_be_run_again(client):
    def run(*arguments: str) -> dict[str, str | None]:
        out = io.StringIO()
        call_command("studio", "--json", *arguments, stdout=out)
        return json.loads(out.getvalue())["passwords"]

    first = run()
    assert set(first) == {"root", "ada", "bo"}
    assert client.login(username="ada", password=first["ada"])
    assert run() == {"root": None, "ada": None, "bo": None}
    anew = run("--new-passwords")
    assert client.login(username="bo", password=anew["bo"])
    assert not client.login(username="bo", password=first["bo"])
    assert [str(tenant) for tenant in Tenant.objects.filter(members__username="root")] == [
        "Acme",
        "Globex",
    ]


def test_the_command_says_what_to_do():
    out = io.StringIO()
    call_command("studio", stdout=out)

    assert "Log in to the studio as" in out.getvalue()
    assert "sees acme" in out.getvalue()

    call_command("studio", stdout=out)
    shown = out.getvalue().splitlines()[-1].partition(": ")[2]
    python, *_, command, option = shlex.split(shown)
    assert Path(python).samefile(sys.executable)
    assert (command, option) == ("studio", "--new-passwords")
