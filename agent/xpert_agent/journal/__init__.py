"""The agent's memory on disk: the last counters of the sources, and the readings for the panel.

A SQLite file in WAL mode with synchronous=FULL. The counters of a source and the totals that
they add to change in one transaction, so that a crash at any point neither loses nor doubles a byte.
"""
