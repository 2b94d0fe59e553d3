"""The devices on a subscriber's page, and forgetting them."""

from functools import partial

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from operations.admin import questions
from operations.admin.base import PanelAdmin, by
from operations.admin.ids import find_or_404
from operations.admin.questions import Confirmation
from subscriptions import devices
from subscriptions.models import Device
from traffic.models import Subscriber
from traffic.people import resellers

from .hits import app_name


def panel(request: HttpRequest, subscriber: Subscriber) -> str:
    """Nothing while the subscriber's devices are not limited and none is known."""
    known = list(Device.objects.filter(subscriber=subscriber))
    limit = subscriber.device_limit
    if limit is None and not known:
        return ""
    context = {
        "subscriber": subscriber,
        "devices": [
            (device, app_name(device.app), limit is None or place < limit)
            for place, device in enumerate(known)
        ],
        "limit": limit,
        "may_forget": not subscriber.hidden_at
        and resellers.may(request.user, "traffic.change_subscriber", subscriber),
    }
    return render_to_string("admin/subscriptions/devices.html", context)


@questions.asking
def forget_view(
    owner: PanelAdmin[Subscriber], request: HttpRequest, object_id: str
) -> HttpResponse:
    """Forget ``?device=``, or all."""
    obj = owner.permitted(request, object_id, "change")
    number = request.GET.get("device", "")
    device = find_or_404(Device.objects.filter(subscriber=obj), number) if number else None
    question = _("Forget the device") if device else _("Forget all devices")
    asked = Confirmation(
        title=f"{question}: {device or obj}",
        text=_("The place is free again: the next new device gets it, which may be the same one."),
        button=_("Forget"),
    )
    return questions.agree(
        owner, request, asked, obj, partial(_forget, owner, request, obj, device)
    )


def _forget(
    owner: PanelAdmin[Subscriber], request: HttpRequest, obj: Subscriber, device: Device | None
) -> None:
    count = devices.forget(obj, device.pk if device else None, by(request))
    text = _("Devices forgotten: %(count)d.") % {"count": count}
    owner.message_user(request, text, messages.SUCCESS)
