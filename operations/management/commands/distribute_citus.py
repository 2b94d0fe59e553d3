from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from operations import distribution
from operations.databases import citus
from operations.databases.citus import Place
from operations.distribution import MAX_SHARDS, SHARDS, DistributionError, Step
from operations.formatting import written_size


class Command(BaseCommand):
    help = (
        "Spreads the tables over the nodes of a Citus cluster, in one transaction. Stop the panel first; run it again "
        "after each update, for the tables that came with it. There is no way back in place: copy_traffic --to an empty "
        "plain database is the way back (docs/scaling.md)."
    )
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="only print what it would do; the panel may run"
        )
        parser.add_argument(
            "--shards",
            type=int,
            metavar="N",
            help=f"into how many parts, only the first time; default: {SHARDS}, for as many nodes at most",
        )

    def handle(self, *_: Any, dry_run: bool, shards: int | None, **options: Any) -> None:
        if shards is not None and not 1 <= shards <= MAX_SHARDS:
            raise CommandError(f"--shards takes a whole number from 1 to {MAX_SHARDS}.")
        try:
            distribution.refuse_unready(shards)
            todo = distribution.steps(shards or distribution.shards_now() or None)
            if dry_run:
                self._describe(todo, shards or distribution.shards_now() or SHARDS)
                return
            if not todo and not distribution.unsettled():
                self.stdout.write("Nothing to do.")
                return
            distribution.refuse_company()
            distribution.distribute(todo, self.stdout.write)
        except DistributionError as error:
            raise CommandError(f"Nothing was changed: {error}") from None
        self.stdout.write(f"Distributed {len(todo)} tables. Now check them: check_traffic.")

    def _describe(self, todo: list[Step], shards: int) -> None:
        version = ".".join(map(str, citus.version()))
        here = [node.address for node in citus.nodes() if node.is_here]
        workers = [node.address for node in citus.nodes() if not node.is_here]
        self.stdout.write(
            f"Citus {version}: coordinator {', '.join(here)}, workers {', '.join(workers)}."
        )
        for table in distribution.tables():
            rows = f"{table.rows:>13,} rows, {written_size(table.size)}"
            into = f", in {shards} shards" if table.place is Place.SPREAD else ""
            self.stdout.write(f"{table.name:<25} {table.place.value:<25} {rows}{into}")
        self.stdout.write(f"{distribution.others()} other tables stay here, unknown to Citus.")
        if not todo:
            self.stdout.write("Nothing to do.")
            return
        self.stdout.write("Would run, in one transaction:")
        for step in todo:
            self.stdout.write(f"  {step.sql};")
        self.stdout.write(
            "Nothing was changed. Stop the panel and run it without --dry-run; writes wait meanwhile. "
            "There is no way back in place: copy_traffic."
        )
