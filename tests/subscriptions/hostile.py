"""Servers on the loopback interface that behave badly, and a network on which they have public names and addresses."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from operations.outbound.dial import Network, Streams

Behaviour = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
PUBLIC = "93.184.215.14"


class Internet:
    """Names and public addresses that all end at servers here. What nobody serves refuses the connection.

    ``dialled``: every address to which somebody connected; ``requests``: what the servers were sent.
    """

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {}
        self.dialled: list[str] = []
        self.requests: list[bytes] = []
        self._ports: dict[str, int] = {}
        self._servers: list[asyncio.Server] = []
        self._handlers: set[asyncio.Task[None]] = set()

    async def serve(self, name: str, behaviour: Behaviour, address: str = PUBLIC) -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._handlers.add(asyncio.current_task())  # type: ignore[arg-type]
            try:
                request = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(request)
                await behaviour(request, writer)
            except (OSError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.transport.abort()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        self._servers.append(server)
        self._ports[address] = server.sockets[0].getsockname()[1]
        self.names[name] = [address]

    async def resolve(self, host: str, port: int) -> list[str]:
        if host not in self.names:
            raise OSError(host)
        return self.names[host]

    async def connect(self, address: str, port: int, tls_name: str) -> Streams:
        self.dialled.append(address)
        if address not in self._ports:
            raise ConnectionRefusedError(address)
        return await asyncio.open_connection("127.0.0.1", self._ports[address])

    @property
    def network(self) -> Network:
        return Network(self.resolve, self.connect)

    async def close(self) -> None:
        """The connections first: one that was just accepted when its server closes is left open by asyncio."""
        while asyncio.all_tasks() - {asyncio.current_task()}:
            for handler in self._handlers:
                handler.cancel()
            await asyncio.sleep(0)
        for server in self._servers:
            server.close()
        await asyncio.sleep(0)


def answer(body: bytes = b"", status: str = "200 OK", **headers: Any) -> Behaviour:
    """A proper answer; ``Content_Type="x"`` is a header."""

    async def behaviour(_: bytes, writer: asyncio.StreamWriter) -> None:
        fields = {"Content_Length": len(body)} | headers
        lines = [
            f"{name.replace('_', '-')}: {value}"
            for name, value in fields.items()
            if value is not None
        ]
        writer.write("\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode("latin-1") + body)
        await writer.drain()

    return behaviour


def raw(*pieces: bytes, pause: float = 0, forever: bool = False) -> Behaviour:
    """These bytes, with pauses; ``forever``: the last one again and again, or, without a pause, silence."""

    async def behaviour(_: bytes, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        while forever:
            if pause:
                writer.write(pieces[-1])
                await writer.drain()
            await asyncio.sleep(pause or 0.05)

    return behaviour


class InternetInThread:
    """The same for code that runs a loop of its own: the servers run in a thread's."""

    def __init__(self) -> None:
        self.internet = Internet()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def serve(self, name: str, behaviour: Behaviour, address: str = PUBLIC) -> None:
        asyncio.run_coroutine_threadsafe(
            self.internet.serve(name, behaviour, address), self._loop
        ).result(20)

    @property
    def network(self) -> Network:
        return self.internet.network

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.internet.close(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()
