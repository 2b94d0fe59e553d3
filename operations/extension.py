"""The registry of what each app adds to the panel: one ``Extension`` per app, registered in ``AppConfig.ready``."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.utils.functional import Promise
from prometheus_client.metrics_core import Metric

from .databases.citus import Place
from .events import Kind
from .findings import Condition, Watch
from .metering import Meter
from .wording import Words

Figures = dict[str, Any]


class Card(msgspec.Struct, frozen=True):
    """A card of the first screen, for users with ``permission``.

    ``figures`` takes the current time and returns the context of ``template``.
    """

    permission: str
    template: str
    figures: Callable[[datetime], Figures]


class Concern(msgspec.Struct, frozen=True):
    """Something that operators look after, for users with ``permission``.

    ``count`` returns how many there are now; ``text`` takes that number. ``place``: ``route?query`` of the list in the
    admin that shows them.
    """

    permission: str
    place: str
    count: Callable[[datetime], int]
    text: Callable[[int], str]


class Proof(msgspec.Struct, frozen=True):
    """How an app proves that its sums agree.

    ``steps`` returns the number of steps. ``count`` takes a function to call with the number of steps done since
    the last call, and returns how many sums disagree.
    """

    steps: Callable[[], int]
    count: Callable[[Callable[[int], object]], int]


class Bearer(msgspec.Struct, frozen=True):
    """Somebody whom an app knows by a bearer token that is not an API key.

    ``name``: for the audit trail. ``scope``: what an API key of that scope may do; "" = nothing, and ``refusal`` says why.
    """

    name: str
    scope: str
    refusal: str = ""


class KeyOption(msgspec.Struct, frozen=True, kw_only=True):
    """A choice that people make when they create an API key. It can be changed later only if ``is_changeable``.

    ``name``: in ``ApiKey.options``, and of the option of ``create_api_key``. ``choices``: the value and its text; without
    them any text that ``clean`` returns. It raises ValueError with a sentence for people. ``offered``: the same as
    ``choices``, but any number may be chosen; the option holds their values, separated by commas.

    ``is_limit``: it narrows what a key may do, and is offered for keys of every scope, not only for those that report.
    Such a key opens only endpoints that declare the name in their ``limits``. ``people``: takes the value and ids of
    subscribers, and returns those that the key may report about.
    """

    name: str
    label: str | Promise
    help_text: str | Promise
    choices: tuple[tuple[str, str | Promise], ...] = ()
    clean: Callable[[str], str] = str
    default: str = ""
    is_changeable: bool = False
    offered: Callable[[], Sequence[tuple[str, str]]] | None = None
    is_limit: bool = False
    people: Callable[[str, Collection[int]], set[int]] | None = None

    def text(self, value: str) -> str:
        """The value for people."""
        texts = dict(self.offered() if self.offered else self.choices)
        if not texts:
            return value
        return ", ".join(str(texts[part]) for part in value.split(",") if part in texts)


class Extension(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one app adds. Each field is optional.

    Rows: ``cleanup``: functions by name that delete old rows and return their number. ``erase``: functions by name
    that take a subscriber's id, delete what the app stores about them and return the number of rows.
    ``proofs``: prove that the sums of a backup agree. ``backup_summary``: describes a backup in words, from its
    totals by table or ``table.column``.

    ``places``: where the rows of each model are on Citus, by its class name. Those that are spread come in the order in
    which a report writes them; the first decides which subscribers share a node.

    Watch: ``conditions``: finders of conditions. ``words``: the line of ``doctor`` by the code of a condition.
    ``events``: kinds of events. ``gauges``: made from the conditions that were found; they must be cheap, because
    every scrape of ``/metrics`` calls them. ``cards``: by name. ``concerns``: what the first screen counts.
    ``settled_in``: ``route?query`` of the list in the admin that settles a condition, by its code. ``commands``:
    commands that a timer should start, and the time without a run after which each is overdue.

    ``channels``: how notifications go to receivers of the app's own kind (``operations.notifications.channels.Channel``).

    Access: ``bearer``: the holder of a bearer token that is not an API key; None when it is not of the app's kind. May raise
    an APIException of DRF instead. ``own_token``: the token under which the panel knows the subscriber whom a token of
    another program names; None when it names nobody. Raises OutboundError when that program does not say.
    ``key_options``: choices for new API keys. ``meter``: what the bound key with this id may report; None when the key is not of the app.
    ``linked_panels``: the URLs of panels whose traffic is handed over, so that they must not be read as well.
    ``reads_account``: whether the app counts the account of this subscriber (id) with this subscription URL already.

    Subscribers: ``page_part``: takes the view of a subscriber's page and returns a section of it as HTML, "" for none.
    ``plan_applied``: takes locked subscribers and the plan that they get, changes what the app stores about
    them, and returns the changes by id. ``token_replaced``: takes the old tokens of subscribers (ids) who have new ones
    now, inside the transaction that replaces them.

    Admin: ``admin``: the dotted path of the app's ``AdminPages`` (``operations.admin.pages``) by the kind of a model
    (``app.model``). They are loaded when the admin asks for them.

    Log: ``harmless``: query parameters whose values may be shown if the function says so. ``subject_names``:
    parameters that identify the subject of a request by a secret. ``open_parts`` (named parts of routes) and
    ``path_words`` (parts of paths) are never secrets.
    """

    name: str
    cleanup: Mapping[str, Callable[[datetime], int]] = {}
    erase: Mapping[str, Callable[[int], int]] = {}
    proofs: tuple[Proof, ...] = ()
    backup_summary: Callable[[Mapping[str, int]], str] | None = None
    places: Mapping[str, Place] = {}
    conditions: tuple[Watch, ...] = ()
    words: Mapping[str, Words] = {}
    events: tuple[Kind, ...] = ()
    gauges: Callable[[Sequence[Condition]], Iterable[Metric]] | None = None
    cards: Mapping[str, Card] = {}
    concerns: tuple[Concern, ...] = ()
    settled_in: Mapping[str, str] = {}
    commands: Callable[[], Mapping[str, timedelta]] | None = None
    channels: Mapping[str, Any] = {}
    bearer: Callable[[str], Bearer | None] | None = None
    own_token: Callable[[str], str | None] | None = None
    key_options: tuple[KeyOption, ...] = ()
    meter: Callable[[int], Meter | None] | None = None
    linked_panels: Callable[[], Iterable[str]] | None = None
    reads_account: Callable[[str, int], bool] | None = None
    page_part: Callable[[Any], str] | None = None
    plan_applied: Callable[[Sequence[Any], Any], Mapping[int, Any]] | None = None
    token_replaced: Callable[[Mapping[int, str]], object] | None = None
    admin: Mapping[str, str] = {}
    harmless: Mapping[str, Callable[[str], object]] = {}
    subject_names: frozenset[str] = frozenset()
    open_parts: frozenset[str] = frozenset()
    path_words: frozenset[str] = frozenset()


