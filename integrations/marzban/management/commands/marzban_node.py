import ctypes
import importlib.util
import signal
import threading
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from integrations.marzban import handover
from integrations.marzban.checks import check_settings
from integrations.marzban.models import PanelLink
from operations.conf import conf

# M_ARENA_MAX of glibc's malloc.h.
_ARENA_MAX = -8


class Command(BaseCommand):
    # All checks together import every page of the panel, which doubles the memory of this process.
    requires_system_checks = ()
    help = (
        "Is a node of every linked Marzban: hands external traffic over to it, and learns from it who is active. Waits for "
        "a link when there is none. Runs until SIGTERM. With --resume it ends the pause of a link instead."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--resume", metavar="NAME", help="the linked panel that was paused after a restore"
        )
        parser.add_argument(
            "--since",
            metavar="MOMENT",
            help="with --resume: hand over the hours from here on, like 2024-02-10T19:00 in XPERT_TIME_ZONE; else from now",
        )

    def handle(self, *_: Any, resume: str | None, since: str | None, **options: Any) -> None:
        if resume is not None:
            self._resume(resume, since)
            return
        if importlib.util.find_spec("grpc") is None:
            raise CommandError(
                "The package grpcio is missing: install what requirements.txt names."
            )
        for found in check_settings():
            raise CommandError(f"{found.msg} {found.hint}")
        from integrations.marzban import running  # noqa: PLC0415  needs grpcio

        _share_one_heap()
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        running.run(stopping)

    def _resume(self, name: str, since: str | None) -> None:
        link = PanelLink.objects.filter(name=name).first()
        if link is None:
            known = ", ".join(PanelLink.objects.values_list("name", flat=True))
            raise CommandError(f"There is no linked panel {name}. Linked: {known or 'none yet'}.")
        if link.state != PanelLink.State.PAUSED:
            raise CommandError(f"{name} is not paused.")
        now = timezone.now()
        begin = _moment(since, now)
        handover.resume(link, begin, now)
        self.stdout.write(f"{name} gets what was used since {begin:%Y-%m-%d %H:%M} UTC.")


def _share_one_heap() -> None:
    """By default each thread of glibc keeps a heap of its own, with all that it has freed."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option:
        set_option(_ARENA_MAX, 1)


def _moment(text: str | None, now: datetime) -> datetime:
    if text is None:
        return now
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None:
        raise CommandError(f"--since takes a moment like 2024-02-10T19:00, not {text!r}.")
    zoned = found if found.tzinfo else found.replace(tzinfo=conf.time_zone)
    if zoned > now:
        raise CommandError("--since is in the future.")
    return zoned.astimezone(timezone.get_default_timezone())
