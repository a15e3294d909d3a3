"""Runs a program in a terminal of its own, which is closed on SIGUSR1.

Usage: terminal.py PROGRAM ARGUMENT...

Copies what the program writes to stdout, and ends with its exit status.
"""

import os
import pty
import signal
import sys


def main():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    pid, terminal = pty.fork()
    if pid == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
        os.execvp(sys.argv[1], sys.argv[1:])
    signal.signal(signal.SIGUSR1, lambda *_: os.close(terminal))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
    try:
        while True:
            # The signal interrupts this, and then there is nothing to read from.
            os.write(1, os.read(terminal, 4096))
    except OSError:
        pass
    _, status = os.waitpid(pid, 0)
    sys.exit(os.waitstatus_to_exitcode(status) % 256)


main()
