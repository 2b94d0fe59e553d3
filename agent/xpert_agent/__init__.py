"""Reads the traffic counters of VPN cores and sends them to an Xpert Panel as meter readings."""

__version__ = "1.0.0"
