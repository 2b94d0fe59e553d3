"""Counters of rate limits in Redis: many are asked for at once, under the names that Django's cache uses."""

from typing import Any

import pytest
from django.core.cache.backends.redis import RedisCache

from operations import caches


class Server:
    """As much of Redis as counters need. ``requests``: the number of counters in each transaction."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.lives: dict[str, int] = {}
        self.requests: list[int] = []
        self._waiting: list[tuple[str, Any]] = []

    def get_client(self, *, write: bool) -> "Server":
        assert write
        return self

    def pipeline(self) -> "Server":
        return self

    def set(self, name: str, value: int, *, ex: int, nx: bool) -> None:
        assert nx
        self._waiting.append((name, (value, ex)))

    def incrby(self, name: str, amount: int) -> None:
        self._waiting.append((name, amount))

    def execute(self) -> list[Any]:
        waiting, self._waiting = self._waiting, []
        self.requests.append(len(waiting) // 2)
        return [self._done(name, what) for name, what in waiting]

    def _done(self, name: str, what: Any) -> Any:
        if isinstance(what, int):
            self.values[name] += what
            return self.values[name]
        if name in self.values:
            return None
        self.values[name], self.lives[name] = what
        return True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    backend = RedisCache("redis://127.0.0.1:1/0", {"KEY_PREFIX": "panel"})
    monkeypatch.setattr(backend, "_cache", server)
    monkeypatch.setattr(caches, "caches", {"default": backend})
    return server


def test_a_counter_begins_at_0_and_goes_on(server: Server) -> None:
    assert caches.count_up({"a": 2, "b": 1}, 60) == {"a": 2, "b": 1}
    assert caches.count_up({"a": 3, "c": -1}, 120) == {"a": 5, "c": -1}
    assert server.values == {"panel:1:a": 5, "panel:1:b": 1, "panel:1:c": -1}
    assert server.lives == {"panel:1:a": 60, "panel:1:b": 60, "panel:1:c": 120}


@pytest.mark.parametrize(
    ("counters", "requests"), [(0, []), (1, [1]), (500, [500]), (501, [500, 1]), (1200, [500, 500, 200])]
)  # fmt: skip
def test_many_counters_take_few_requests(
    server: Server, counters: int, requests: list[int]
) -> None:
    assert len(caches.count_up({str(number): 1 for number in range(counters)}, 60)) == counters
    assert server.requests == requests
