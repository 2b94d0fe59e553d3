"""The loop of the bot: asks for updates (long polling), does them in order, and sends the answers."""

import logging
import threading
import time
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec
from django.db import DatabaseError, InterfaceError, close_old_connections
from django.utils import timezone

from operations.databases.transactions import write_transaction
from operations.models import Receiver
from operations.outbound.errors import OutboundError
from subscriptions.conf import LANGUAGES
from subscriptions.person_events import NAMES

from . import answers, bot_api, lease, updates
from .conf import conf
from .models import Bot

logger = logging.getLogger(__name__)
# Seconds that Telegram waits for an update before it answers with none.
_POLL = 25
_FIRST_WAIT, _LAST_WAIT = 1.0, 60.0
# After a week without updates Telegram chooses a new id. It keeps an update for a day.
_NEW_IDS = timedelta(days=6)
# Another program asks with the same token.
_TAKEN_WAIT = 30.0
_WRONG_TOKEN = frozenset({"http_401", "http_404"})


class WrongTokenError(Exception):
    """Telegram does not know the token (any more)."""


class _Me(msgspec.Struct):
    username: str = ""


def run(stopping: threading.Event) -> None:
    """Serve until ``stopping`` is set. Raises lease.HeldError, lease.LostError and WrongTokenError."""
    holder = lease.take(timezone.now())
    try:
        _Loop(holder, stopping).run()
    except bot_api.StoppedError:
        pass
    finally:
        with suppress(DatabaseError, InterfaceError):
            lease.give_back(holder)


class _Loop:
    def __init__(self, holder: str, stopping: threading.Event) -> None:
        self._holder = holder
        self._stopping = stopping
        self._is_known = False
        self._wait = _FIRST_WAIT

    def run(self) -> None:
        while not self._stopping.is_set():
            close_old_connections()
            try:
                self._turn()
                self._wait = _FIRST_WAIT
            except OutboundError as error:
                self._pause(error)
            except (DatabaseError, InterfaceError) as error:
                logger.warning("The bot cannot use the database now: %s", error)
                self._sleep(None)

    def _turn(self) -> None:
        now = timezone.now()
        lease.renew(self._holder, now)
        if not self._is_known:
            self._introduce()
        due = answers.send_due(now)
        for raw in self._updates(_patience(due, now)):
            if self._stopping.is_set():
                return
            updates.do(raw, self._holder, timezone.now())
        answers.send_due(timezone.now())

    def _introduce(self) -> None:
        """Learn the bot's name, which the page links to, and give Telegram the menu of commands."""
        me = msgspec.json.decode(self._call("getMe", {}), type=_Me)
        with write_transaction():
            Bot.objects.filter(pk=1).update(username=me.username)
        _make_receiver(me.username)
        for language in LANGUAGES:
            fields: dict[str, object] = {"commands": updates.commands(language)}
            if language != conf.language:  # that one is for everybody else
                fields["language_code"] = language
            self._call("setMyCommands", fields)
        self._is_known = True
        logger.info("The bot @%s asks for updates.", me.username)

    def _updates(self, patience: int) -> list[bytes]:
        bot = Bot.objects.get(pk=1)
        now = timezone.now()
        fields = {"timeout": patience, "allowed_updates": ["message", "callback_query"]}
        if bot.came_at is not None and bot.came_at < now - _NEW_IDS:
            self._forget_offset()
        elif bot.offset:
            fields["offset"] = bot.offset
        found = self._call("getUpdates", fields, patience)
        with write_transaction():
            Bot.objects.filter(pk=1).update(polled_at=timezone.now())
        return [bytes(raw) for raw in msgspec.json.decode(found, type=list[msgspec.Raw])]

    def _forget_offset(self) -> None:
        with write_transaction():
            Bot.objects.filter(pk=1, holder=self._holder).update(offset=0)

    def _call(self, method: str, fields: dict[str, object], wait: float = 0) -> bytes:
        return bot_api.call(method, fields, wait=wait, stopping=self._stopping)

    def _pause(self, error: OutboundError) -> None:
        if error.code in _WRONG_TOKEN:
            raise WrongTokenError from None
        if error.code == "http_409":
            logger.warning("Another program asks for updates with the bot's token.")
            self._sleep(_TAKEN_WAIT)
            return
        logger.warning("Telegram cannot be reached now: %s", error.code)
        self._sleep(error.retry_after)

    def _sleep(self, seconds: float | None) -> None:
        """``seconds``: None = twice as long as the last time. The lease is kept."""
        if seconds is None:
            seconds, self._wait = self._wait, min(self._wait * 2, _LAST_WAIT)
        ends = time.monotonic() + seconds
        while (rest := ends - time.monotonic()) > 0 and not self._stopping.is_set():
            self._stopping.wait(min(rest, _LAST_WAIT))
            with suppress(DatabaseError, InterfaceError):
                lease.renew(self._holder, timezone.now())


def _patience(due: datetime | None, now: datetime) -> int:
    """Seconds to wait for updates: no longer than until the next answer is due."""
    return _POLL if due is None else int(min(max((due - now).total_seconds(), 0), _POLL))


def _make_receiver(username: str) -> None:
    """The receiver that leads notifications to subscribers. It is made once; the operator may switch it off."""
    if conf.tell_people:
        with write_transaction():
            Receiver.objects.get_or_create(
                kind=Receiver.Kind.PEOPLE,
                defaults={"name": "Telegram", "target": f"@{username}", "events": sorted(NAMES)},
            )
