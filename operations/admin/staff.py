"""Staff users and their groups: Django's own pages in the panel's theme."""

from django.contrib import admin
from django.contrib.auth import admin as auth_admin
from django.contrib.auth.models import Group, Permission, User
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _
from unfold import forms as themed

from .base import ACCESS, PanelAdmin
from .ids import IdsField

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


@admin.register(User)
class StaffAdmin(auth_admin.UserAdmin, PanelAdmin[User]):  # type: ignore[type-arg]  # it cannot be subscripted
    section = ACCESS
    icon = "badge"
    choice_fields = {Permission: PermissionsField}
    form = themed.UserChangeForm
    add_form = themed.UserCreationForm
    change_password_form = themed.AdminPasswordChangeForm
    list_display = ("username", "full_name", "is_active", "is_superuser", "last_login")
    list_filter = ("is_active", "is_superuser", "groups")

    @admin.display(description=_("name"))
    def full_name(self, obj: User) -> str:
        return obj.get_full_name()


@admin.register(Group)
class StaffGroupAdmin(auth_admin.GroupAdmin, PanelAdmin[Group]):
    section = ACCESS
    icon = "groups"
    choice_fields = {Permission: PermissionsField}
