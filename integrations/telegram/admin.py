"""Linked Telegram chats, and the code that links a chat of one's own."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache

from operations.admin.base import NOTIFICATIONS, PanelAdmin
from operations.admin.questions import asking
from operations.formatting import moment
from subscriptions.conf import LANGUAGES

from . import codes, lease, page
from .conf import conf
from .models import Link


@method_decorator(never_cache)
@asking
def own_view(owner: PanelAdmin[Link], request: HttpRequest) -> HttpResponse:
    """A code for the chat of the member of the staff who asks."""
    if not owner.has_view_permission(request):
        raise PermissionDenied
    context: dict[str, Any] = {"title": _("Link my Telegram"), "is_on": bool(conf.telegram_token)}
    if request.method == "POST" and conf.telegram_token:
        context |= _code(request, timezone.now())
    return owner.render_list_page(request, "admin/telegram/own.html", context)


def _code(request: HttpRequest, now: datetime) -> dict[str, Any]:
    language = (get_language() or "en").partition("-")[0]
    user: Any = request.user
    code = codes.for_user(user, language if language in LANGUAGES else "en", now)
    return page.code_context(lease.bot().username, code)


@admin.register(Link)
class LinkAdmin(PanelAdmin[Link]):
    section = NOTIFICATIONS
    icon = "forum"
    rights = frozenset({"view", "delete"})
    list_display = ("whose", "kind", "language", "linked", "blocked")
    list_select_related = ("subscriber", "user")
    fields = ("whose", "kind", "language", "linked", "blocked")
    search_fields = ("subscriber__name", "user__username")
    list_pages = {"own": own_view}
    empty_text = gettext_lazy(
        "No chats yet. Subscribers link theirs on their page, and you yours with “Link my Telegram”."
    )
    change_list_template = "admin/telegram/link/change_list.html"

    @admin.display(description=gettext_lazy("whose"))
    def whose(self, obj: Link) -> str:
        return str(obj)

    @admin.display(description=gettext_lazy("kind"))
    def kind(self, obj: Link) -> str:
        return _("member of the staff") if obj.user_id else _("subscriber")

    @admin.display(description=gettext_lazy("linked since"), ordering="linked_at")
    def linked(self, obj: Link) -> str:
        return moment(obj.linked_at)

    @admin.display(description=gettext_lazy("blocked the bot"), ordering="blocked_at")
    def blocked(self, obj: Link) -> str:
        return moment(obj.blocked_at)
