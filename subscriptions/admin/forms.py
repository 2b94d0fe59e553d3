"""Forms for direct configurations, lists of links, and sources."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from operations.outbound import url_policy
from subscriptions import direct_configs
from subscriptions.links import MAX_LENGTH, LinkError
from subscriptions.models import DirectConfig, Source
from subscriptions.sources import name_rules, refreshing, source_errors
from subscriptions.sources.name_rules import RuleError, Rules

_CODE = {"dir": "ltr", "spellcheck": "false", "autocomplete": "off"}

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
        # ``_post_clean`` writes the form into the instance, but the old link is needed after that.
        self._raw_before = self.instance.raw

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if "raw" not in self.cleaned_data:
            return
        self.instance.raw = self._raw_before
        try:
            direct_configs.fill(
                self.instance, self.cleaned_data["raw"], self.cleaned_data.get("remarks", "")
            )
        except (LinkError, direct_configs.DuplicateLink) as error:
            self.add_error("raw", ValidationError(direct_configs.refusal(error)))


# The button that shows what a source would give.
TRY = "_try"


class SourceForm(_SourceModelForm):
    class Meta:
        model = Source
        fields = [
            "name",
            "url",
            "enabled",
            "priority",
            "interval",
            "subscriber",
            "groups",
            "allow_private",
            "keep",
            "drop",
            "rename",
            "prefix",
            "flags",
        ]
        widgets = {
            "keep": UnfoldAdminTextInputWidget(attrs=_CODE),
            "drop": UnfoldAdminTextInputWidget(attrs=_CODE),
            "rename": UnfoldAdminTextareaWidget(attrs=_CODE | {"rows": 4}),
            "url": UnfoldAdminTextInputWidget(
                attrs={"dir": "ltr", "autocomplete": "off", "spellcheck": "false"}
            ),
        }
        error_messages = {"url": {"unique": _("This source already exists.")}}

    def clean(self) -> dict[str, Any]:
        """Check the URL together with ``is_private``, which decides where the URL may point."""
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if given.get("subscriber") and given.get("groups"):
            self.add_error(
                "groups", ValidationError(_("The account of one subscriber has no groups."))
            )
        if "url" in given:
            try:
                refreshing.check_url(given["url"], allow_private=given.get("allow_private", False))
            except url_policy.Refused as error:
                self.add_error("url", ValidationError(source_errors.sentence(error.code)))
        self._check_rules(given)
        return given

    def is_valid(self) -> bool:
        """False for a form that is only tried, so that it is shown again and not saved."""
        return TRY not in self.data and super().is_valid()

    def _check_rules(self, given: dict[str, Any]) -> None:
        names = Rules.__struct_fields__
        try:
            name_rules.check(Rules(**{name: given[name] for name in names if name in given}))
        except RuleError as error:
            self.add_error(error.field, ValidationError(source_errors.of_rule(error)))


class ManyLinksForm(forms.Form):
    links = forms.CharField(
        label=_("Links"),
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 16, "spellcheck": "false"}),
        help_text=_(
            "One link per line. Good links are added at the end of the list; bad links stay here, each with its reason."
        ),
    )
