"""Where the rows of this app are on Citus.

What a report reads is copied to every node, so that each can take reports. What grows with the reports of subscribers is
spread by them, in the order in which ``recording`` writes it.
"""

from operations.databases.citus import Place

PLACES = {
    "Plan": Place.COPIED,
    "Subscriber": Place.COPIED,
    "NextPlan": Place.COPIED,
    "Server": Place.COPIED,
    "ServerLimit": Place.COPIED,
    "LimitedServer": Place.COPIED,
    "RetiredToken": Place.COPIED,
    "Reporter": Place.COPIED,
    "MeteredPerson": Place.COPIED,
    "KnownAs": Place.COPIED,
    # These two are written together with rows of one subscriber, and commit with them.
    "SetAside": Place.COPIED,
    "Correction": Place.COPIED,
    "ReceivedEvent": Place.SPREAD,
    "Meter": Place.SPREAD,
    "Usage": Place.SPREAD,
    "Balance": Place.SPREAD,
    "LimitBalance": Place.SPREAD,
    "Told": Place.SPREAD,
    "ServerUsage": Place.KNOWN,
    "Reseller": Place.LOCAL,
}
