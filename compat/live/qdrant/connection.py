"""Connection to Qdrant (experimental): a server, or the client's own engine in a folder of this process."""

from __future__ import annotations

import atexit
import sqlite3
import threading
from contextlib import AbstractContextManager, nullcontext
from os import environ
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from compat.errors import InputError

try:
    from qdrant_client import QdrantClient, models
    from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
    from qdrant_client.http.exceptions import ApiException, UnexpectedResponse
except ImportError as error:
    raise InputError("qdrant-client: not installed, expected it: pip install compat-bench[qdrant]") from error

OLDEST = (1, 18)  # version with named vectors added and deleted online
TIMEOUT = 60  # seconds for one request
TOO_MANY = 429
WRITE: dict[str, Any] = {"wait": True, "ordering": models.WriteOrdering.STRONG}
READ: dict[str, Any] = {"consistency": models.ReadConsistencyType.MAJORITY}


class Refused(InputError):
    """A request for a missing collection, named vector or point."""


class Busy(OSError):
    """An overloaded server.

    Attributes:
        retry_after: seconds.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SharedClient:
    """A client, and the number of its users.

    Attributes:
        lock: held during a call, as the engine in a folder takes one at a time.
    """

    def __init__(self, client: QdrantClient, alone: AbstractContextManager[Any]) -> None:
        self.client, self.lock, self.users = client, alone, 0


FOLDERS: dict[Path, SharedClient] = {}  # a process opens a folder once for all of its stores
OPENING = threading.RLock()


@atexit.register
def _close_folders() -> None:
    """Close folders which a process left open, before the client complains about them."""
    for engine in FOLDERS.values():
        engine.client.close()


class QdrantConnection:
    """Calls a client's methods and translates its errors.

    Args:
        url: `qdrant://host:port/collection`, or `qdrants://` for TLS, with a key in QDRANT_API_KEY; or
            `qdrant:///folder/collection`.

    Raises:
        InputError: another address.
    """

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        where, _, self.collection = rest.rpartition("/")
        self.folder = Path(where[1:] or ".").absolute() if rest.startswith("/") else None
        self.address = str(self.folder) if self.folder else f"{'https' if scheme == 'qdrants' else 'http'}://{where}"
        if scheme not in ("qdrant", "qdrants") or not self.collection or not (self.folder or _is_server(where)):
            expected = "qdrant://host:port/collection or qdrant:///folder/collection"
            raise InputError(f"store: no Qdrant address, expected {expected}")
        self.shown = self.address if self.folder else f"{self.address.partition(':')[0]}://{where.rpartition('@')[2]}"
        self.engine: SharedClient | None = None

    def __call__(self, step: str, *args: Any, **options: Any) -> Any:
        """Call a method of the client.

        Raises:
            Refused: see there.
            InputError: no server, or one which is too old; a folder without a store, or open in another process.
            OSError: no answer in time, or a full disk; it may be retried.
        """
        engine = self.open()
        with engine.lock:
            try:
                found = getattr(engine.client, step)(*args, **options)
            except Exception as error:
                self._raise_translated(error)
        for result in found if isinstance(found, list) else [found]:
            if isinstance(result, models.UpdateResult) and result.status != models.UpdateStatus.COMPLETED:
                raise OSError(f"{self.shown}: {step} is {result.status}, expected it to be done in time")
        return found

    def open(self, make: bool = False) -> SharedClient:
        """Open the client on first use; with `make`, create the folder."""
        if self.engine is None:
            with OPENING:
                self.engine = self._folder(self.folder, make) if self.folder else self._server()
                self.engine.users += 1
        return self.engine

    def close(self) -> None:
        """Release the client."""
        with OPENING:
            engine, self.engine = self.engine, None
            if engine is None:
                return
            engine.users -= 1
            if engine.users == 0:
                engine.client.close()
                if self.folder:
                    del FOLDERS[self.folder]

    def _folder(self, folder: Path, make: bool) -> SharedClient:
        if folder not in FOLDERS:
            if not make and not folder.is_dir():
                raise InputError(f"store: no folder {folder}, expected one made by `init`")
            try:
                client = QdrantClient(path=str(folder), force_disable_check_same_thread=True)
            except RuntimeError as error:
                busy = "expected one process at a time; several need a server"
                raise InputError(f"store: {folder} is open in another process, {busy}") from error
            FOLDERS[folder] = SharedClient(client, threading.RLock())
        return FOLDERS[folder]

    def _server(self) -> SharedClient:
        key = environ.get("QDRANT_API_KEY")
        client = QdrantClient(url=self.address, api_key=key, timeout=TIMEOUT, check_compatibility=False)
        try:
            version = client.info().version
        except Exception as error:
            raise InputError(f"store: {self.shown} ({_line(error)}), expected a Qdrant server") from error
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
            raise InputError(f"store: Qdrant {version} at {self.shown}, expected {OLDEST[0]}.{OLDEST[1]} or newer")
        return SharedClient(client, nullcontext())

    def _raise_translated(self, error: Exception) -> NoReturn:
        if isinstance(error, ResourceExhaustedResponse):
            raise Busy(f"{self.shown}: {_line(error)}", error.retry_after_s) from error
        code = error.status_code if isinstance(error, UnexpectedResponse) else None
        if isinstance(error, (KeyError, ValueError)) or (code and 400 <= code < 500 and code != TOO_MANY):
            found = f"{self.collection!r} at {self.shown} ({_line(error)})"
            raise Refused(f"store: {found}, expected an accepted request") from error
        if isinstance(error, (ApiException, sqlite3.OperationalError)):
            raise OSError(f"{self.shown}: {_line(error)}") from error
        raise error


def _is_server(where: str) -> bool:
    """Return whether a text is a host and a port."""
    try:
        return "/" not in where and bool(urlsplit(f"//{where}").hostname) and urlsplit(f"//{where}").port is not None
    except ValueError:
        return False


def _line(error: Exception) -> str:
    """Return an error's message in one line."""
    return " ".join(str(error).split())
