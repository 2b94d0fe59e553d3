"""Makes subscribers of the accounts of an old panel. Each step is one transaction: stopped halfway, a second run goes on."""

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
from django.db import IntegrityError
from django.utils.translation import gettext as _

from operations import audit, sealing
from operations.audit import Action, By
from operations.databases.transactions import write_transaction
from traffic.models import Correction, Subscriber
from traffic.people import corrections

from . import planning
from .accounts import Account, People
from .models import OldAccount, OldPanel
from .planning import STEP, Fate, Step, Wanted

Progress = Callable[[str, int, int], object]
"""Called with the stage, the number of finished accounts and the number of all."""


class Moved(msgspec.Struct):
    """How many accounts have which fate, and the ids of the new subscribers."""

    fates: Counter[Fate]
    subscribers: list[int]


class AnotherPanelError(Exception):
    """A panel of this kind with another secret has this name."""


def require_same(wanted: Wanted, secret: str) -> None:
    """Raises AnotherPanelError if people have moved in from another panel under this name."""
    panel = planning.panel_of(wanted)
    if panel and secret and _known_secret(panel) not in {"", secret}:
        raise AnotherPanelError


def move_in(wanted: Wanted, people: People, by: By, progress: Progress = lambda *_: None) -> Moved:
    """Make subscribers of the new accounts. Raises AnotherPanelError."""
    panel = _saved_panel(wanted, people.secret, by)
    moved = Moved(Counter(), [])
    for start in range(0, len(people.accounts), STEP):
        progress("moving in", start, len(people.accounts))
        step = _tried(wanted, panel, people.accounts[start : start + STEP], by)
        moved.fates += step.fates
        moved.subscribers += step.subscribers
    return moved


@write_transaction
def _saved_panel(wanted: Wanted, secret: str, by: By) -> OldPanel:
    require_same(wanted, secret)
    panel = planning.panel_of(wanted)
    if panel is None:
        panel = OldPanel(kind=wanted.kind, name=wanted.name, added_at=by.now)
        panel.sealed_secret = sealing.seal(secret)
        panel.save(force_insert=True)
        audit.note(Action.ADDED, panel, by)
    elif secret and not _known_secret(panel):
        panel.sealed_secret = sealing.seal(secret)
        panel.save(update_fields=["sealed_secret"])
        audit.note(Action.CHANGED, panel, by, {"sealed_secret": ("", panel.sealed_secret)})
    return panel


def _known_secret(panel: OldPanel) -> str:
    """Empty also if SECRET_KEY has changed since."""
    try:
        return panel.secret
    except sealing.CannotOpenError:
        return ""


def _tried(wanted: Wanted, panel: OldPanel, accounts: Sequence[Account], by: By) -> Moved:
    try:
        return _move_step(wanted, panel, accounts, by)
    except IntegrityError:  # another writer took a token or moved somebody in meanwhile
        return _move_step(wanted, panel, accounts, by)


@write_transaction
def _move_step(wanted: Wanted, panel: OldPanel, accounts: Sequence[Account], by: By) -> Moved:
    steps = list(planning.plan(wanted, accounts))
    new = [(step, step.subscriber) for step in steps if step.subscriber is not None]
    people = [subscriber for _step, subscriber in new]
    Subscriber.objects.bulk_create(people)
    audit.note_many(Action.ADDED, [(subscriber, {}) for subscriber in people], by)
    OldAccount.objects.bulk_create([_account(panel, step, one) for step, one in new])
    used = [_correction(panel, step.account, one) for step, one in new if _used(step.account)]
    corrections.carry_over(used, by)
    _revoke(panel, [step.account for step in steps if step.fate is Fate.MOVED])
    return Moved(Counter(step.fate for step in steps), [subscriber.pk for subscriber in people])


def _revoke(panel: OldPanel, moved: Sequence[Account]) -> None:
    """Only a database tells when links were revoked, and it may be read after the running panel."""
    revoked = {account.key: account.revoked for account in moved if account.revoked}
    known = panel.accounts.filter(key__in=revoked) if revoked else []
    late = [row for row in known if row.revoked < revoked[row.key]]
    for row in late:
        row.revoked = revoked[row.key]
    OldAccount.objects.bulk_update(late, ["revoked"])


def _account(panel: OldPanel, step: Step, subscriber: Subscriber) -> OldAccount:
    account = step.account
    return OldAccount(
        panel=panel,
        key=account.key,
        username=account.username,
        number=account.number,
        born=account.born,
        revoked=account.revoked,
        subscriber=subscriber,
    )


def _used(account: Account) -> int:
    return account.upload + account.download


def _correction(panel: OldPanel, account: Account, subscriber: Subscriber) -> Correction:
    return Correction(
        subscriber=subscriber,
        upload=account.upload,
        download=account.download,
        in_period=True,
        reason=_("Used at {panel} before moving in").format(panel=panel.name),
    )
