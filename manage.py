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
        sys.exit(f"The database cannot be used: {error}.{advice(str(error))}")


def advice(error: str) -> str:
    if "full" in error:
        return " Make room first, for example of old backups: cleanup needs some itself."
    if "disk I/O" in error:
        return " The disk is full, read-only or broken: the system's log says which."
    return ""


if __name__ == "__main__":
    main()
