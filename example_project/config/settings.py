"""Settings, from the environment where there is something to choose.

=====================================  ==========================================================
``STUDIO_DIR``                         folder for everything that is written; ``.demo`` by default
``SECRET_KEY``                         by default random, and kept in that folder
``DEBUG``, ``ALLOWED_HOSTS``           ``1`` (the default) or ``0``; names, with commas
``DATABASE_URL``                       SQLite in that folder by default
``CELERY_BROKER_URL``                  files in that folder by default: no server needed
``CELERY_QUEUE``                       name of the default queue
``PUBLIC_BASE_URL``                    where Google reaches this site
``GEMINI_WEBHOOKS_EMULATOR_SITE``      the same, set by ``runserver --with-emulator``
``GEMINI_API_KEY``                     key of the Gemini API
``GOOGLE_GEMINI_BASE_URL``             another Gemini API than Google's, such as the emulator
``STORAGE_EMULATOR_HOST``              its Cloud Storage
``GEMINI_WEBHOOKS_SIGNING_SECRETS``    ``whsec_…`` secrets of the root endpoint, with commas
``GEMINI_WEBHOOKS_AUDIENCES``          by default the address of the root endpoint
``GEMINI_WEBHOOKS_ALLOWED_BUCKETS``    by default the emulator's, if its storage is in use
``STUDIO_MODEL``                       for batches and interactions; ``gemini-2.5-flash``
``STUDIO_VIDEO_MODEL``                 ``veo-3.1-generate-preview``
``STUDIO_QUEUES``                      tenants with a queue of their own, with commas; none
``STUDIO_RETRY_SECONDS``               pause before a failed batch's second try, 10; then doubled
``STUDIO_ON_CALL``                     who is sent an e-mail when a batch fails
``STUDIO_CHAT_WEBHOOK_URL``            incoming webhook of a chat channel; a secret
``EMAIL_HOST``, ``EMAIL_PORT``         of a mail server; e-mails are printed by default
=====================================  ==========================================================
"""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import dj_database_url

PROJECT = Path(__file__).resolve().parent.parent
SCRATCH = Path(os.environ.get("STUDIO_DIR") or PROJECT.parent / ".demo").resolve()
SCRATCH.mkdir(parents=True, exist_ok=True)


def _listed(name: str, default: list[str]) -> list[str]:
    value = os.environ.get(name)
    return default if value is None else [item for item in value.split(",") if item]


def _kept_secret_key() -> str:
    """A random key, written down so that the site's processes agree on it."""
    path = SCRATCH / "secret_key"
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=SCRATCH) as made:
            made.write(secrets.token_urlsafe(50))
            made.flush()
            # Appears whole or not at all; of several processes, one wins.
            with suppress(FileExistsError):
                os.link(made.name, path)
    return path.read_text()


PUBLIC_BASE_URL = (
    os.environ.get("PUBLIC_BASE_URL")
    or os.environ.get("GEMINI_WEBHOOKS_EMULATOR_SITE")
    or "http://127.0.0.1:8000"
)
SECRET_KEY = os.environ.get("SECRET_KEY") or _kept_secret_key()
DEBUG = os.environ.get("DEBUG", "1") == "1"
ALLOWED_HOSTS = _listed("ALLOWED_HOSTS", ["127.0.0.1", "localhost"])
ROOT_URLCONF = "example_project.config.urls"
WSGI_APPLICATION = "example_project.config.wsgi.application"
USE_TZ = True
TIME_ZONE = "UTC"
# A proxy or tunnel takes the TLS off; forms come from where Google comes.
CSRF_TRUSTED_ORIGINS = [PUBLIC_BASE_URL]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "studio:home"
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # nothing has to be collected before
MEDIA_ROOT = SCRATCH / "media"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "gemini_webhooks",
    "example_project.studio",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "example_project.studio.middleware.whole_page_to_log_in",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
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


def _database() -> dict[str, Any]:
    url = os.environ.get("DATABASE_URL") or f"sqlite:///{SCRATCH / 'db.sqlite3'}"
    database: dict[str, Any] = {**dj_database_url.parse(url)}
    if database["ENGINE"] == "django.db.backends.sqlite3":
        database["OPTIONS"] = {
            "timeout": 20,
            # A transaction that may write waits for its turn at its start; an upgrade later on
            # would fail at once when another process was faster.
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL",
        }
        # A file, not memory: a browser's requests have connections of their own.
        database["TEST"] = {"NAME": SCRATCH / "test.sqlite3"}
    if database["ENGINE"] == "django.db.backends.mysql":
        pymysql: Any = import_module("pymysql")
        # Django asks for mysqlclient, which needs a compiler; PyMySQL speaks the same protocol.
        pymysql.version_info = (2, 2, 8, "final", 0)
        pymysql.install_as_MySQLdb()
    return database


DATABASES = {"default": _database()}

# httpx writes a line with the address of each request, and the chat channel's is a secret.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {"httpx": {"level": "WARNING"}},
}
DEFAULT_FROM_EMAIL = "studio@studio.example"
if os.environ.get("EMAIL_HOST"):
    EMAIL_HOST = os.environ["EMAIL_HOST"]
    EMAIL_PORT = int(os.environ.get("EMAIL_PORT") or 25)
else:
    EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"

CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL") or "filesystem://"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_DEFAULT_QUEUE = os.environ.get("CELERY_QUEUE") or "celery"
CELERY_TASK_IGNORE_RESULT = True
if CELERY_BROKER_URL.startswith("filesystem:"):
    for folder in ("messages", "control"):
        (SCRATCH / "broker" / folder).mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(SCRATCH / "broker" / "messages"),
        "data_folder_out": str(SCRATCH / "broker" / "messages"),
        "control_folder": str(SCRATCH / "broker" / "control"),
        "polling_interval": 0.05,
    }

GEMINI_WEBHOOKS: dict[str, Any] = {
    "SIGNING_SECRETS": _listed("GEMINI_WEBHOOKS_SIGNING_SECRETS", []),
    "PUBLIC_BASE_URL": PUBLIC_BASE_URL,
    "AUDIENCES": _listed("GEMINI_WEBHOOKS_AUDIENCES", [f"{PUBLIC_BASE_URL}/webhooks/gemini/"]),
    "ALLOWED_BUCKETS": _listed(
        "GEMINI_WEBHOOKS_ALLOWED_BUCKETS",
        ["gemini-emulator"] if os.environ.get("STORAGE_EMULATOR_HOST") else [],
    ),
    "QUEUE_ROUTER": "example_project.studio.queues.of_tenant",
}
if _api := os.environ.get("GOOGLE_GEMINI_BASE_URL"):
    GEMINI_WEBHOOKS["JWKS_URL"] = f"{_api}/.well-known/jwks.json"

STUDIO_MODEL = os.environ.get("STUDIO_MODEL") or "gemini-2.5-flash"
STUDIO_VIDEO_MODEL = os.environ.get("STUDIO_VIDEO_MODEL") or "veo-3.1-generate-preview"
STUDIO_QUEUES = _listed("STUDIO_QUEUES", [])
STUDIO_RETRY_SECONDS = float(os.environ.get("STUDIO_RETRY_SECONDS") or 10)
STUDIO_ON_CALL = os.environ.get("STUDIO_ON_CALL") or "on-call@studio.example"
# The name keeps it out of Django's debug pages.
STUDIO_CHAT_SECRET_URL = os.environ.get("STUDIO_CHAT_WEBHOOK_URL") or ""
