"""What the first screen counts about subscribers and servers, and the lists that show them."""

from datetime import datetime

from django.utils.translation import ngettext

from operations.extension import Concern
from traffic.conf import conf
from traffic.figures import overview
from traffic.models import Subscriber
from traffic.people import quotas
from traffic.people.quotas import EXPIRES_SOON

# More servers than any real panel has.
_MANY = 10_000


def _expiring(now: datetime) -> int:
    found = quotas.expires_between(now, now + EXPIRES_SOON)
    return Subscriber.objects.visible().filter(found).count()


def _over(now: datetime) -> int:
    return overview.limited(now, conf.time_zone)


def _silent_servers(now: datetime) -> int:
    return len(overview.silent_servers(now, _MANY))


CONCERNS = (
    Concern(
        "traffic.view_subscriber",
        "traffic_subscriber_changelist?state=soon",
        _expiring,
        lambda count: (
            ngettext(
                "%d subscriber expires within 3 days", "%d subscribers expire within 3 days", count
            )
            % count
        ),
    ),
    Concern(
        "traffic.view_subscriber",
        "traffic_subscriber_changelist?state=limited",
        _over,
        lambda count: (
            ngettext("%d subscriber is over the limit", "%d subscribers are over the limit", count)
            % count
        ),
    ),
    Concern(
        "traffic.view_server",
        "traffic_server_changelist?last=silent",
        _silent_servers,
        lambda count: (
            ngettext(
                "%d server has had no traffic for a day",
                "%d servers have had no traffic for a day",
                count,
            )
            % count
        ),
    ),
)
SETTLED_IN = {
    "reporter-silent": "traffic_reporter_changelist?news=silent",
    "reporter-problem": "traffic_reporter_changelist?news=problems",
    "people-unknown": "traffic_reporter_changelist?news=unknown",
    "set-aside": "traffic_reporter_changelist",
    "reports-silent": "traffic_reporter_changelist",
}
