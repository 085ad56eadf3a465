"""A syslog receiver for tests: writes each message, as a line of JSON (its bytes as latin-1), to a file.

receiver.py KIND ADDRESS FILE   with KIND datagram, stream (paths), udp, tcp (ports)

At SIGTERM it takes nothing new, reads what has reached it, and ends: so all that was sent to it and
told as sent is in the file.
"""

import json
import os
import select
import signal
import socket
import sys

kind, address, path = sys.argv[1:4]
out = open(path, "a", buffering=1 << 16)
wake, waker = os.pipe()
os.set_blocking(waker, False)
signal.set_wakeup_fd(waker)
signal.signal(signal.SIGTERM, lambda *_: None)


def note(message):
    out.write(json.dumps(message.decode("latin-1")) + "\n")


def split(buffer):
    """Takes whole messages out of a stream's bytes; returns the rest."""
    if kind == "stream":
        *whole, rest = buffer.split(b"\0")
        for message in whole:
            note(message)
        return rest
    while b" " in buffer[:12]:
        length, rest = buffer.split(b" ", 1)
        if len(rest) < int(length):
            break
        note(rest[: int(length)])
        buffer = rest[int(length) :]
    return buffer


family = socket.AF_UNIX if kind in ("datagram", "stream") else socket.AF_INET
style = socket.SOCK_DGRAM if kind in ("datagram", "udp") else socket.SOCK_STREAM
server = socket.socket(family, style)
if family == socket.AF_UNIX:
    if os.path.exists(address):
        os.unlink(address)
    server.bind(address)
else:
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", int(address)))
if style == socket.SOCK_STREAM:
    server.listen(5)
print(server.getsockname()[1] if family == socket.AF_INET else address, flush=True)

streams = {}
while True:
    ready, _, _ = select.select([wake, server, *streams], [], [], 0.2)
    if wake in ready:
        break
    if not ready:
        out.flush()
    for one in ready:
        if one is server and style == socket.SOCK_STREAM:
            streams[server.accept()[0]] = b""
        elif one is server:
            note(server.recv(1 << 16))
        else:
            data = one.recv(1 << 16)
            streams[one] = split(streams[one] + data)
            if not data:
                del streams[one]
                one.close()

if style == socket.SOCK_DGRAM:
    # From here on nothing more comes in: a sender of the UNIX domain is told.
    try:
        server.shutdown(socket.SHUT_RD)
    except OSError:
        pass
    server.setblocking(False)
    try:
        while message := server.recv(1 << 16):
            note(message)
    except BlockingIOError:
        pass
else:
    # Those that wait in the backlog have been told that they are connected.
    server.setblocking(False)
    try:
        while True:
            streams[server.accept()[0]] = b""
    except BlockingIOError:
        pass
    server.close()
    for one, buffer in streams.items():
        one.shutdown(socket.SHUT_RD if kind == "stream" else socket.SHUT_WR)
        one.setblocking(True)
        while data := one.recv(1 << 16):
            buffer = split(buffer + data)
out.close()
