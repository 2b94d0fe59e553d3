"""A conversation with a panel whose answers are at hand."""

from collections.abc import Iterable
from pathlib import Path

from integrations.pulls.adapters import ADAPTERS
from integrations.pulls.adapters.asking import Access, Found, Question, Way

DATA = Path(__file__).resolve().parents[2] / "data/panels"


def recorded(name: str) -> bytes:
    return (DATA / f"{name}.json").read_bytes()


def talk(kind: str, way: Way, answers: Iterable[bytes]) -> tuple[list[Question], Found]:
    """What the adapter asked, and what it found. It may ask no more than there are answers, and nothing else."""
    adapter = ADAPTERS[kind]
    conversation = adapter.talk[way](Access(way, "admin", "s3cr3t"))
    asked, answers = [next(conversation)], iter(answers)
    while True:
        assert adapter.may_ask(asked[-1])
        try:
            asked.append(conversation.send(next(answers)))
        except StopIteration as end:
            return asked, end.value
