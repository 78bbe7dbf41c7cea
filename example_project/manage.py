"""Django's command line for the example site."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Run a management command."""
    # Modules are imported as ``example_project.…``, whichever directory this is called from.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.config.settings")
    from django.core.management import execute_from_command_line  # noqa: PLC0415  # needs the path

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
