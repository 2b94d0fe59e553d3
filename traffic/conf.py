"""Typed settings of ``traffic``. Each is read on use, so that tests can override it."""

from operations import conf as operations_conf
from operations.conf import MAX_DAYS, Rate, flag, number, rate


class Settings(operations_conf.Settings):
    """The settings of ``traffic`` and ``operations``."""

    @property
    def tracking_enabled(self) -> bool:
        return flag("XPERT_TRAFFIC_TRACKING_ENABLED", default=True)

    @property
    def retention_days(self) -> int:
        """Days that usage records are kept; 0 = for ever."""
        return number("XPERT_TRAFFIC_RETENTION_DAYS", default=0, least=0, most=MAX_DAYS)

    @property
    def reports_need_key(self) -> bool:
        return flag("XPERT_REPORTS_NEED_KEY", default=False)

    @property
    def rate_reports(self) -> Rate | None:
        return rate("XPERT_RATE_REPORTS", default="120/min")

    @property
    def max_bytes_per_hour(self) -> int:
        """What one subscriber may plausibly use in an hour; 0 = any."""
        return 2**30 * number("XPERT_MAX_GB_PER_HOUR", default=5000, least=0, most=10**9)

    @property
    def new_servers(self) -> Rate | None:
        """How many servers that the panel does not know a subscriber without a key may name."""
        return rate("XPERT_NEW_SERVERS", default="50/day")

    @property
    def switch_off_after_days(self) -> int:
        """Days after which subscribers who are expired or used up are switched off; 0 = never."""
        return number("XPERT_SWITCH_OFF_AFTER_DAYS", default=0, least=0, most=MAX_DAYS)

    @property
    def delete_after_days(self) -> int:
        """Days after which subscribers who are expired or used up are deleted by hiding; 0 = never."""
        return number("XPERT_DELETE_AFTER_DAYS", default=0, least=0, most=MAX_DAYS)


conf = Settings()
