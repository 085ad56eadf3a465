"""Runs a command on a terminal of its own, copies what that shows, and types what comes from standard input; SIGUSR1
presses Ctrl-C there."""

import os
import pty
import select
import signal
import sys

child, terminal = pty.fork()
if child == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
signal.signal(signal.SIGUSR1, lambda *_: os.write(terminal, b"\x03"))
sources = [terminal, 0]
while True:
    for source in select.select(sources, [], [])[0]:
        try:
            data = os.read(source, 1 << 16)
        except OSError:  # EIO: nobody has the terminal open any more.
            data = b""
        if data:
            os.write(1 if source == terminal else terminal, data)
        else:
            sources.remove(source)
    if terminal not in sources:
        break
_, status = os.waitpid(child, 0)
code = os.waitstatus_to_exitcode(status)
sys.exit(code if code >= 0 else 128 - code)
