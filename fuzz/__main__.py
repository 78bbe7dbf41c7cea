"""``python -m fuzz TARGET [--seconds N]``: look for input that a target does not stand."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import atheris
import django
from django.conf import settings

CORPUS = Path(__file__).parent / "corpus"


def main() -> None:
    """Fuzz one target; what it finds lies in the scratch folder afterwards."""
    settings.configure(
        SECRET_KEY="fuzz",
        INSTALLED_APPS=["gemini_webhooks"],
        CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        LOGGING_CONFIG=None,
    )
    with atheris.instrument_imports(include=["gemini_webhooks"]):
        django.setup()
        from fuzz.targets import TARGETS  # noqa: PLC0415  # imported under instrumentation

    parser = argparse.ArgumentParser(prog="fuzz")
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--scratch", type=Path, required=True, help="new inputs and finds go here")
    options = parser.parse_args()
    grown = options.scratch / options.target
    grown.mkdir(parents=True, exist_ok=True)
    atheris.Setup(
        [
            sys.argv[0],
            f"-max_total_time={options.seconds}",
            f"-artifact_prefix={options.scratch}/{options.target}-",
            "-timeout=5",
            "-max_len=65536",
            "-print_final_stats=1",
            str(grown),
            str(CORPUS / options.target),
        ],
        TARGETS[options.target],
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
