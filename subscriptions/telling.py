"""Which subscribers want to be notified when their subscription runs out, and in which language."""

from collections.abc import Mapping

from operations.databases.transactions import write_transaction
from subscriptions.models import ToldPerson
from traffic.models import Subscriber


def language_of(subscriber: Subscriber) -> str | None:
    """The language in which this subscriber is notified; None if not wanted."""
    found = ToldPerson.objects.filter(subscriber=subscriber)
    return found.values_list("language", flat=True).first()


def languages() -> Mapping[int, str]:
    """The languages of all who want to be notified, by the subscriber's id."""
    return dict(ToldPerson.objects.values_list("subscriber_id", "language"))


@write_transaction
def tell(subscriber: int, language: str) -> None:
    """Tell this subscriber from now on, in this language."""
    ToldPerson.objects.update_or_create(subscriber_id=subscriber, defaults={"language": language})


@write_transaction
def tell_no_more(subscriber: int) -> None:
    ToldPerson.objects.filter(subscriber=subscriber).delete()


def erase(subscriber: int) -> int:
    with write_transaction():
        return ToldPerson.objects.filter(subscriber=subscriber).delete()[0]
