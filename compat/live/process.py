"""Which process works on a store, and whether it still lives."""

from __future__ import annotations

import os
import socket
import threading


def this_process() -> str:
    """Its name as a worker: the store frees what a process of this machine claimed once it is dead."""
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"


def is_dead(worker: str) -> bool:
    """Whether it was a process of this machine, and is none any more."""
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
