"""A loopback server that answers every POST at once with one small JSON body: it measures callers, not itself.

Each connection has a thread that blocks in ``recv``: an event loop would add more to each call than the callers differ.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading


def answer(body: bytes) -> bytes:
    """A whole HTTP answer."""
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
        b"Content-Length: %d\r\nConnection: keep-alive\r\n\r\n%s" % (len(body), body)
    )


MAIN = answer(b'{"USDT":{"main_balance":"9900.5"},"BTC":{"main_balance":"0.5"}}')
TRADE = answer(b'{"USDT":{"available":"9900.5","freeze":"0"},"BTC":{"available":"0.5","freeze":"0"}}')


def serve(connection: socket.socket) -> None:
    """Answer each complete request of one connection."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    received = b""
    with connection, contextlib.suppress(ConnectionError):
        while more := connection.recv(65536):
            received += more
            while (end := received.find(b"\r\n\r\n")) >= 0:
                head = received[:end].lower()
                at = head.find(b"content-length:")
                length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
                if len(received) < end + 4 + length:
                    break
                received = received[end + 4 + length :]
                connection.sendall(TRADE if b"/trade-account/" in head[:100] else MAIN)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
