"""Finds the VPN cores of this machine, how to read them, and what cannot be known."""

from __future__ import annotations

from contextlib import suppress

from xpert_agent.finding import clash, singbox, v2rayn, xray
from xpert_agent.finding.findings import UNEXPECTED, Finding, each_core_once
from xpert_agent.finding.machine import Machine, this_machine

__all__ = ["Finding", "find", "find_local_cores", "this_machine"]


def find(machine: Machine) -> list[Finding]:
    """All that is found within a few seconds, the most exact way to each core first.

    Loopback only. The order matters: v2rayN's cores are read through v2rayN, which knows their
    servers, and a sing-box that has both interfaces is not a Clash core.
    """
    taken: set[str] = set()
    found: list[Finding] = []
    for finder in (v2rayn.find, singbox.find, xray.find, clash.find):
        with suppress(*UNEXPECTED):  # a file of that name may be anything
            found += finder(machine, taken)
    return list(each_core_once(found))


def find_local_cores() -> list[Finding]:
    """What runs on this machine now. Never raises, and returns within a few seconds."""
    return find(this_machine())
