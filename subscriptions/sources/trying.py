"""What a source would give, before it is saved. It is fetched once, and nothing is changed."""

from collections.abc import Iterable

import msgspec
from asgiref.sync import async_to_sync

from operations.hosts import join_host_port
from operations.outbound import fetching
from operations.outbound.dial import Network
from operations.outbound.errors import OutboundError
from operations.outbound.exchange import Limits
from operations.outbound.fetching import Asked, Fetched
from subscriptions.conf import conf
from subscriptions.links import Node
from subscriptions.models import Source
from subscriptions.readers import Found

from . import name_rules, refreshing, source_lists
from .name_rules import Ruled, RuleError, TooSlow


class Row(msgspec.Struct, frozen=True):
    """A line or an entry of the list. ``code``: why it is not taken. ``name``: of the provider; ``new_name``: ours."""

    name: str
    new_name: str = ""
    server: str = ""
    code: str = ""

    @property
    def is_renamed(self) -> bool:
        return not self.code and self.name != self.new_name


class Trial(msgspec.Struct, frozen=True):
    """``error``: a code if there is no list, or nothing of it is taken. ``rows``: taken ones first."""

    error: str = ""
    rows: list[Row] = []


def try_out(
    source: Source,
    limits: Limits | None = None,
    network: Network = Network(),  # noqa: B008  frozen
) -> Trial:
    """``source`` need not be saved. Takes as long as a fetch may, 20 seconds at most."""
    policy = refreshing.policy_of(allow_private=source.allow_private)
    asked = Asked(source.url, policy, conf.sources_user_agent)
    allowed = limits or Limits(body=conf.sources_max_mb * 2**20)
    try:
        fetched = async_to_sync(fetching.fetch)(asked, allowed, network)
    except OutboundError as failure:
        return Trial(failure.code)
    return _of_list(source, fetched, private=policy.private)


def _of_list(source: Source, fetched: Fetched, *, private: bool) -> Trial:
    try:
        found = source_lists.parse(fetched.body or b"", private=private, charset=fetched.charset)
    except source_lists.BodyError as error:
        return Trial(error.code, _left_out(error.left_out))
    try:
        ruled = name_rules.apply(found.nodes, refreshing.rules_of(source))
    except RuleError:
        return Trial("bad_rule")
    except TooSlow:
        return Trial("slow_rules")
    taken = [_row(each) for each in ruled if not each.code]
    dropped = [_row(each) for each in ruled if each.code]
    return Trial("" if taken else "nothing_taken", [*taken, *dropped, *_left_out(found.left_out)])


def _row(each: Ruled) -> Row:
    own = name_rules.clean_name(each.node.remark)
    return Row(own, "" if each.code else each.name, _server(each.node), each.code)


def _left_out(lines: Iterable[Found]) -> list[Row]:
    return [
        Row(
            name_rules.clean_name(each.name), "", _server(each.node) if each.node else "", each.code
        )
        for each in lines
    ]


def _server(node: Node) -> str:
    return f"{node.protocol} {join_host_port(node.server, node.port)}"
