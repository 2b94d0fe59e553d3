"""Which groups subscribers are in: set by hand, over the API, and by a plan."""

from collections.abc import Iterable, Mapping, Sequence

from operations.audit import Changes
from traffic.models import Plan, Subscriber

from .models import Group


def join(rows: Sequence[Subscriber], groups: Sequence[Group]) -> Mapping[int, Changes]:
    """Make subscribers members of these groups and of no others; return the changes by id."""
    member = Group.subscribers.through
    before = _names(row.pk for row in rows)
    wanted = sorted(group.name for group in groups)
    moved = {pk: (names, wanted) for pk, names in before.items() if names != wanted}
    member.objects.filter(subscriber_id__in=moved).exclude(group__in=groups).delete()
    member.objects.bulk_create(
        [member(subscriber_id=pk, group_id=group.pk) for pk in moved for group in groups],
        ignore_conflicts=True,
    )
    return {pk: {"groups": change} for pk, change in moved.items()}


def apply_plan(rows: Sequence[Subscriber], plan: Plan) -> Mapping[int, Changes]:
    """Make subscribers members of the plan's groups alone. A plan without groups leaves them where they are."""
    groups = list(Group.objects.filter(plans=plan))
    return join(rows, groups) if groups else {}


def _names(ids: Iterable[int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {pk: [] for pk in ids}
    members = Group.subscribers.through.objects.filter(subscriber_id__in=found)
    for pk, name in members.order_by("group__name").values_list("subscriber_id", "group__name"):
        found[pk].append(name)
    return found
