from urllib.parse import unquote

import pytest

from subscriptions import links
from subscriptions.conf import LANGUAGES
from subscriptions.serving import notices
from traffic.people.quotas import State


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("state", [state for state in State if state is not State.ACTIVE])
def test_every_state_has_a_notice_that_apps_can_read(state: State, language: str) -> None:
    link = notices.link(notices.text(state, language))
    node = links.parse(link)
    assert (node.server, node.port) == ("127.0.0.1", 1)
    assert node.remark
    assert link.isascii()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_state_has_its_own_text(language: str) -> None:
    assert len({notices.text(state, language) for state in State}) == len(State)


def test_the_notice_is_in_the_panels_language() -> None:
    assert "истёк" in unquote(notices.link(notices.text("expired", "ru")))
