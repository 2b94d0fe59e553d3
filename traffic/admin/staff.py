"""People who may sign in here, and their groups: Django's own pages in the panel's theme."""

from typing import Any

from django.contrib import admin
from django.contrib.auth import admin as auth_admin
from django.contrib.auth.models import Group, Permission, User
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _
from unfold import forms as themed

from .base import GuardedAdmin, Section
from .ids import IdsField

for _model in (User, Group):
    if admin.site.is_registered(_model):  # not so when the project has users of its own
        admin.site.unregister(_model)


_MAY = {
    "add": pgettext_lazy("permission", "add"),
    "change": pgettext_lazy("permission", "change"),
    "delete": pgettext_lazy("permission", "delete"),
    "view": pgettext_lazy("permission", "view"),
}


class PermissionsField(IdsField):
    """Django keeps the names of permissions in the database, in English."""

    def label_from_instance(self, obj: Permission) -> str:
        kind = obj.content_type
        words = [gettext(word) for word in kind.app_labeled_name.split(" | ")]
        return " | ".join([*words, str(_MAY.get(obj.codename.removesuffix(f"_{kind.model}"), obj.name))])


class _People:
    """What the pages of users and groups have in common."""

    class Media:
        css = {"all": ("traffic/admin.css",)}

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        if db_field.related_model is Permission:
            kwargs["form_class"] = PermissionsField
        return super().formfield_for_manytomany(db_field, request, **kwargs)  # type: ignore[misc]


@admin.register(User)
class StaffAdmin(_People, auth_admin.UserAdmin, GuardedAdmin[User]):  # type: ignore[type-arg]  # it cannot be subscripted
    section = Section.ACCESS
    icon = "badge"
    form = themed.UserChangeForm
    add_form = themed.UserCreationForm
    change_password_form = themed.AdminPasswordChangeForm
    list_display = ("username", "full_name", "is_active", "is_superuser", "last_login")
    list_filter = ("is_active", "is_superuser", "groups")

    @admin.display(description=_("name"))
    def full_name(self, obj: User) -> str:
        return obj.get_full_name()


@admin.register(Group)
class StaffGroupAdmin(_People, auth_admin.GroupAdmin, GuardedAdmin[Group]):
    section = Section.ACCESS
    icon = "groups"
