"""A gateway's key opens that gateway's configuration, and nothing else opens it."""

from rest_framework.exceptions import NotFound
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from gateways.models import Gateway
from operations.models import ApiKey

# Whoever has a key need not know the name that belongs to it.
OWN = "-"


class IsGateway(BasePermission):
    """Only a holder of some gateway's key learns whether another gateway exists."""

    message = (
        "This needs the gateway's own key. manage.py create_gateway makes a gateway with its key."
    )

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not isinstance(request.auth, ApiKey):
            return False
        own = Gateway.objects.filter(key=request.auth).values_list("name", flat=True).first()
        asked = view.kwargs["name"]
        if own is None or asked in (own, OWN):
            return own is not None
        if not Gateway.objects.filter(name=asked).exists():
            raise NotFound("There is no such gateway.")
        return False
