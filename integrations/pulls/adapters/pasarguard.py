"""PasarGuard 5: Marzban's endpoints, with API keys that can be limited to reading. Tested with written answers only."""

from . import marzban
from .asking import Access, Adapter, Conversation, Way


def _everybody(access: Access) -> Conversation:
    return marzban.users({"X-Api-Key": access.secret})


ADAPTER = Adapter(
    kind="pasarguard",
    paths=frozenset({marzban.USERS, marzban.INFO}),
    talk={Way.KEY: _everybody, Way.LINK: marzban.person},
)
