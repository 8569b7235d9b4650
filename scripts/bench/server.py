"""A loopback server that answers every POST at once with one small JSON body: it measures callers, not itself."""

from __future__ import annotations

import asyncio
import sys


def answer(body: bytes) -> bytes:
    """A whole HTTP answer."""
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
        b"Content-Length: %d\r\nConnection: keep-alive\r\n\r\n%s" % (len(body), body)
    )


MAIN = answer(b'{"USDT":{"main_balance":"9900.5"},"BTC":{"main_balance":"0.5"}}')
TRADE = answer(b'{"USDT":{"available":"9900.5","freeze":"0"},"BTC":{"available":"0.5","freeze":"0"}}')


class Answers(asyncio.Protocol):
    """Counts the bytes of each request and answers when it is whole."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            self.transport.write(TRADE if b"/trade-account/" in head[:100] else MAIN)  # type: ignore[attr-defined]


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Answers, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(0)
