"""Deletes what belongs to an erased person: their subscription links, and readings under their names."""

from operations.databases.transactions import write_transaction
from traffic.models import MeteredPerson

from .models import Panel, Reading, Total


@write_transaction
def erase(subscriber: int) -> int:
    """Return the number of rows. If the other panel still lists the person, the next reading finds an unknown person."""
    count = Panel.objects.filter(subscriber=subscriber).delete()[0]
    people = MeteredPerson.objects.filter(
        subscriber=subscriber, reporter__origin__startswith="pull:"
    )
    for folded, origin in people.values_list("folded", "reporter__origin"):
        panel = int(origin.removeprefix("pull:"))
        for model in (Reading, Total):
            count += model.objects.filter(panel=panel, folded=folded).delete()[0]
    return count
