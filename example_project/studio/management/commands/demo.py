"""``manage.py demo``: the main job, end to end, watched and checked."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import time
from argparse import ArgumentParser
from contextlib import suppress
from typing import Any, NoReturn
from urllib.parse import urlsplit

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connection

from example_project.config import celery_app
from example_project.demo import environment, facts
from example_project.demo.checks import checks
from example_project.demo.errors import DemoFailed
from example_project.demo.facts import Seen, Story
from example_project.demo.jobs import Batch, forge, submit
from example_project.demo.processes import Processes
from example_project.demo.screen import Screen
from example_project.studio.models import Tenant
from gemini_webhooks import jobs, registration
from gemini_webhooks.exceptions import GeminiWebhooksError

SLUG, TENANT, LOGIN = "studio", "acme", "demo"
POLL_SECONDS = 0.1
#: For the servers to answer, which takes a busy machine long and says nothing of what is shown.
START_SECONDS = 90
#: How long something that ignores the deadline, such as a server that is silent, is put up with.
BACKSTOP_SECONDS = 15
BROKERS = {
    "filesystem": "files, no server needed",
    "amqp": "RabbitMQ",
    "redis": "Redis",
}


class Command(BaseCommand):
    """Sets up, tells the story, checks, cleans up."""

    help = "Show the main job with a local Gemini API. Exit code 0: everything is as it must be."
    # They would open the database before it exists.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--serve", action="store_true", help="leave the site running")
        parser.add_argument(
            "--deadline",
            type=float,
            default=90,
            metavar="SECONDS",
            help="give up so long after everything has started (%(default)s)",
        )

    def handle(self, *, serve: bool, deadline: float, **_: Any) -> None:
        """Run it."""
        if not environment.is_prepared():
            environment.start_anew()
        self.screen = Screen()
        signal.signal(signal.SIGTERM, _end)
        signal.signal(signal.SIGALRM, _out_of_time)
        try:
            self._run(deadline, serve=serve)
        except (DemoFailed, GeminiWebhooksError) as error:
            self.screen.failed(f"Failed. {error}")
            self.screen.setting("logs", f"{os.environ['STUDIO_DIR']}/logs")
            sys.exit(1)
        except KeyboardInterrupt:
            self.screen.failed("Interrupted.")
            sys.exit(130)

    def _give(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds
        signal.setitimer(signal.ITIMER_REAL, seconds + BACKSTOP_SECONDS)

    def _run(self, deadline: float, *, serve: bool) -> None:
        with environment.of_its_own() as folder, Processes(folder / "logs") as processes:
            try:
                self._give(START_SECONDS)
                password = self._set_up(processes)
                self._give(deadline)
                seen = self._watch(self._act(), processes)
                self._check(seen)
            except Exception:
                for name, tail in processes.tails().items():
                    self.screen.log(name, tail)
                raise
            if serve:
                self._serve(password, processes)

    def _set_up(self, processes: Processes) -> str:
        site, emulator = os.environ["PUBLIC_BASE_URL"], os.environ["GOOGLE_GEMINI_BASE_URL"]
        broker = urlsplit(celery_app.conf.broker_url).scheme
        self.screen.heading("Setting up")
        self.screen.setting("database", connection.display_name)
        self.screen.setting("broker", BROKERS.get(broker, broker))
        self.screen.setting("emulator", emulator)
        self.screen.setting("site", site)
        processes.manage(
            "emulator",
            *("gemini_emulator", "--port", str(urlsplit(emulator).port)),
            *("--job-seconds", "1", "--duplicates", "1", "--retry-base", "0.5", "--max-tries", "5"),
        )
        call_command("migrate", verbosity=0, interactive=False)
        password = secrets.token_urlsafe(9)
        user = get_user_model().objects.create_superuser(LOGIN, password=password)
        Tenant.objects.create(slug=TENANT, name=TENANT.capitalize()).members.add(user)
        processes.celery("worker", "worker", "--concurrency", "2", "--loglevel", "INFO")
        processes.manage("site", "runserver", "--noreload", urlsplit(site).netloc)
        with self.screen.busy("They start"):
            processes.wait_for(f"{emulator}/emulator/state", self.deadline)
            processes.wait_for(f"{site}/admin/login/", self.deadline)
        return password

    def _act(self) -> Story:
        self.screen.heading("What happens")
        self.screen.start_clock()
        endpoint = registration.create(SLUG)
        hint = endpoint.signing_secrets.get().hint
        self.screen.happened("registered", SLUG, f"{urlsplit(endpoint.uri).path}, secret {hint}")

        static = self._submit("static", 200, "event to the registered endpoint")
        jobs.track(static.name)

        metadata = {"tenant": TENANT}
        config = jobs.webhook_config(metadata)
        how = f"webhook_config, tenant {TENANT}, sealed"
        dynamic = self._submit("dynamic", 20, how, webhook_config=config, tenant=TENANT)
        jobs.track(dynamic.name, user_metadata=metadata)

        unsealed = {"uris": config["uris"], "user_metadata": metadata}
        how = "names our address, without our seal"
        stranger = self._submit("stranger", 2, how, webhook_config=unsealed, tenant=TENANT)

        return Story(batches=[static, dynamic], stranger=stranger, forgery=forge(endpoint.uri))

    def _submit(self, label: str, count: int, how: str, **options: Any) -> Batch:
        batch = submit(label, count, **options)
        self.screen.happened("submitted", label, f"{count} requests; {how}")
        return batch

    def _watch(self, story: Story, processes: Processes) -> Seen:
        with self.screen.watching():
            seen = facts.look(story)
            while seen.awaited() and time.monotonic() < self.deadline:
                processes.check()
                self.screen.update(seen)
                time.sleep(POLL_SECONDS)
                seen = facts.look(story)
            self.screen.update(seen, everything=True)
        return seen

    def _check(self, seen: Seen) -> None:
        done = checks(seen)
        self.screen.heading("What was checked")
        self.screen.table(done)
        missing = seen.awaited()
        if missing:
            raise DemoFailed(f"Did not come in time: {'; '.join(missing)}.")
        wrong = [check.what.strip() for check in done if not check.passed]
        if wrong:
            raise DemoFailed(f"Not as it must be: {'; '.join(wrong)}.")
        self.screen.passed(f"All {len(done)} checks passed.")

    def _serve(self, password: str, processes: Processes) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.screen.panel(
            [
                f"Studio  {os.environ['PUBLIC_BASE_URL']}/",
                f"Admin   {os.environ['PUBLIC_BASE_URL']}/admin/",
                f"Login   {LOGIN}  {password}",
                "Ctrl-C ends it and removes everything.",
            ]
        )
        with suppress(KeyboardInterrupt):
            while True:
                processes.check()
                time.sleep(POLL_SECONDS)


def _end(*_: object) -> NoReturn:
    sys.exit(143)


def _out_of_time(*_: object) -> NoReturn:
    raise DemoFailed("Something did not answer until long after the deadline.")
