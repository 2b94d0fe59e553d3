"""Shared by the works of one transaction: people and servers are looked up once, and ``Told`` is written once."""

from collections.abc import Iterable, Mapping, Set
from datetime import datetime

from operations import rate_limits
from operations.conf import Rate

from . import lookup, next_plans, rollups
from .lookup import Endpoint
from .rollups import FoundServer, FoundSubscriber, ToldKey, ToldSums


class NewServers:
    """Decides who may name unknown servers. A decision stays the same if the transaction is repeated."""

    def __init__(self) -> None:
        self._allowed: set[tuple[str, Endpoint]] = set()
        self._refused: set[str] = set()

    def allows(self, token: str, endpoint: Endpoint, rate: Rate | None) -> bool:
        if (token, endpoint) in self._allowed:
            return True
        if token in self._refused:
            return False
        if rate_limits.spend("new-servers", token, rate) is None:
            self._allowed.add((token, endpoint))
            return True
        self._refused.add(token)
        return False


class Desk:
    """``create``: unknown tokens become subscribers (open access)."""

    def __init__(self, now: datetime, new_servers: NewServers, *, create: bool) -> None:
        self.now = now
        self.new_servers = new_servers
        self._create = create
        self._asked: set[str] = set()
        self._people: dict[str, FoundSubscriber] = {}
        self._servers: dict[Endpoint, int] = {}
        self._limited: set[int] = set()
        self._told: dict[ToldKey, ToldSums] = {}

    def people(self, tokens: Iterable[str]) -> Mapping[str, FoundSubscriber]:
        """The known subscribers by token, at least those of ``tokens``."""
        new = set(tokens) - self._asked
        if new:
            self._asked |= new
            self._people |= self._found(new)
            if self._create and (missing := new - self._people.keys()):
                self._people |= lookup.create_subscribers(missing)
        return self._people

    def _found(self, tokens: Set[str]) -> Mapping[str, FoundSubscriber]:
        """A plan that was bought ahead begins before anything is counted, if the term has ended.

        Those who have one are looked up again in any case, because another writer may have begun it meanwhile.
        """
        found = lookup.subscribers_by_token(tokens)
        if waiting := {known.id for known in found.values() if known.has_next}:
            next_plans.begin(waiting, self.now)
            found = lookup.subscribers_by_token(tokens)
        return found

    def servers(self, endpoints: Iterable[Endpoint]) -> Mapping[Endpoint, int]:
        """Their ids, at least those of ``endpoints`` that are known."""
        if new := set(endpoints) - self._servers.keys():
            self._know(lookup.servers_by_endpoint(new))
        return self._servers

    def make_servers(self, endpoints: Iterable[Endpoint]) -> None:
        if new := set(endpoints) - self.servers(endpoints).keys():
            self._know(lookup.create_servers(new))

    def limited(self) -> Set[int]:
        """The ids of known servers on which there is a limit."""
        return self._limited

    def _know(self, found: Mapping[Endpoint, FoundServer]) -> None:
        self._servers |= {endpoint: server.id for endpoint, server in found.items()}
        self._limited |= {server.id for server in found.values() if server.is_limited}

    def told(self, subscriber: int, server: int, reporter: int, moment: int) -> ToldSums:
        """To add to, of the day of ``moment`` (Unix seconds)."""
        key = subscriber, server, reporter, moment // 86_400
        return self._told.setdefault(key, ToldSums())

    def write_told(self) -> None:
        if self._told:
            rollups.add_told(self._told)

    def begin(self) -> None:
        """A transaction that is run again begins with nothing told."""
        self._told = {}
