"""A stand-in for Marzban that answers every question after 10 ms, and what a panel needs to merge its lists."""

import asyncio
import json
import sys
from base64 import b64encode, urlsafe_b64encode
from typing import Any

DELAY = 0.01
SERVERS = 50
# In the form that Marzban makes: name and time, then ten characters of signature.
TOKEN = urlsafe_b64encode(b"alice,1764000000").decode().rstrip("=") + "0123456789"
_NAMES = [f"alice {number}" for number in range(4)]


def _links() -> bytes:
    user = "vless://11111111-2222-4333-8444-555555555555"
    links = [
        f"{user}@panel.example.com:44{number}?security=tls#{name}"
        for number, name in enumerate(_NAMES)
    ]
    return b64encode("\n".join(links).encode())


def _clash() -> bytes:
    proxies = "".join(
        f"- name: {name}\n  type: trojan\n  server: panel.example.com\n  port: 44{number}\n  password: x\n"
        for number, name in enumerate(_NAMES)
    )
    members = "".join(f"  - {name}\n" for name in _NAMES)
    return f"proxies:\n{proxies}proxy-groups:\n- name: auto\n  type: select\n  proxies:\n{members}rules: []\n".encode()


_INFO = json.dumps({"username": "alice", "status": "active"}).encode()
ANSWERS = {
    "info": ("application/json", _INFO),
    "v2ray": ("text/plain; charset=utf-8", _links()),
    "clash-meta": ("text/yaml; charset=utf-8", _clash()),
}

# For manage.py shell: the link, and the external servers.
SETUP = """
from integrations.marzban.models import PanelLink
from operations.audit import By
from subscriptions.direct_configs import add_many
from django.utils import timezone
PanelLink.objects.create(name="Marzban", url="{url}", signs_in=True)
links = [f"trojan://pw@vpn{{n}}.example.com:443?type=ws&path=%2Fx&security=tls#Server{{n}}" for n in range({servers})]
add_many(links, By("bench", timezone.now()))
"""


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while head := await _head(reader):
        kind, body = ANSWERS.get(head.split()[1].decode().rpartition("/")[2], ANSWERS["v2ray"])
        await asyncio.sleep(DELAY)
        fields = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(fields.encode() + body)
        await writer.drain()
        if b"connection: close" in head.lower():
            break
    writer.close()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


async def _main(port: int) -> Any:
    server = await asyncio.start_server(_serve, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
