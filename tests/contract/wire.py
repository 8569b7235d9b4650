"""Raw HTTP messages, for relays and proxies that damage them."""

from __future__ import annotations

import socket


def message(connection: socket.socket) -> bytes:
    """One HTTP message with a Content-Length, or its beginning if the connection ends before."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := connection.recv(65536)):
            return data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    length = int(lengths[0].split(b":")[1]) if lengths else 0
    while len(body) < length and (more := connection.recv(65536)):
        body += more
    return head + b"\r\n\r\n" + body
