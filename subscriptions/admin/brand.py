"""The page on which an operator says how the panel looks to subscribers."""

from datetime import timedelta
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminFileFieldWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from operations.admin.base import PanelAdmin
from operations.databases.transactions import write_transaction
from subscriptions import formats
from subscriptions.conf import LANGUAGES, is_url
from subscriptions.models import Brand
from subscriptions.serving import happ_routing, usage_lines
from subscriptions.serving.app_links import APPS

from .sections import SUBSCRIPTIONS

_LINES = ("line_en", "line_ru", "line_fa")
# The page holds the picture itself.
_MAX_LOGO = 64 * 1024
# How each type begins (file signatures). An SVG may hold scripts, so it is not among them.
_TYPES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"RIFF": "image/webp",
}


class BrandForm(forms.ModelForm):  # type: ignore[type-arg]  # the class cannot be subscripted
    picture = forms.FileField(
        label=gettext_lazy("Logo"),
        required=False,
        widget=UnfoldAdminFileFieldWidget,
        help_text=gettext_lazy("PNG, JPEG or WebP, up to 64 KiB."),
    )
    no_picture = forms.BooleanField(label=gettext_lazy("Remove the logo"), required=False)
    apps = forms.MultipleChoiceField(
        label=gettext_lazy("Apps"),
        required=False,
        choices=[(app.name, f"{app.name} ({app.systems})") for app in APPS],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text=gettext_lazy(
            "Offered on the page, the first for a device recommended. None: all."
        ),
    )

    line_formats = forms.MultipleChoiceField(
        label=gettext_lazy("Remainder in lists"),
        required=False,
        choices=[(name, name) for name in formats.NAMES],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text=gettext_lazy(
            "In these formats the list ends with an entry that connects nowhere and tells what is left. None: no such entry."
        ),
    )

    class Meta:
        model = Brand
        fields = (
            "title", "colour", "announcement", "support_url", "renewal_url", "apps", "line_formats", *_LINES, "happ_routing",
        )  # fmt: skip
        widgets: ClassVar[dict[str, forms.Widget]] = {
            name: UnfoldAdminTextInputWidget(attrs={"dir": "ltr", "spellcheck": "false"})
            for name in ("colour", "support_url", "renewal_url")
        } | {
            "happ_routing": UnfoldAdminTextareaWidget(
                attrs={"rows": 4, "dir": "ltr", "spellcheck": "false", "class": "xp-mono"}
            )
        }
        help_texts: ClassVar[dict[str, Any]] = {
            "title": gettext_lazy("The name of the subscription in apps and on the page."),
            "colour": gettext_lazy("The colour of the page, like #2457c5."),
            "announcement": gettext_lazy("Shown on the page, and by apps that show announcements."),
            "support_url": gettext_lazy("https:// or tg://. If empty, XPERT_SUPPORT_URL."),
            "renewal_url": gettext_lazy("Where subscribers renew: https:// or tg://."),
            "happ_routing": gettext_lazy(
                "A link happ://routing/… or the JSON of a routing profile, which becomes such a link. Sent to Happ alone, as the header routing."
            ),
            **dict.fromkeys(
                _LINES,
                gettext_lazy(
                    "Empty: a ready text. It may hold {left}, {used}, {limit}, {days}, {until} and {name}."
                ),
            ),
        }

    def clean_line_en(self) -> str:
        return _line(self.cleaned_data["line_en"])

    def clean_line_ru(self) -> str:
        return _line(self.cleaned_data["line_ru"])

    def clean_line_fa(self) -> str:
        return _line(self.cleaned_data["line_fa"])

    def clean_support_url(self) -> str:
        return _url(self.cleaned_data["support_url"])

    def clean_renewal_url(self) -> str:
        return _url(self.cleaned_data["renewal_url"])

    def clean_happ_routing(self) -> str:
        try:
            return happ_routing.link_of(self.cleaned_data["happ_routing"])
        except happ_routing.NotRouting:
            raise ValidationError(
                _(
                    "Expected happ://routing/add/…, happ://routing/onadd/… or happ://routing/off, with JSON in base64, or a JSON object."
                )
            ) from None

    def clean_picture(self) -> bytes:
        uploaded: UploadedFile[bytes] | None = self.cleaned_data["picture"]
        if uploaded is None:
            return b""
        if (uploaded.size or 0) > _MAX_LOGO:
            raise ValidationError(_("The picture is larger than 64 KiB."))
        content: bytes = uploaded.read()
        if not _type_of(content):
            raise ValidationError(_("The file is not a PNG, JPEG or WebP picture."))
        return content


def _url(value: str) -> str:
    if not is_url(value):
        raise ValidationError(_("Expected a URL that begins with https://, http:// or tg://."))
    return value


def _line(text: str) -> str:
    if unknown := usage_lines.unknown_placeholders(text):
        raise ValidationError(_("There is no placeholder {%(name)s}.") % {"name": unknown[0]})
    return text


def _type_of(content: bytes) -> str:
    return next((kind for start, kind in _TYPES.items() if content.startswith(start)), "")


@admin.register(Brand)
class BrandAdmin(PanelAdmin[Brand]):
    """The list of the one row is the form of that row."""

    section = SUBSCRIPTIONS
    icon = "palette"
    place = 90
    rights = frozenset({"change", "view"})
    form = BrandForm
    fields = (
        "title", "picture", "no_picture", "colour", "announcement", "support_url", "renewal_url", "apps",
        "line_formats", *_LINES, "line_preview", "happ_routing",
    )  # fmt: skip
    readonly_fields = ("line_preview",)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        with write_transaction():
            brand, _created = Brand.objects.get_or_create(pk=1)
        return HttpResponseRedirect(self.url("change", brand))

    def get_fields(self, request: HttpRequest, obj: Brand | None = None) -> Any:
        """Hide the fields that only the form has from users who may only view, because Django cannot show their values."""
        shown = super().get_fields(request, obj)
        if self.has_change_permission(request, obj):
            return shown
        return [name for name in shown if name not in {"picture", "no_picture"}]

    @admin.display(description=gettext_lazy("preview"))
    def line_preview(self, brand: Brand) -> SafeString:
        """The saved texts with the figures of an example."""
        now = timezone.now()
        example = usage_lines.Figures("Ann", 12 * 2**30, 50 * 2**30, now + timedelta(days=9), now)
        return format_html_join(
            "",
            '<div dir="auto" lang="{}">{} {}</div>',
            (
                (
                    code,
                    usage_lines.MARK,
                    usage_lines.line(usage_lines.text_of(brand, code), example, code),
                )
                for code in LANGUAGES
            ),
        )

    def save_model(self, request: HttpRequest, obj: Brand, form: Any, change: bool) -> None:
        picture: bytes = form.cleaned_data["picture"]
        if picture or form.cleaned_data["no_picture"]:
            obj.logo, obj.logo_type = picture, _type_of(picture)
        super().save_model(request, obj, form, change)
