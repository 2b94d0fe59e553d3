"""Who is active, while tags come and go in any order."""

from integrations.marzban.membership import SETTLING, Changes, Membership
from integrations.marzban.wire import Alteration, Pair, Person

ALICE, BOB = Person(1, "alice"), Person(2, "bob")


def added(person: Person, tag: str = "a") -> Alteration:
    return Alteration(Pair(tag, person), is_added=True)


def removed(person: Person, tag: str = "a") -> Alteration:
    return Alteration(Pair(tag, person), is_added=False)


def membership(*people: Person, tags: str = "ab") -> Membership:
    found = Membership()
    found.replace(Pair(tag, person) for tag in tags for person in people)
    found.know(people)
    return found


def test_nothing_changes_when_everybody_is_known() -> None:
    assert not membership(ALICE, BOB).changes(0)


def test_a_person_is_active_while_one_inbound_is_left() -> None:
    found = membership(ALICE)
    found.alter(removed(ALICE, "a"), 0)
    assert not found.changes(100)
    found.alter(removed(ALICE, "b"), 0)
    assert found.changes(100).left == {ALICE}


def test_a_removal_is_believed_when_it_has_settled() -> None:
    found = membership(ALICE, tags="a")
    found.alter(removed(ALICE), 10)
    assert not found.changes(10 + SETTLING - 0.1)
    assert found.changes(10 + SETTLING).left == {ALICE}


def test_a_person_who_is_removed_and_added_again_stays() -> None:
    found = membership(ALICE, tags="a")
    found.alter(removed(ALICE), 0)
    found.alter(added(ALICE), 1)
    assert not found.changes(100)


def test_the_same_change_twice_counts_once() -> None:
    found = membership(ALICE, tags="a")
    found.alter(added(ALICE), 0)
    found.alter(removed(ALICE), 0)
    found.alter(removed(ALICE), 5)
    assert found.changes(SETTLING).left == {ALICE}


def test_a_complete_list_is_believed_at_once() -> None:
    found = membership(ALICE)
    found.replace([Pair("a", BOB)])
    changes = found.changes(0)
    assert changes == Changes(frozenset({BOB}), frozenset({ALICE}))
    found.applied(changes)
    assert not found.changes(0)


def test_an_id_has_one_owner() -> None:
    found = membership(ALICE)
    heir = Person(1, "heir")
    found.alter(added(heir), 0)
    changes = found.changes(100)
    assert changes.came == {heir}
    assert not changes.left
    found.applied(changes)
    assert not found.changes(100)
    found.alter(removed(ALICE), 100)
    assert not found.changes(200)


def test_the_highest_id_is_that_of_an_active_person() -> None:
    found = membership(ALICE, BOB, tags="a")
    assert found.highest_id() == 2
    found.alter(removed(BOB), 0)
    assert found.highest_id() == 1
    assert Membership().highest_id() == 0


def test_nobody_has_left_before_the_panel_has_sent_its_list() -> None:
    found = Membership()
    found.know([ALICE])
    assert not found.changes(100)
    found.replace([])
    assert found.changes(100).left == {ALICE}
