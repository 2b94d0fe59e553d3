"""The command line."""

from __future__ import annotations

import argparse
import logging
import sqlite3
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from xpert_agent import __version__
from xpert_agent.agent import Agent
from xpert_agent.config import ConfigError, Settings, read_config
from xpert_agent.gateway import options as gateway_options
from xpert_agent.journal.database import Database
from xpert_agent.logs import log_to_stderr
from xpert_agent.panel import Address, PanelError, panel_of
from xpert_agent.program import InstallError, restart_with
from xpert_agent.sources.base import SourceError
from xpert_agent.state import (
    State,
    StateError,
    default_folder,
    known_states,
    state_of_subscription,
    subscription_url,
)
from xpert_agent.status import status

USAGE_ERROR = 2

log = logging.getLogger(__name__)


class UsageError(Exception):
    """The command line cannot be followed. One clear sentence for people."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; its exit code: 0, 1 for trouble, 2 for a command that cannot be followed."""
    options = _parser().parse_args(arguments)
    log_to_stderr()
    try:
        return int(options.command(options))
    except (UsageError, ConfigError, StateError, PanelError, SourceError, InstallError) as error:
        print(f"xpert-agent: {error}", file=sys.stderr)  # noqa: T201
        return USAGE_ERROR
    except sqlite3.Error as error:
        print(f"xpert-agent: the journal cannot be used: {error}.", file=sys.stderr)  # noqa: T201
        return USAGE_ERROR
    except KeyboardInterrupt:
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xpert-agent",
        description="Reads the traffic counters of VPN cores and sends them to an Xpert Panel.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    report = commands.add_parser(
        "report", help="on your own computer: find the VPN app and report what it uses"
    )
    report.set_defaults(command=_report)
    _add_subscription(report)
    run = commands.add_parser("run", help="on a server: read what agent.ini names")
    run.set_defaults(command=_run)
    run.add_argument("-c", "--config", type=Path, required=True, metavar="agent.ini")
    gateway = commands.add_parser(
        "gateway", help="on a gateway: run its core as the panel says, and read it"
    )
    gateway.set_defaults(command=_gateway)
    gateway_options.add(gateway)
    gateway_options.add_state(gateway)
    checking = commands.add_parser("check", help="show what would be booked; nothing is sent")
    checking.set_defaults(command=_check)
    _add_either(checking)
    state = commands.add_parser("status", help="show what an agent has done")
    state.set_defaults(command=_status)
    _add_either(state)
    service = commands.add_parser(
        "install", help="start the agent with this machine (systemd, launchd, Windows)"
    )
    service.set_defaults(command=_install)
    _add_either(service)
    service.add_argument(
        "--gateway", action="store_true", help="a gateway, with the options of “gateway”"
    )
    gateway_options.add(service, is_required=False)
    service.add_argument("--remove", action="store_true", help="undo it; the state stays")
    service.add_argument("--print", action="store_true", help="only show what would be installed")
    return parser


def _add_subscription(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "url", nargs="?", metavar="SUBSCRIPTION_URL", help="“-”: read it from standard input"
    )
    parser.add_argument("--url-file", type=Path, help="a file with the URL")
    parser.add_argument("--state", type=Path, help="the folder of an installation that exists")
    parser.add_argument(
        "--allow-http", action="store_true", help="also over plain http, readable on the way"
    )


