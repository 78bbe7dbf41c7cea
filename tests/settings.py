"""Settings of the test site: SQLite as default, every server that answers as further alias."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

import dj_database_url
import pymysql

from tests import servers

# Django asks for mysqlclient, which needs a compiler; PyMySQL speaks the same protocol.
pymysql.version_info = (2, 2, 8, "final", 0)
pymysql.install_as_MySQLdb()

SCRATCH = Path(tempfile.gettempdir()) / f"gemini-webhooks-tests-{os.getuid()}-{os.getpid()}"
SCRATCH.mkdir(parents=True, exist_ok=True)
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)


def of_the_extra_api() -> list[str]:
    """The apps that the extra [api] brings, where it is installed."""
    try:
        return [app for app in ("rest_framework", "drf_spectacular") if find_spec(app)]
    except ModuleNotFoundError:  # a test that takes libraries away
        return []


SECRET_KEY = "tests-only-" + "k" * 50
DEBUG = False
ALLOWED_HOSTS = ["*"]
# A safe one takes half a second for each user of a test.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
USE_TZ = os.environ.get("TEST_USE_TZ", "1") == "1"
TIME_ZONE = "Europe/Berlin"
ROOT_URLCONF = "tests.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "gemini_webhooks",
    "tests.site",
    *of_the_extra_api(),
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
STATIC_URL = "/static/"
MEDIA_ROOT = SCRATCH / "media"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": SCRATCH / "db.sqlite3",
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL",
        },
        # A file, not memory: the concurrency tests use several connections.
        "TEST": {"NAME": SCRATCH / "test.sqlite3"},
    },
}
for alias in ("postgres", "mariadb"):
    if servers.missing(alias) is None:
        DATABASES[alias] = dj_database_url.parse(servers.URLS[alias])
        DATABASES[alias]["TEST"] = {
            "NAME": f"gemini_webhooks_test_{os.getpid()}",
            "DEPENDENCIES": [],
        }
DATABASE_ROUTERS = ["tests.site.routers.ActiveAlias"]
CELERY_BROKER_URL = "memory://"

GEMINI_WEBHOOKS = {}
