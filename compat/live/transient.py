"""Transient failures: those of a network or a service, whichever library raises them, as opposed to an item's.

No library is imported: exceptions are recognised by class, class name, error number, or HTTP status.
"""

from __future__ import annotations

import errno
import http.client
import math
import re
import socket
import ssl
import time
import urllib.error
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

KINDS = (
    ConnectionError,
    TimeoutError,
    socket.gaierror,
    ssl.SSLError,
    http.client.IncompleteRead,
    http.client.BadStatusLine,
)
NUMBERS = {
    getattr(errno, name)
    for name in (
        *("EHOSTUNREACH", "EHOSTDOWN", "ENETUNREACH", "ENETDOWN", "ENETRESET", "ECONNREFUSED", "ECONNRESET"),
        *("ECONNABORTED", "ETIMEDOUT", "EADDRNOTAVAIL", "ENOTCONN", "EPIPE", "ENOBUFS", "EAGAIN", "ESTALE"),
        *("EMFILE", "ENFILE"),
    )
    if hasattr(errno, name)
}
# class names of requests, urllib3, httpx, httpcore, aiohttp, botocore, google.api_core and openai, or of their bases
NAMES = re.compile(
    r"Timeout(?!Expired)|Connection|ConnectError|NetworkError|TransportError|ProtocolError|ProxyError|SSLError"
    r"|ChunkedEncoding|IncompleteRead|MaxRetry|PayloadError|NameResolution|HTTPClientError"
    r"|ServiceUnavailable|RateLimit|TooManyRequests|Throttl"
)
NEVER = re.compile(r"UnsupportedProtocol|LocalProtocolError|Invalid(URL|Schema)|MissingSchema|LocationParseError")
BUSY, FAILED = HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.INTERNAL_SERVER_ERROR
CALLS = {  # gRPC codes
    **dict.fromkeys(("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "ABORTED"), BUSY),
    **dict.fromkeys(("INTERNAL", "UNKNOWN"), FAILED),
}
THROTTLED = re.compile(r"Throttl|TooManyRequests|SlowDown|LimitExceeded|ThroughputExceeded|RequestTimeout|Unavailable")
STATUSES = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}  # and all from 500 on
DEPTH = 8  # maximum depth of causes
NOWHERE = ("unknown url type", "no host given")  # invalid URLs


def is_transient(error: BaseException, more: tuple[type[BaseException], ...] = ()) -> bool:
    """Return whether an exception or one of its causes is transient.

    Args:
        error: the exception.
        more: further transient exception types.
    """
    for one in causes(error):
        if isinstance(one, more):
            return True
        if (found := judge(one)) is not None:
            return found
    return False


def judge(error: BaseException) -> bool | None:
    """Return whether one exception is transient; None: undecided, ask its cause."""
    if THROTTLED.search(str(get_nested(get_nested(error, "response"), "Error", "Code") or "")):
        return True
    if (found := http_status(error)) is not None:
        return found in STATUSES or found >= FAILED
    if type(error) is urllib.error.URLError and not isinstance(error.reason, BaseException):
        return not str(error.reason).startswith(NOWHERE)
    if isinstance(error, OSError) and error.errno in NUMBERS:
        return True
    names = [kind.__name__ for kind in type(error).__mro__]
    if any(map(NEVER.search, names)):
        return False
    return True if isinstance(error, KINDS) or any(map(NAMES.search, names)) else None


def http_status(error: BaseException) -> int | None:
    """Return the HTTP error status (400 or more) of an exception; gRPC codes are mapped to one."""
    code = get_nested(error, "code")
    if callable(code):
        try:
            code = code()
        except Exception:
            return None
        if found := CALLS.get(str(get_nested(code, "name") or code).rpartition(".")[2].upper()):
            return found
    response = get_nested(error, "response")
    held = [get_nested(response, name) for name in ("status_code", "status")]
    held += [get_nested(response, "ResponseMetadata", "HTTPStatusCode")]
    held += [get_nested(error, "status_code"), get_nested(error, "status"), code]
    numbers = (int(value) for value in held if isinstance(value, int) or str(value).isdecimal())
    return next((number for number in numbers if HTTPStatus.BAD_REQUEST <= number < 600), None)


def is_server_failure(error: BaseException | None) -> bool:
    """Return whether a service answered but failed on the request (status 500), possibly due to the item."""
    return any(http_status(one) == FAILED for one in causes(error))


def retry_after(error: BaseException) -> float | None:
    """Return the retry delay in seconds requested by an exception or its response headers; None: none."""
    for one in causes(error):
        response = get_nested(one, "response")
        headers = [
            get_nested(one, "headers"),
            get_nested(response, "headers"),
            get_nested(response, "ResponseMetadata", "HTTPHeaders"),
        ]
        named = (
            value for some in headers if some for name, value in list_headers(some) if name.lower() == "retry-after"
        )
        for value in (get_nested(one, "retry_after"), *named):
            if (found := parse_seconds(value)) is not None:
                return found
    return None


def parse_seconds(value: Any) -> float | None:
    """Parse seconds from a number, its text, or an HTTP date; None if it is none of these or past."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        try:
            found = parsedate_to_datetime(str(value)).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return None
    return found if math.isfinite(found) and found > 0 else None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and the chain of its causes and reasons."""
    for _ in range(DEPTH):
        if error is None:
            return
        yield error
        reason = get_nested(error, "reason")
        error = error.__cause__ or (reason if isinstance(reason, BaseException) else None)


def get_nested(whole: Any, *names: str) -> Any:
    """Return a nested attribute or mapping value; None if there is none."""
    for name in names:
        try:
            whole = whole.get(name) if isinstance(whole, Mapping) else getattr(whole, name, None)
        except Exception:  # raised by a property
            return None
    return whole


def list_headers(headers: Any) -> list[tuple[str, Any]]:
    """List names and values of headers of any type."""
    try:
        return [(str(name), value) for name, value in (headers.items() if hasattr(headers, "items") else headers)]
    except (TypeError, ValueError):
        return []
