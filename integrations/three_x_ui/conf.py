"""Settings of ``integrations.three_x_ui``. Each is read when needed, so that tests can override it."""

from pathlib import Path

from django.conf import settings

from traffic import conf as traffic_conf


class Settings(traffic_conf.Settings):
    """The settings of ``integrations.three_x_ui`` and of the apps below it."""

    @property
    def spool_folder(self) -> Path:
        """Where messages wait that the database did not take in time: on this machine, beside the database."""
        return Path(getattr(settings, "XPERT_SPOOL_FOLDER", "data/spool"))


conf = Settings()
