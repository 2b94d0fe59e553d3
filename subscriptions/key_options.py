"""The groups to which an API key is limited: it reports, sees and changes only their subscribers."""

from collections.abc import Collection, Sequence

from django.utils.translation import gettext_lazy as _

from operations.extension import KeyOption
from operations.models import ApiKey
from traffic.querysets import SubscriberQuerySet

from .models import Group

_members = Group.subscribers.through.objects


def _offered() -> Sequence[tuple[str, str]]:
    return [(str(pk), name) for pk, name in Group.objects.values_list("pk", "name")]


def _people(value: str, subscribers: Collection[int]) -> set[int]:
    found = _members.filter(group_id__in=value.split(","), subscriber_id__in=subscribers)
    return set(found.values_list("subscriber_id", flat=True))


GROUPS = KeyOption(
    name="groups",
    label=_("only these groups"),
    help_text=_(
        "The key reports, reads and changes only subscribers of these groups, and nothing else. None = all subscribers."
    ),
    offered=_offered,
    is_changeable=True,
    is_limit=True,
    people=_people,
)


def groups_of(key: object) -> list[Group] | None:
    """The groups to which this key is limited; None if it is not."""
    chosen = key.options.get(GROUPS.name) if isinstance(key, ApiKey) else None
    return list(Group.objects.filter(pk__in=chosen.split(","))) if chosen else None


def within(rows: SubscriberQuerySet, groups: Collection[Group] | None) -> SubscriberQuerySet:
    """Those of these rows that are in one of the groups."""
    if groups is None:
        return rows
    return rows.filter(pk__in=_members.filter(group__in=groups).values("subscriber_id"))
