"""Files that make systemd, launchd and the Windows task scheduler keep an agent running. Pure."""

from __future__ import annotations

import plistlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

NEEDS_SOCKETS = frozenset({"clash", "openvpn", "shadowsocks"})
"""Kinds of sources that may speak through a Unix socket of another user, wherever it lies."""

NEEDS_NET_ADMIN = frozenset({"wireguard", "amneziawg", "nftables"})
"""Kinds of sources that ask the kernel and need CAP_NET_ADMIN for it."""

_MEMORY = "MemoryMax=256M"
_FENCES = (
    "ProtectSystem=strict",
    "PrivateDevices=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "RestrictSUIDSGID=yes",
    "RemoveIPC=yes",
)
_AFTER_NETWORK = "After=network-online.target\nWants=network-online.target\n"


class Service(NamedTuple):
    name: str
    command: Sequence[str]
    """Absolute program and arguments; no secret is in it."""
    state: Path
    kinds: frozenset[str]
    """Kinds of sources that are read; empty: whatever is found."""


def systemd_system_unit(service: Service) -> str:
    """A unit of the system: as root, because it reads others' sockets, but fenced in."""
    may_need_sockets = not service.kinds or bool(service.kinds & NEEDS_SOCKETS)
    capabilities = ["CAP_DAC_OVERRIDE" if may_need_sockets else "CAP_DAC_READ_SEARCH"]
    if not service.kinds or service.kinds & NEEDS_NET_ADMIN:
        capabilities.append("CAP_NET_ADMIN")
    return _unit(
        service,
        [
            _MEMORY,
            "ProtectHome=read-only",
            f"ReadWritePaths={_systemd_quoted(str(service.state))}",
            f"PrivateTmp={'no' if may_need_sockets else 'yes'}",
            *_FENCES,
            f"CapabilityBoundingSet={' '.join(capabilities)}",
            f"AmbientCapabilities={' '.join(capabilities)}",
        ],
        after=_AFTER_NETWORK,
        wanted_by="multi-user.target",
    )


def systemd_gateway_unit(service: Service) -> str:
    """A unit of the system for the agent of a gateway, and the core that it runs.

    The core outlives an agent that died (`KillMode`), and its end is not the end of the agent (`OOMPolicy`). It takes
    memory by the size of the machine, so the unit sets no limit.
    """
    return _unit(
        service,
        [
            "KillMode=process",
            "OOMPolicy=continue",
            "LimitNOFILE=1048576",
            f"ReadWritePaths={_systemd_quoted(str(service.state))}",
            *_FENCES,
            "ProtectHome=read-only",
            "PrivateTmp=yes",
            "ProtectProc=invisible",
            "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
            "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        ],
        after=_AFTER_NETWORK,
        wanted_by="multi-user.target",
        purpose="runs a gateway of an Xpert Panel",
    )


def systemd_user_unit(service: Service) -> str:
    return _unit(service, [_MEMORY], after="", wanted_by="default.target")


def _unit(
    service: Service,
    fences: Sequence[str],
    after: str,
    wanted_by: str,
    purpose: str = "sends meter readings to an Xpert Panel",
) -> str:
    command = " ".join(_systemd_quoted(word) for word in service.command)
    more = "".join(f"{line}\n" for line in fences)
    return f"""[Unit]
Description=Xpert agent: {purpose}
{after}
[Service]
ExecStart={command}
Restart=always
RestartSec=10
TimeoutStopSec=60
UMask=0077
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
{more}
[Install]
WantedBy={wanted_by}
"""


def _systemd_quoted(word: str) -> str:
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{word}"' if not word or any(letter in word for letter in " \t\\\"';") else word


def launchd_plist(service: Service) -> bytes:
    return plistlib.dumps(
        {
            "Label": service.name,
            "ProgramArguments": list(service.command),
            "RunAtLoad": True,
            "KeepAlive": True,
            "ThrottleInterval": 10,
            "ProcessType": "Background",
            "Umask": 0o077,
            "StandardErrorPath": str(service.state / "agent.log"),
        }
    )


def windows_task(service: Service, arguments: str) -> str:
    """Task XML: a task made with plain options would be ended after three days."""
    return f"""<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo><Description>Xpert agent: sends meter readings</Description></RegistrationInfo>
  <Triggers><LogonTrigger><Enabled>true</Enabled></LogonTrigger></Triggers>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <RestartOnFailure><Interval>PT1M</Interval><Count>255</Count></RestartOnFailure>
  </Settings>
  <Actions><Exec>
    <Command>{escape(service.command[0])}</Command>
    <Arguments>{escape(arguments)}</Arguments>
  </Exec></Actions>
</Task>
"""
