"""``telegram_bot`` under kill -9 at random moments: no update is lost, and none is acted on twice."""

import json
import random
import time
from collections.abc import Callable, Iterator

import pytest

from tests.commands import Here
from tests.integrations.telegram.bot_api import TOKEN, BotApi, bot_api
from tests.test_crash import PATIENCE, REPOSITORY, database  # noqa: F401  a fixture

pytestmark = pytest.mark.slow
KILLS = 20
PEOPLE = 10
CHAT = 7
# An operator presses buttons; each switches one person off or on, which is an entry in the history.
SETUP = f"""
from django.contrib.auth.models import User
from django.utils import timezone
from integrations.telegram import codes
from operations.databases.transactions import write_transaction
from traffic.models import Subscriber
Subscriber.objects.bulk_create(Subscriber(pk=pk, name=f"p{{pk}}") for pk in range(1, {PEOPLE} + 1))
eve = User.objects.create_superuser("eve")
code = codes.for_user(eve, "en", timezone.now())
with write_transaction():
    codes.redeem(code, {CHAT}, timezone.now())
"""
DONE = """
import json
from operations.models import AuditEntry
from integrations.telegram.models import Answer, Bot
rows = AuditEntry.objects.filter(author="eve (Telegram)").order_by("id")
print(json.dumps({
    "did": [[row.action, row.target_id] for row in rows],
    "waits": Answer.objects.count(),
    "offset": Bot.objects.get().offset,
}))
"""


@pytest.fixture
def api() -> Iterator[BotApi]:
    with bot_api() as found:
        found.patience = 5
        yield found


def test_nothing_is_lost_or_done_twice_whenever_it_is_killed(
    database: dict[str, str],  # noqa: F811
    api: BotApi,
) -> None:
    here, draw = (
        Here(database, XPERT_TELEGRAM_TOKEN=TOKEN, XPERT_TELEGRAM_URL=api.url),
        random.Random(7),
    )
    here.run("migrate", "-v0")
    here.run("shell", "-v0", "-c", SETUP)
    # What somebody presses, in this order, while the bot dies again and again.
    asked: list[tuple[str, int]] = []
    cut_off = 0
    for _ in range(KILLS):
        _press(api, asked, draw)
        cut_off += _killed(here, api, draw)
    _until_done(here, api)
    did = json.loads(here.run("shell", "-v0", "-c", DONE))
    assert did["did"] == [list(one) for one in asked]
    assert (did["waits"], did["offset"]) == (0, api.number + 1)
    # Each press gets its reply. A reply may come twice if the bot dies before it has noted that it was sent.
    replies = len(api.of("answerCallbackQuery"))
    assert len(asked) <= replies <= len(asked) + KILLS
    assert cut_off >= KILLS // 4


def _press(api: BotApi, asked: list[tuple[str, int]], draw: random.Random) -> None:
    """Switch some people over."""
    for pk in draw.sample(range(1, PEOPLE + 1), 6):
        is_off = sum(one[1] == pk for one in asked) % 2
        asked.append(("switched on" if is_off else "switched off", pk))
        api.presses(f"{'on' if is_off else 'off'}!:{pk}", CHAT)


def _killed(here: Here, api: BotApi, draw: random.Random) -> bool:
    """Kill it some milliseconds after it has asked for updates; whether some were not confirmed by then."""
    before = len(api.of("getUpdates"))
    process = here.begin("telegram_bot")
    try:
        _wait(lambda: len(api.of("getUpdates")) > before)
        time.sleep(draw.uniform(0, 0.2))
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)
    return bool(api.waiting)


def _until_done(here: Here, api: BotApi) -> None:
    process = here.begin("telegram_bot")
    try:
        # It confirms the last update with its next question.
        _wait(lambda: bool(api.offsets) and api.offsets[-1] > api.number)
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output


def _wait(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)
