"""What operators type: one link, or a list of them."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from subscriptions import direct_configs, guard, sources, troubles
from subscriptions.links import MAX_LENGTH, LinkError
from subscriptions.models import DirectConfig, Source

if TYPE_CHECKING:
    _DirectConfigModelForm = forms.ModelForm[DirectConfig]
    _SourceModelForm = forms.ModelForm[Source]
else:
    _DirectConfigModelForm = _SourceModelForm = forms.ModelForm


class DirectConfigForm(_DirectConfigModelForm):
    raw = forms.CharField(
        label=_("link"),
        max_length=MAX_LENGTH,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4, "spellcheck": "false"}),
        help_text=_("A share link: vless://…, vmess://…, trojan://…, ss://…, hysteria2://…"),
    )

    class Meta:
        model = DirectConfig
        fields = ["raw", "remarks", "is_active", "position", "groups"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # ``_post_clean`` writes the form into the instance; what the link was before is needed after that.
        self._raw_before = self.instance.raw

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if "raw" not in self.cleaned_data:
            return
        self.instance.raw = self._raw_before
        try:
            direct_configs.fill(self.instance, self.cleaned_data["raw"], self.cleaned_data.get("remarks", ""))
        except (LinkError, direct_configs.DuplicateLink) as error:
            self.add_error("raw", ValidationError(direct_configs.refusal(error)))


class SourceForm(_SourceModelForm):
    class Meta:
        model = Source
        fields = ["name", "url", "enabled", "priority", "interval", "groups", "allow_private"]
        widgets = {
            "url": UnfoldAdminTextInputWidget(attrs={"dir": "ltr", "autocomplete": "off", "spellcheck": "false"}),
        }
        error_messages = {"url": {"unique": _("This source is there already.")}}

    def clean(self) -> dict[str, Any]:
        """Whether the URL may be fetched depends on whether the source may be private."""
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if "url" in given:
            try:
                sources.check_url(given["url"], allow_private=given.get("allow_private", False))
            except guard.Refused as error:
                self.add_error("url", ValidationError(troubles.sentence(error.code)))
        return given


class ManyLinksForm(forms.Form):
    links = forms.CharField(
        label=_("Links"),
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 16, "spellcheck": "false"}),
        help_text=_(
            "One a line. Good ones are added at the end of the list; bad ones stay here, each with its reason."
        ),
    )