_registered: dict[str, Extension] = {}


def register(extension: Extension) -> None:
    """A second extension with the same name replaces the first."""
    _registered[extension.name] = extension


def extensions() -> Iterator[Extension]:
    """In the order of INSTALLED_APPS."""
    return iter(tuple(_registered.values()))


def key_options() -> list[KeyOption]:
    """The choices that all apps offer for new API keys."""
    return [option for extension in extensions() for option in extension.key_options]


def as_stored(chosen: Mapping[str, str]) -> dict[str, str]:
    """Options as a key keeps them: without the texts that nobody has given."""
    return {
        option.name: chosen[option.name] or option.default
        for option in key_options()
        if option.name in chosen and (chosen[option.name] or option.choices)
    }


def limits_of(options: Mapping[str, str]) -> frozenset[str]:
    """Names of the options that narrow what a key with these options may do."""
    limits = (option.name for option in key_options() if option.is_limit)
    return frozenset(name for name in limits if options.get(name))


def people_within(options: Mapping[str, str], subscribers: Collection[int]) -> set[int]:
    """Those of these subscribers (ids) that a key with these options may report about."""
    allowed = set(subscribers)
    for option in key_options():
        if option.people is not None and (value := options.get(option.name)):
            allowed &= option.people(value, allowed)
    return allowed


def is_account_read(url: str, subscriber: int) -> bool:
    """Whether an app counts this subscriber's account with this subscription URL already."""
    asked = (extension.reads_account for extension in extensions() if extension.reads_account)
    return any(reads(url, subscriber) for reads in asked)


def meter_of(key: int) -> Meter | None:
    """What this bound key may report; None when no app lets it report."""
    asked = (extension.meter(key) for extension in extensions() if extension.meter)
    return next((meter for meter in asked if meter is not None), None)
