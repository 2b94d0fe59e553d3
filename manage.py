#!/usr/bin/env python
import os
import sys


def main() -> None:
    # What a command creates is readable by its owner only: the database holds tokens, whichever command makes it first.
    os.umask(0o077)
    is_node = sys.argv[1:2] == ["marzban_node"]
    settings = "xpert_panel.node_settings" if is_node else "xpert_panel.settings"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings)
    try:
        from django.core.management import execute_from_command_line  # noqa: PLC0415
    except ImportError:
        sys.exit(
            "Django is not installed here. Run script/server first, then use .venv/bin/python manage.py."
        )
    from django.db import OperationalError  # noqa: PLC0415

    try:
        execute_from_command_line(sys.argv)
    except OperationalError as error:
        advice = " Make room first, for example of old backups: cleanup needs some itself."
        is_full = "full" in str(error)
        sys.exit(f"The database cannot be used: {error}.{advice if is_full else ''}")


if __name__ == "__main__":
    main()
