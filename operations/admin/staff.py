"""Staff users and their groups: Django's own pages in the panel's theme."""

from django.contrib import admin
from django.contrib.auth import admin as auth_admin
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _
from unfold import forms as themed

from operations import second_factor

from . import questions
from .base import ACCESS, PanelAdmin, by
from .ids import IdsField
from .questions import Confirmation

for _model in (User, Group):
    if admin.site.is_registered(_model):  # not registered if the project has its own user model
        admin.site.unregister(_model)


_MAY = {
    "add": pgettext_lazy("permission", "add"),
    "change": pgettext_lazy("permission", "change"),
    "delete": pgettext_lazy("permission", "delete"),
    "view": pgettext_lazy("permission", "view"),
}


class PermissionsField(IdsField):
    """Translates the names of permissions, which Django stores in English."""

    def label_from_instance(self, obj: Permission) -> str:
        kind = obj.content_type
        words = [gettext(word) for word in kind.app_labeled_name.split(" | ")]
        may = _MAY.get(obj.codename.removesuffix(f"_{kind.model}")) or gettext(obj.name)
        return " | ".join([*words, str(may)])


@questions.asking
def _take_away(owner: PanelAdmin[User], request: HttpRequest, object_id: str) -> HttpResponse:
    """Take the lost second factor of somebody else away; one's own is switched off with a code of it."""
    obj = owner.permitted(request, object_id, "change")
    if not getattr(request.user, "is_superuser", False):
        raise PermissionDenied
    if obj.pk == request.user.pk:
        return HttpResponseRedirect(reverse("admin:second_factor"))
    asked = Confirmation(
        title=gettext("Take the second factor of %(name)s away?") % {"name": obj},
        text=_(
            "For somebody who has lost their phone and their recovery codes. Their password alone then opens the panel,"
            " so be sure who is asking."
        ),
        button=_("Take it away"),
        is_loss=True,
    )
    return questions.agree(
        owner, request, asked, obj, lambda: second_factor.take_away(obj, by(request))
    )


@admin.register(User)
class StaffAdmin(auth_admin.UserAdmin, PanelAdmin[User]):  # type: ignore[type-arg]  # it cannot be subscripted
    section = ACCESS
    icon = "badge"
    choice_fields = {Permission: PermissionsField}
    form = themed.UserChangeForm
    add_form = themed.UserCreationForm
    change_password_form = themed.AdminPasswordChangeForm
    list_display = (
        "username",
        "full_name",
        "is_active",
        "is_superuser",
        "has_second_factor",
        "last_login",
    )
    list_filter = ("is_active", "is_superuser", "groups")
    list_select_related = ("second_factor",)
    pages = {"second_factor": _take_away}

    @admin.display(description=_("name"))
    def full_name(self, obj: User) -> str:
        return obj.get_full_name()

    @admin.display(description=_("second factor"), boolean=True, ordering="second_factor")
    def has_second_factor(self, obj: User) -> bool:
        return second_factor.factor_of(obj) is not None


@admin.register(Group)
class StaffGroupAdmin(auth_admin.GroupAdmin, PanelAdmin[Group]):
    section = ACCESS
    icon = "groups"
    choice_fields = {Permission: PermissionsField}
