from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from operations.findings import Level
from operations.watch import doctor


class Command(BaseCommand):
    help = (
        "Reports what is wrong with this installation and what to do. Exit code: 0 = all is well, 1 = something needs "
        "attention, 2 = something is broken."
    )
    # The command itself reports errors in the settings.
    requires_system_checks = []
    _marks = {Level.OK: "ok", Level.WARNING: "warning", Level.ERROR: "ERROR"}

    def handle(self, *_: Any, **options: Any) -> None:
        found = doctor.examine(timezone.now())
        styles = {
            Level.OK: self.style.SUCCESS,
            Level.WARNING: self.style.WARNING,
            Level.ERROR: self.style.ERROR,
        }
        for finding in found:
            mark = styles[finding.level](f"{self._marks[finding.level]:7}")
            sentence = " ".join(
                part for part in (f"{finding.subject}: {finding.message}", finding.advice) if part
            )
            self.stdout.write(f"{mark} {sentence}")
        if worst := max(finding.level for finding in found):
            raise SystemExit(int(worst))
