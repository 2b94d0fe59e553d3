"""The form for a new gateway: three fields suffice."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from gateways import creation
from gateways.creation import GatewayError, Plan
from gateways.models import Gateway, Inbound
from operations.conf import conf

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Gateway]
else:
    _ModelForm = forms.ModelForm

# Those reach far, and get by with one port each.
_USUAL = (Inbound.Protocol.SHADOWSOCKS, Inbound.Protocol.HYSTERIA2)


class NewGatewayForm(_ModelForm):
    protocols = forms.MultipleChoiceField(
        label=_("protocols"),
        choices=Inbound.Protocol.choices,
        initial=_USUAL,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text=_(
            "How people reach it, each at its usual port: 443, Shadowsocks at 8388. Of Trojan and VLESS choose one,"
            " and one of Hysteria2 and TUIC, or use manage.py create_gateway, which takes other ports."
        ),
    )

    class Meta:
        model = Gateway
        fields = [
            "name",
            "host",
            "engine",
            "beside",
            "direct",
            "all_sources",
            "sources",
            "certificate",
            "private_key",
            "reality_server_name",
        ]
        help_texts = {"host": _("Its public name or address, as people's apps will have it.")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["engine"].required = False

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or self.cleaned_data
        if conf.open_access:
            raise forms.ValidationError(
                _(
                    "Open access is on: a gateway would let everybody in. Set XPERT_OPEN_ACCESS=False."
                )
            )
        if not self.errors:
            try:
                creation.check(self.plan())
            except GatewayError as error:
                raise forms.ValidationError(str(error)) from None
        return found

    def plan(self) -> Plan:
        """What ``creation.create`` makes of the form."""
        given = self.cleaned_data
        engine = given["engine"] or Gateway.Engine.SING_BOX
        sources = None if given["all_sources"] else tuple(row.pk for row in given["sources"])
        return Plan(
            name=given["name"],
            host=given["host"],
            engine=engine,
            inbounds=tuple(
                creation.inbound(protocol, engine=engine) for protocol in given["protocols"]
            ),
            certificate=given["certificate"],
            private_key=given["private_key"],
            reality_server_name=given["reality_server_name"],
            direct=given["direct"],
            sources=sources,
            beside=given["beside"],
        )
