"""The form of a template of lists."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextareaWidget

from subscriptions import cores, list_templates, skeletons, template_words
from subscriptions.list_templates import Refused
from subscriptions.models import Template

# The button that shows what a template would give, and the person for whom.
TRY, PERSON = "_try", "_person"
_CODE = {
    "dir": "ltr", "spellcheck": "false", "autocomplete": "off", "autocapitalize": "off", "rows": 26,
    "class": "xp-mono", "wrap": "off",
}  # fmt: skip

if TYPE_CHECKING:
    _TemplateModelForm = forms.ModelForm[Template]
else:
    _TemplateModelForm = forms.ModelForm


class TemplateForm(_TemplateModelForm):
    text = forms.CharField(
        label=_("Text"),
        max_length=skeletons.MAX_SIZE,
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs=_CODE),
        help_text=_(
            "YAML for mihomo, JSON for sing-box and Xray. Subscribers get all of it but comments, so no secret belongs "
            "here. Places: <code>&lt;servers&gt;</code>, <code>&lt;country DE NL&gt;</code>, "
            "<code>&lt;source Name&gt;</code>, <code>&lt;direct&gt;</code>, <code>&lt;name pattern&gt;</code>, "
            "<code>&lt;protocol trojan&gt;</code>, <code>&lt;countries&gt;</code>, <code>&lt;domains ru&gt;</code>, "
            "<code>&lt;networks private&gt;</code> (docs/templates.md)."
        ),
    )

    class Meta:
        model = Template
        fields = ["name", "format", "in_use", "groups", "text"]

    # What the core says of a text that is not refused.
    verdict = cores.ABSENT

    def clean_text(self) -> str:
        """With the line breaks of the panel, because browsers send those of Windows."""
        text: str = self.cleaned_data["text"]
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if "format" in given and "text" in given:
            try:
                self.verdict = list_templates.check(given["format"], given["text"])
            except Refused as refused:
                self.add_error("text", ValidationError(template_words.of_refusal(refused)))
        return given

    def is_valid(self) -> bool:
        """False for a form that is only tried, so that it is shown again and not saved."""
        return TRY not in self.data and super().is_valid()