def _add_either(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", type=Path, metavar="agent.ini", help="of a server")
    _add_subscription(parser)


def _report(options: argparse.Namespace) -> int:
    state = _report_state(options)
    if options.url and options.url != "-":
        restart_with(_report_arguments(state, options.allow_http))
    return work(_report_settings(state, options.allow_http), state)


def _run(options: argparse.Namespace) -> int:
    settings = read_config(options.config)
    return work(settings, State(settings.state))


def _gateway(options: argparse.Namespace) -> int:
    command = _loaded("gateway.command")
    address = gateway_options.address_of(options)
    return int(
        command.run_gateway(
            command.GatewayOptions(
                address, options.state, options.name, options.sing_box, options.xray
            )
        )
    )


def work(settings: Settings, state: State) -> int:
    """Runs an agent until it is stopped. Raises errors that `main` prints as one sentence."""
    log_to_stderr(_secrets(settings))
    state.make()
    state.lock()
    database = Database(state.journal, time.time())
    agent = Agent(settings, database)
    log.info(
        "xpert-agent %s sends to %s as meter %s.",
        __version__,
        settings.panel.host,
        database.fact("meter"),
    )
    agent.run()
    return 0


def _check(options: argparse.Namespace) -> int:
    settings, _ = _either(options)
    log_to_stderr(_secrets(settings))
    return int(_loaded("check").check(settings))


def _status(options: argparse.Namespace) -> int:
    if options.config or options.url or options.url_file or options.state:
        return status(_either(options)[1])
    states = known_states(default_folder())
    if not states:
        raise UsageError(
            "No installation of “report” is known here; for a server: xpert-agent status -c agent.ini"
        )
    return max(status(state) for state in states)


def _install(options: argparse.Namespace) -> int:
    installing = _loaded("install")
    describe = gateway_options.service_of if options.gateway else _service
    state, service = describe(options)
    if options.print:
        print(installing.service_text(service))  # noqa: T201
    elif options.remove:
        installing.remove(service)
    else:
        runs_already = state.is_running()
        installing.install(service)
        if runs_already:
            print("If an agent runs in a terminal, end it there: the service takes over.")  # noqa: T201
    return 0


def _service(options: argparse.Namespace) -> tuple[State, Any]:
    settings, state = _either(options)
    folder = state.folder.resolve()
    if options.config:
        name = (
            "xpert-agent"
            if options.config.stem == "agent"
            else f"xpert-agent-{options.config.stem}"
        )
        arguments = ["run", "-c", str(options.config.resolve())]
    else:
        name = f"xpert-agent-{folder.name}"
        arguments = _report_arguments(State(folder), options.allow_http)
    kinds = frozenset(source.kind for source in settings.sources)
    return state, _loaded("install").service_of(name, arguments, folder, kinds)


def _loaded(module: str) -> Any:
    """A module that one command needs, and an agent that runs for months does not."""
    return import_module(f"xpert_agent.{module}")


def _either(options: argparse.Namespace) -> tuple[Settings, State]:
    """A server's agent.ini, or a person's installation."""
    if options.config:
        settings = read_config(options.config)
        return settings, State(settings.state)
    state = _report_state(options)
    return _report_settings(state, options.allow_http), state


def _report_state(options: argparse.Namespace) -> State:
    url = _given_url(options)
    if url:
        _address(url, options.allow_http)  # a wrong one is not kept
        return state_of_subscription(url, default_folder())
    if options.state:
        return State(options.state)
    states = known_states(default_folder())
    if len(states) != 1:
        raise UsageError(
            "Which subscription? Give its URL once: xpert-agent report https://panel.example.com/api/xpert/sub?…"
            if not states
            else f"Several subscriptions are known; name one: --state {states[0].folder}"
        )
    return states[0]


def _given_url(options: argparse.Namespace) -> str:
    if options.url_file:
        return subscription_url(options.url_file)
    if options.url == "-":
        return sys.stdin.readline().strip()
    return options.url or ""


def _report_settings(state: State, allow_http: bool) -> Settings:
    address = _address(subscription_url(state.subscription), allow_http)
    return Settings(address, state.folder, discover=True)


def _address(subscription: str, allow_http: bool) -> Address:
    panel, token = panel_of(subscription)
    address = Address(panel, token=token, allow_http=allow_http)
    address.check()
    return address


def _report_arguments(state: State, allow_http: bool) -> list[str]:
    return ["report", "--state", str(state.folder), *(["--allow-http"] if allow_http else [])]


def _secrets(settings: Settings) -> list[str]:
    options = [one for source in settings.sources for one in source.options.items()]
    hidden = [
        value
        for name, value in options
        if any(word in name for word in ("secret", "password", "key"))
    ]
    return [settings.panel.key, settings.panel.token, *hidden]
