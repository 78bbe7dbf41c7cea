"""``manage.py studio``: what there has to be before somebody can use the studio."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import sys
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand

from example_project.studio.models import Tenant

#: Name of each, and who belongs to it.
TENANTS = {"acme": ("Acme", "ada"), "globex": ("Globex", "bo")}
SUPERUSER = "root"


class Command(BaseCommand):
    """Migrates, and makes two tenants with a person each, and somebody who may see all."""

    help = "Migrate, and make tenants and people to try the studio with. May be run again."
    # They would open the database before it exists.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--new-passwords", action="store_true", help="also for those who are there already"
        )
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *, new_passwords: bool, json: bool, **_: Any) -> None:
        """Run it."""
        call_command("migrate", verbosity=0, interactive=False)
        passwords = {
            name: self._password(name, anew=new_passwords)
            for name in (SUPERUSER, *(member for _, member in TENANTS.values()))
        }
        for slug, (name, member) in TENANTS.items():
            tenant, _is_new = Tenant.objects.get_or_create(slug=slug, defaults={"name": name})
            tenant.members.add(self._user(member), self._user(SUPERUSER))
        if json:
            self.stdout.write(_as_json(passwords))
            return
        self.stdout.write("Log in to the studio as")
        for name, password in passwords.items():
            whose = [tenant for tenant, (_, member) in TENANTS.items() if member == name]
            sees = whose[0] if whose else "everything, and the admin"
            shown = password or "(as before)"
            self.stdout.write(f"  {name:<6}{shown:<30}sees {sees}")
        if None in passwords.values():
            self.stdout.write(f"For other passwords: {_this_command()} --new-passwords")

    def _user(self, name: str) -> User:
        return User.objects.get(username=name)

    def _password(self, name: str, *, anew: bool) -> str | None:
        """A new password, or ``None`` if the user keeps the one that he has."""
        is_superuser = name == SUPERUSER
        user, is_new = User.objects.get_or_create(
            username=name, defaults={"is_staff": is_superuser, "is_superuser": is_superuser}
        )
        if not (is_new or anew):
            return None
        password = secrets.token_urlsafe(9)
        user.set_password(password)
        user.save()
        return password


def _as_json(passwords: dict[str, str | None]) -> str:
    return json.dumps({"passwords": passwords})


def _this_command() -> str:
    """As it can be typed here, also where no environment is active."""
    python = min(sys.executable, os.path.relpath(sys.executable), key=len)
    return shlex.join([python, sys.argv[0], "studio"])
