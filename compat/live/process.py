"""Names of processes which work on a store, and whether they are alive."""

from __future__ import annotations

import os
import socket
import threading


def this_process() -> str:
    """Return this process's name as a worker; a store frees the claims of dead processes of the same machine."""
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"


def is_dead(worker: str) -> bool:
    """Return whether a worker was a process of this machine and has ended."""
    host, process, _ = worker.rsplit(":", 2)
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
