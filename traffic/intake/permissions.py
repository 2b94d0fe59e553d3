"""Permission to report."""

from rest_framework.request import Request
from rest_framework.views import APIView

from operations.api.permissions import NeedsKey
from operations.extension import Bearer, meter_of
from operations.models import ApiKey
from traffic.conf import conf
from traffic.key_options import OTHER_WAY, allows


class MayReport(NeedsKey):
    """Anybody may report for themselves, unless reports need a key. A key needs the scope ``report`` or ``manage``.

    A bound key may report to views that accept meters, if an app made it for one.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        auth = request.auth
        if isinstance(auth, ApiKey) and auth.scope == ApiKey.Scope.BOUND:
            takes_meters = getattr(view, "takes_meters", False)
            if takes_meters and meter_of(auth.pk) is not None:
                return True
        if isinstance(auth, ApiKey) and not allows(auth, getattr(view, "way", "")):
            self.message = OTHER_WAY
            return False
        if isinstance(auth, ApiKey | Bearer):
            return self.is_enough(auth, "report")
        self.ask_for_key("report")
        return not conf.reports_need_key
