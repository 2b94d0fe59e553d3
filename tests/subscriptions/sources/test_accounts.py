"""One person's own account: its servers are theirs alone, and what its provider says was used is their usage."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase
from pytest_django import Settings

from operations.audit import By
from subscriptions.models import Group, ProviderUsage, Source
from subscriptions.serving import catalogue
from subscriptions.sources import accounts, provider_usage, refreshing
from subscriptions.sources.provider_usage import Totals
from tests.subscriptions.examples import A, B, source, stored, subscriber
from tests.subscriptions.hostile import InternetInThread, answer
from traffic.ledger import verification
from traffic.models import Balance, Reporter, Subscriber, Usage
from traffic.people import erasure

pytestmark = pytest.mark.django_db

Tell = Callable[..., None]
URL = "http://provider.example/sub?token=very-secret"


@pytest.fixture
def ann() -> Subscriber:
    return subscriber("ann", name="Ann")


@pytest.fixture
def account(settings: Settings, ann: Subscriber) -> Source:
    settings.XPERT_SOURCES_ALLOW = ["http"]
    return source("account", url=URL, subscriber=ann)


@pytest.fixture
def tell(account: Source, internet: InternetInThread) -> Tell:
    """The provider tells these figures with the next fetch."""

    def told(userinfo: str, body: str = A) -> None:
        internet.serve("provider.example", answer(body.encode(), Subscription_Userinfo=userinfo))
        refreshing.refresh([account.pk], network=internet.network)
        account.refresh_from_db()

    return told


def used() -> list[tuple[str, str, int, int]]:
    rows = Usage.objects.select_related("subscriber", "server")
    return [(row.subscriber.token, str(row.server), row.upload, row.download) for row in rows]


class TestUsage:
    def test_the_first_figures_are_a_baseline(self, tell: Tell) -> None:
        tell("upload=100; download=2000")
        assert used() == []

    def test_growth_is_usage_of_that_person_up_and_down_apart(self, tell: Tell) -> None:
        tell("upload=100; download=2000")
        tell("upload=101; download=2050")
        tell("upload=103; download=2050")
        assert used() == [("ann", "provider.example:443 subscription", 3, 50)]

    def test_an_account_that_is_read_elsewhere_counts_nothing_and_goes_on_from_there(
        self, tell: Tell, ann: Subscriber, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tell("upload=0; download=10")
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(
                accounts, "is_account_read", lambda url, pk: (url, pk) == (URL, ann.pk)
            )
            tell("upload=0; download=30")
        assert used() == []
        tell("upload=0; download=34")
        assert used() == [("ann", "provider.example:443 subscription", 0, 4)]

    def test_the_same_figures_count_nothing(self, tell: Tell) -> None:
        for _ in range(3):
            tell("upload=100; download=2000")
        assert used() == []

    @pytest.mark.parametrize(
        "fallen", ["upload=7; download=30", "upload=7; download=3000", "upload=700; download=30"]
    )
    def test_a_fall_is_a_reset_so_the_new_figures_count(self, tell: Tell, fallen: str) -> None:
        tell("upload=100; download=2000")
        tell(fallen)
        up, down = (int(part.split("=")[1]) for part in fallen.split(";"))
        assert used()[0][2:] == (up, down)
        tell(f"upload={up + 1}; download={down + 2}")
        assert used()[0][2:] == (up + 1, down + 2)

    def test_two_resets_at_once_are_two(self, tell: Tell) -> None:
        tell("upload=0; download=2000")
        tell("upload=0; download=30")
        tell("upload=0; download=20")
        assert used()[0][3] == 50

    def test_a_provider_may_tell_one_figure_alone(self, tell: Tell) -> None:
        tell("download=2000")
        tell("download=2007")
        assert used()[0][2:] == (0, 7)

    def test_a_figure_that_is_not_told_this_time_has_not_changed(self, tell: Tell) -> None:
        tell("upload=100; download=2000")
        tell("upload=?; download=2005")
        tell("upload=104; download=2005")
        assert used()[0][2:] == (4, 5)

    def test_a_list_without_the_header_counts_nothing(self, tell: Tell) -> None:
        tell("upload=100; download=2000")
        tell("")
        assert used() == []
        tell("upload=100; download=2001")
        assert used()[0][3] == 1

    def test_the_figures_count_even_if_the_list_is_of_no_use(
        self, tell: Tell, account: Source
    ) -> None:
        """As of an account that is used up."""
        tell("upload=0; download=2000")
        tell("upload=0; download=2009", body="<html>")
        assert account.last_error == "html"
        assert used()[0][3] == 9

    def test_a_shared_source_is_nobodys_usage(self, tell: Tell, account: Source) -> None:
        Source.objects.update(subscriber=None)
        tell("upload=100; download=2000")
        tell("upload=101; download=2050")
        assert used() == []
        assert not Reporter.objects.exists()

    def test_another_person_begins_with_a_baseline(self, tell: Tell, account: Source) -> None:
        tell("upload=0; download=2000")
        tell("upload=0; download=2010")
        Source.objects.update(subscriber=subscriber("bob"))
        tell("upload=0; download=2011")
        tell("upload=0; download=2015")
        assert sorted(row[::3] for row in used()) == [("ann", 10), ("bob", 4)]

    def test_another_url_begins_with_a_baseline(
        self, tell: Tell, account: Source, internet: InternetInThread
    ) -> None:
        tell("upload=0; download=2000")
        Source.objects.update(url=URL.replace("very", "new"))
        tell("upload=0; download=9000")
        tell("upload=0; download=9003")
        assert used()[0][3] == 3

    def test_a_new_token_goes_on_where_the_old_one_was(self, tell: Tell, ann: Subscriber) -> None:
        tell("upload=0; download=2000")
        Subscriber.objects.update(token="renewed")
        tell("upload=0; download=2003")
        assert used()[0][::3] == ("renewed", 3)

    def test_nothing_counts_while_tracking_is_off_and_all_of_it_after(
        self, tell: Tell, settings: Settings
    ) -> None:
        tell("upload=0; download=2000")
        settings.XPERT_TRAFFIC_TRACKING_ENABLED = False
        tell("upload=0; download=2003")
        assert used() == []
        settings.XPERT_TRAFFIC_TRACKING_ENABLED = True
        tell("upload=0; download=2003")
        assert used()[0][3] == 3

    def test_a_provider_that_says_anything_breaks_nothing(
        self, tell: Tell, account: Source
    ) -> None:
        for figure in (0, 2**60 - 1, 2**60, 2**62, 2**63 - 1, 5, 2**63 - 1, 0):
            tell(f"upload={figure}; download={figure}")
            assert account.last_error == ""
        assert verification.count_differences(lambda _: None) == 0

    def test_what_is_not_plausible_is_set_aside(
        self, tell: Tell, ann: Subscriber, settings: Settings
    ) -> None:
        settings.XPERT_MAX_GB_PER_HOUR = 1
        tell("upload=0; download=0")
        tell(f"upload=0; download={2**31}")
        assert used() == []
        assert ann.set_aside.get().download == 2**31

    def test_the_reporter_is_an_account_of_grade_provider(
        self, tell: Tell, account: Source
    ) -> None:
        tell("upload=0; download=0")
        reporter = Reporter.objects.get()
        assert (reporter.kind, reporter.grade) == (Reporter.Kind.ACCOUNT, Reporter.Grade.PROVIDER)
        assert reporter.origin == f"account:{account.pk}"
        assert "very-secret" not in reporter.meter


_figures = st.integers(0, 2**40)


class TestAnyHistory(TestCase):
    @given(st.lists(st.tuples(_figures, _figures), min_size=1, max_size=12))
    def test_what_counts_is_what_grew_and_what_came_after_each_fall(
        self, history: list[tuple[int, int]]
    ) -> None:
        it = source("account", subscriber=subscriber())
        expected = 0
        before = history[0]
        for figures in history:
            it.provider_upload, it.provider_download = figures
            accounts.count(it, timezone.now())
            has_fallen = figures[0] < before[0] or figures[1] < before[1]
            expected += sum(figures) - (0 if has_fallen else sum(before))
            before = figures
        assert sum(sum(row[2:]) for row in used()) == expected


class TestServers:
    @pytest.fixture(autouse=True)
    def servers(self, account: Source) -> None:
        stored(account, A)
        stored(source("shared"), B)

    def names(self, person: Subscriber) -> list[str]:
        selection = catalogue.selection_of(person, timezone.now())
        content = catalogue.of_person(person, "plain", selection).content.decode()
        return [line.rpartition("#")[2] for line in content.splitlines()]

    def test_only_that_person_gets_them(self, ann: Subscriber) -> None:
        assert sorted(self.names(ann)) == ["A", "B"]
        assert self.names(subscriber("bob")) == ["B"]

    def test_a_change_of_the_owner_shows_at_once(self, ann: Subscriber, account: Source) -> None:
        bob = subscriber("bob")
        assert self.names(bob) == ["B"]
        account.subscriber = bob
        account.save()
        assert sorted(self.names(bob)) == ["A", "B"]
        assert self.names(ann) == ["B"]

    def test_groups_of_the_source_do_not_matter(self, ann: Subscriber, account: Source) -> None:
        account.groups.add(Group.objects.create(name="others"))
        assert sorted(self.names(ann)) == ["A", "B"]

    def test_a_switched_off_account_gives_none(self, ann: Subscriber) -> None:
        Source.objects.update(enabled=False)
        assert self.names(ann) == []

    def test_they_are_measured_once_the_provider_tells_what_was_used(
        self, ann: Subscriber, account: Source
    ) -> None:
        def measured() -> dict[str, bool]:
            served = catalogue.servers_of(ann, catalogue.selection_of(ann, timezone.now()))
            return {one.name: one.is_measured for one in served}

        assert measured() == {"A": False, "B": False}
        Source.objects.filter(pk=account.pk).update(provider_download=1)
        assert measured() == {"A": True, "B": False}

    def test_a_server_that_others_use_too_is_not_measured(
        self, ann: Subscriber, account: Source
    ) -> None:
        stored(source("shared-2"), A)
        Source.objects.filter(pk=account.pk).update(provider_download=1)
        served = catalogue.servers_of(ann, catalogue.selection_of(ann, timezone.now()))
        assert [one.is_measured for one in served] == [False, False]


class TestLife:
    def test_an_account_of_somebody_deleted_is_not_fetched(
        self, account: Source, ann: Subscriber
    ) -> None:
        now = timezone.now()
        assert refreshing.due(now) == refreshing.enabled(now) == [account.pk]
        Subscriber.objects.update(hidden_at=now)
        assert refreshing.due(now) == refreshing.enabled(now) == []

    def test_erasing_a_person_deletes_their_accounts(
        self, account: Source, ann: Subscriber, tell: Tell
    ) -> None:
        tell("upload=0; download=0")
        tell("upload=0; download=9")
        shared = source("shared")
        erasure.erase(ann, By("ada", timezone.now()))
        assert list(Source.objects.all()) == [shared]
        assert Balance.objects.get().life_download == 9
        assert verification.count_differences(lambda _: None) == 0


class TestGrowth:
    @pytest.mark.parametrize(("before", "after", "growth"), [
        ((None, None), (5, 7), (0, 0)),
        ((1, 2), (5, 7), (4, 5)),
        ((5, 7), (5, 7), (0, 0)),
        ((5, 7), (5, 6), (5, 6)),
        ((5, 7), (4, 9), (4, 9)),
        ((None, 7), (None, 9), (0, 2)),
        ((5, 7), (None, 9), (0, 2)),
        ((None, 7), (5, 9), (0, 2)),
        ((5, 7), (None, None), (0, 0)),
    ])  # fmt: skip
    def test_the_growth_between_two_fetches(
        self,
        before: tuple[int | None, int | None],
        after: tuple[int | None, int | None],
        growth: tuple[int, int],
    ) -> None:
        assert provider_usage.growth(Totals(*before), Totals(*after)) == growth

    def test_each_day_has_a_sum_of_a_shared_account_too(self, tell: Tell) -> None:
        Source.objects.update(subscriber=None)
        tell("upload=1; download=2")
        tell("upload=2; download=4")
        tell("upload=3; download=8")
        day = ProviderUsage.objects.get()
        assert (day.day, day.upload, day.download) == (timezone.now().date(), 2, 6)

    def test_days_are_forgotten_after_400(self, account: Source) -> None:
        now = timezone.now()
        for age in (400, 401):
            ProviderUsage.objects.create(source=account, day=(now - timedelta(days=age)).date())
        assert provider_usage.drop_old(now) == 1
