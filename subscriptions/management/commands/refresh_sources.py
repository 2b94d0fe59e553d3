from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone
from tqdm import tqdm

from operations.management.remembered import RememberedCommand
from subscriptions.models import Source
from subscriptions.sources import refreshing
from subscriptions.sources.refreshing import Outcome, State
from subscriptions.sources.source_errors import sentence

_ROW = "{:>5}  {:<24}  {:<9}  {:>7}  {:>8}  {:>9}  {}"


class Command(RememberedCommand):
    help = (
        "Fetches all enabled sources, a few at a time, and prints a table. A source that fails keeps its servers. It "
        "can run twice at once. The exit code is 1 when a source failed, otherwise 0."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument(
            "--source", type=int, metavar="N", help="only the source with this id, at once"
        )
        which.add_argument(
            "--due",
            action="store_true",
            help="only those whose interval or pause is over; for a timer",
        )

    def handle(self, *_: Any, source: int | None, due: bool, **options: Any) -> None:
        pks = _chosen(source, due=due)
        # disable=None: a bar on a terminal, nothing in cron's mail.
        with tqdm(total=len(pks), unit=" sources", disable=None, leave=False) as bar:
            outcomes = refreshing.refresh(pks, lambda _: bar.update(), only_due=due)
        if not outcomes:
            self.stdout.write("No source is due." if due else "There is no source to fetch.")
            return
        self.stdout.write(
            _ROW.format("id", "name", "state", "servers", "left out", "ms", "").rstrip()
        )
        owners = _owners(pks)
        for outcome in outcomes:
            self.stdout.write(_row(outcome, owners.get(outcome.pk, "")))
        failed = sum(outcome.state is State.FAILED for outcome in outcomes)
        if failed:
            raise CommandError(
                f"{failed} of {len(outcomes)} sources failed; they keep the servers they had."
            )


def _chosen(source: int | None, *, due: bool) -> list[int]:
    if source is None:
        return refreshing.due(timezone.now()) if due else refreshing.enabled(timezone.now())
    if not Source.objects.filter(pk=source).exists():
        known = ", ".join(
            f"{pk} ({name})" for pk, name in Source.objects.values_list("pk", "name")[:20]
        )
        raise CommandError(f"There is no source {source}. Sources: {known or 'none yet'}.")
    return [source]


def _owners(pks: list[int]) -> dict[int, str]:
    """Names of the subscribers whose own accounts they are."""
    owned = Source.objects.filter(pk__in=pks).exclude(subscriber=None).select_related("subscriber")
    return {source.pk: _printable(str(source.subscriber)) for source in owned}


def _row(outcome: Outcome, owner: str) -> str:
    name = _printable(outcome.name)
    name = name if len(name) <= 24 else f"{name[:23]}…"
    whose = f"account of {owner}." if owner else ""
    why = sentence(outcome.error) if outcome.error else ""
    return _ROW.format(
        outcome.pk, name, outcome.state, outcome.servers, outcome.skipped, outcome.milliseconds, f"{whose} {why}".strip()
    ).rstrip()  # fmt: skip


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
