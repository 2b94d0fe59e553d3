from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from gateways.creation import GatewayError, Plan, create, inbound
from gateways.models import Gateway, Inbound
from operations.audit import By
from operations.conf import conf


class Command(BaseCommand):
    help = (
        "Makes a gateway. Its key is shown once, alone on the last line, and stored only as a hash."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="also the name of its meter")
        parser.add_argument("--host", required=True, help="its public name or address")
        parser.add_argument(
            "--protocol",
            required=True,
            nargs="+",
            metavar="P[:PORT]",
            help=f"how people reach it: {', '.join(Inbound.Protocol.values)}",
        )
        parser.add_argument(
            "--engine",
            choices=Gateway.Engine.values,
            default=Gateway.Engine.SING_BOX.value,
            help="xray: people come and go without a reload, and each server takes a port",
        )
        parser.add_argument("--port", type=int, help="of a single protocol")
        parser.add_argument("--certificate", default="", help="path on the gateway's machine")
        parser.add_argument("--private-key", default="", help="path on the gateway's machine")
        parser.add_argument(
            "--reality-server-name",
            default="",
            metavar="SITE",
            help="vless looks like this site (REALITY); its keys are made on the gateway",
        )
        parser.add_argument(
            "--direct",
            choices=("all", "none"),
            default="all",
            help="which direct configurations go through it",
        )
        parser.add_argument(
            "--sources",
            default="all",
            metavar="all|none|ID,…",
            help="which sources go through it",
        )
        parser.add_argument(
            "--beside",
            action="store_true",
            help="beside the direct links; default: instead of them",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if conf.open_access:
            raise CommandError(
                "Open access is on: a gateway would let everybody in. Set XPERT_OPEN_ACCESS=False first."
            )
        try:
            gateway, secret = create(_plan(options), By("create_gateway", timezone.now()))
        except GatewayError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"Gateway {gateway.name!r}; keep its key, it is shown only now:")
        self.stdout.write(secret)


def _plan(options: dict[str, Any]) -> Plan:
    protocols, port = options["protocol"], options["port"]
    if port is not None and len(protocols) > 1:
        raise GatewayError("--port is for a single protocol; write each as PROTOCOL:PORT.")
    return Plan(
        name=options["name"],
        host=options["host"],
        engine=options["engine"],
        inbounds=tuple(inbound(text, port, options["engine"]) for text in protocols),
        certificate=options["certificate"],
        private_key=options["private_key"],
        reality_server_name=options["reality_server_name"],
        direct=options["direct"] == "all",
        sources=_sources(options["sources"]),
        beside=options["beside"],
    )


def _sources(text: str) -> tuple[int, ...] | None:
    if text in {"all", "none"}:
        return None if text == "all" else ()
    items = text.split(",")
    if not all(item.isascii() and item.isdigit() for item in items):
        raise GatewayError("--sources takes all, none or ids like 1,2.")
    return tuple(map(int, items))
