"""Runs a command on a terminal of its own, and copies what that shows; SIGUSR1 presses Ctrl-C there."""

import os
import pty
import signal
import sys

child, terminal = pty.fork()
if child == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
signal.signal(signal.SIGUSR1, lambda *_: os.write(terminal, b"\x03"))
while True:
    try:
        shown = os.read(terminal, 1 << 16)
    except OSError:  # EIO: nobody has the terminal open any more.
        break
    if not shown:
        break
    os.write(1, shown)
_, status = os.waitpid(child, 0)
code = os.waitstatus_to_exitcode(status)
sys.exit(code if code >= 0 else 128 - code)
