"""The options of `gateway`, and of `install --gateway`."""

from __future__ import annotations

import argparse
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

from xpert_agent.config import ConfigError
from xpert_agent.panel import Address
from xpert_agent.program import InstallError
from xpert_agent.secret_files import read_secret
from xpert_agent.state import State

STATE = Path("/var/lib/xpert-gateway")
SERVICE = "xpert-gateway"
_NO_SING_BOX = "sing-box is not here: install 1.14 or newer, or name it: --sing-box PATH"
_NO_XRAY = "Xray is not here; name it: --xray PATH"


def add(parser: argparse.ArgumentParser, is_required: bool = True) -> None:
    parser.add_argument(
        "--panel", required=is_required, metavar="URL", help="address of the panel of a gateway"
    )
    parser.add_argument(
        "--key-file", required=is_required, type=Path, help="a file with the gateway's key"
    )
    parser.add_argument("--name", default="", help="of the gateway; default: the key tells it")
    engine = parser.add_mutually_exclusive_group()
    engine.add_argument("--sing-box", default="", metavar="PATH", help="default: from PATH")
    engine.add_argument("--xray", default="", metavar="PATH", help="for a gateway of Xray")


def add_state(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--state", type=Path, default=STATE, help="made when missing")
    parser.add_argument(
        "--allow-http", action="store_true", help="also over plain http, readable on the way"
    )


def address_of(options: argparse.Namespace) -> Address:
    """Raises `ConfigError` and `PanelError`."""
    try:
        key = read_secret(options.key_file)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{options.key_file} cannot be read: {error}.") from error
    address = Address(options.panel.rstrip("/"), key=key, allow_http=options.allow_http)
    address.check()
    return address


def program(sing_box: str, xray: str) -> str:
    """Where the program of the core is. Raises `ConfigError`."""
    found = shutil.which(xray or sing_box or "sing-box")
    if found is None:
        raise ConfigError(_NO_XRAY if xray else _NO_SING_BOX)
    return found


def service_of(options: argparse.Namespace) -> tuple[State, Any]:
    """Its state, and the service that runs it. Raises errors that `main` prints as one sentence."""
    folder = (options.state or STATE).resolve()
    arguments = [] if options.remove else _arguments(options, folder)
    installing = import_module("xpert_agent.install")
    kinds = frozenset({installing.GATEWAY})
    return State(folder), installing.service_of(SERVICE, arguments, folder, kinds)


def _arguments(options: argparse.Namespace, folder: Path) -> list[str]:
    """The command line of the service, with whole paths."""
    if not options.panel or not options.key_file:
        raise InstallError("A gateway needs --panel and --key-file.")
    address_of(options)
    return [
        "gateway",
        *("--panel", options.panel),
        *("--key-file", str(options.key_file.resolve())),
        *_engine(options),
        *("--state", str(folder)),
        *(["--name", options.name] if options.name else []),
        *(["--allow-http"] if options.allow_http else []),
    ]


def _engine(options: argparse.Namespace) -> tuple[str, str]:
    path = Path(program(options.sing_box, options.xray)).resolve()
    return "--xray" if options.xray else "--sing-box", str(path)
