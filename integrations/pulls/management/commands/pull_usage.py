from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone
from tqdm import tqdm

from integrations.pulls import pulling
from integrations.pulls.models import Panel
from integrations.pulls.pull_errors import sentence
from integrations.pulls.pulling import Outcome, State
from operations.formatting import written_size
from operations.management.remembered import RememberedCommand

_ROW = "{:>5}  {:<24}  {:<7}  {:>7}  {:>7}  {:>11}  {:>11}  {:>7}  {}"


class Command(RememberedCommand):
    help = (
        "Reads what people have used on other panels (3x-ui, Marzban, PasarGuard, Marzneshin, Remnawave, Hiddify), books "
        "what has grown since the last reading, and prints a table of it. The first reading of an account only remembers "
        "its figures. It can run twice at once. The exit code is 1 when a panel could not be read, otherwise 0."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument(
            "--panel", type=int, metavar="N", help="only the panel with this id, at once"
        )
        which.add_argument(
            "--due",
            action="store_true",
            help="only those whose interval or pause is over; for a timer",
        )

    def handle(self, *_: Any, panel: int | None, due: bool, **options: Any) -> None:
        pks = _chosen(panel, due=due)
        # disable=None: a bar on a terminal, nothing in cron's mail.
        with tqdm(total=len(pks), unit=" panels", disable=None, leave=False) as bar:
            outcomes = pulling.pull(pks, lambda _: bar.update(), only_due=due)
        if not outcomes:
            self.stdout.write("No panel is due." if due else "There is no panel to read.")
            return
        heads = ("id", "name", "state", "people", "grew", "upload", "download", "ms", "")
        self.stdout.write(_ROW.format(*heads).rstrip())
        for outcome in outcomes:
            self.stdout.write(_row(outcome))
        failed = sum(outcome.state is State.FAILED for outcome in outcomes)
        if failed:
            raise CommandError(
                f"{failed} of {len(outcomes)} panels could not be read; the next reading goes on from the last good one."
            )


def _chosen(panel: int | None, *, due: bool) -> list[int]:
    if panel is None:
        return pulling.due(timezone.now()) if due else pulling.enabled()
    if not Panel.objects.filter(pk=panel).exists():
        known = ", ".join(
            f"{pk} ({name})" for pk, name in Panel.objects.values_list("pk", "name")[:20]
        )
        raise CommandError(f"There is no panel {panel}. Panels: {known or 'none yet'}.")
    return [panel]


def _row(outcome: Outcome) -> str:
    name = "".join(letter if letter.isprintable() else "?" for letter in outcome.name)
    name = name if len(name) <= 24 else f"{name[:23]}…"
    why = sentence(outcome.error) if outcome.error else ""
    return _ROW.format(
        outcome.pk,
        name,
        outcome.state,
        outcome.people,
        outcome.grew,
        written_size(outcome.upload),
        written_size(outcome.download),
        outcome.milliseconds,
        why,
    ).rstrip()
