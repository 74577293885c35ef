"""Which failures pass: exceptions shaped like those of the libraries that people reach models by."""

import errno
import http.client
import socket
import ssl
import subprocess
import tarfile
import time
from email.utils import formatdate
from http import HTTPStatus
from types import SimpleNamespace
from urllib.error import HTTPError, URLError

import pytest

from compat.live import extraction
from compat.live.transient import is_server_failure, is_transient, retry_after


def kind(module: str, *names: str, base: type = Exception) -> type:
    """A class as a library has it, each name derived from the one before."""
    for name in names:
        base = type(name, (base,), {"__module__": module})
    return base


def made(its, *arguments, **attributes):
    error = its(*arguments)
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


def answered(status, headers=(), its=None):
    """As requests and httpx tell of an answer; one of requests is false if it is a refusal."""
    response = type("Response", (), {"__bool__": lambda self: False})()
    response.status_code, response.headers = status, dict(headers)
    return made(its or kind("requests.exceptions", "RequestException", "HTTPError", base=OSError), response=response)


def refused(status, headers=None):
    return HTTPError("http://model", status, "refused", headers or {}, None)  # type: ignore[arg-type]


def boto(code, status):
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {}}}
    return made(kind("botocore.exceptions", "ClientError"), response=response)


def grpc(name):
    its = kind("grpc", "RpcError", "_InactiveRpcError")
    return made(its, code=lambda: SimpleNamespace(name=name, value=(1, name.lower())))


def caused(error, cause):
    error.__cause__ = cause
    return error


REQUESTS = ("requests.exceptions", "RequestException")
HTTPX = ("httpx", "HTTPError", "RequestError", "TransportError")
BOTO = ("botocore.exceptions", "BotoCoreError")
PASS = {
    "reset": ConnectionResetError("reset"),
    "pipe": BrokenPipeError("pipe"),
    "timeout": TimeoutError("slow"),
    "socket timeout": TimeoutError("timed out"),
    "no such host": socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    "no route": OSError(errno.EHOSTUNREACH, "No route to host"),
    "no network": OSError(errno.ENETUNREACH, "Network is unreachable"),
    "stale file handle": OSError(errno.ESTALE, "Stale file handle"),
    "ssl": ssl.SSLError(1, "record layer failure"),
    "ssl end": ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
    "cut short": http.client.IncompleteRead(b""),
    "no answer": http.client.RemoteDisconnected("closed"),
    "urllib text": URLError("timed out"),
    "urllib refused": URLError(ConnectionRefusedError(111, "refused")),
    "urllib name": URLError(socket.gaierror(-2, "Name or service not known")),
    "urllib ssl": URLError(ssl.SSLCertVerificationError(1, "expired")),
    **{f"urllib {status}": refused(status) for status in (408, 425, 429, 500, 502, 503, 504, 529)},
    **{f"requests {status}": answered(status) for status in (408, 425, 429, 500, 503)},
    "requests connection": kind(*REQUESTS, "ConnectionError", base=OSError)("no route"),
    "requests proxy": kind(*REQUESTS, "ConnectionError", "ProxyError", base=OSError)("no route"),
    "requests ssl": kind(*REQUESTS, "ConnectionError", "SSLError", base=OSError)("no route"),
    "requests read": kind(*REQUESTS, "Timeout", "ReadTimeout", base=OSError)("slow"),
    "requests chunk": kind(*REQUESTS, "ChunkedEncodingError", base=OSError)("cut"),
    "httpx connect": kind(*HTTPX, "NetworkError", "ConnectError")("no route"),
    "httpx read": kind(*HTTPX, "NetworkError", "ReadError")("cut"),
    "httpx pool": kind(*HTTPX, "TimeoutException", "PoolTimeout")("busy"),
    "httpx protocol": kind(*HTTPX, "ProtocolError", "RemoteProtocolError")("cut"),
    "httpx 503": answered(503, its=kind("httpx", "HTTPError", "HTTPStatusError")),
    "urllib3 retries": kind("urllib3.exceptions", "HTTPError", "RequestError", "MaxRetryError")("gave up"),
    "urllib3 protocol": kind("urllib3.exceptions", "HTTPError", "ProtocolError")("cut"),
    "boto endpoint": kind(*BOTO, "ConnectionError", "EndpointConnectionError")("no route"),
    "boto read": kind(*BOTO, "HTTPClientError", "ReadTimeoutError")("slow"),
    "boto slow down": boto("SlowDown", 503),
    "boto throttled": boto("ThrottlingException", 400),
    "boto table": boto("ProvisionedThroughputExceededException", 400),
    **{f"grpc {name}": grpc(name) for name in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "INTERNAL")},
    "aiohttp server": kind("aiohttp", "ClientError", "ClientConnectionError", "ServerDisconnectedError")(),
    "aiohttp 502": made(kind("aiohttp", "ClientError", "ClientResponseError"), status=502),
    "google": made(kind("google.api_core.exceptions", "GoogleAPICallError"), code=HTTPStatus.SERVICE_UNAVAILABLE),
    "openai": made(kind("openai", "APIError", "APIStatusError", "RateLimitError"), status_code=429, code="limit"),
    "wrapped": caused(RuntimeError("embedding failed"), kind(*HTTPX, "NetworkError", "ConnectError")("no route")),
}
STAY = {
    "no file": FileNotFoundError(errno.ENOENT, "No such file"),
    "torn": OSError("image file is truncated"),
    "not allowed": PermissionError(errno.EACCES, "Permission denied"),
    "bad sector": OSError(errno.EIO, "Input/output error"),
    "memory": MemoryError(),
    "value": ValueError("bad image"),
    "key": KeyError("timeout"),
    "archive": tarfile.ReadError("not a gzip file"),
    "a decoder that takes too long": subprocess.TimeoutExpired("ffmpeg", 3),
    "urllib file": URLError(FileNotFoundError(errno.ENOENT, "No such file")),
    "urllib scheme": URLError("unknown url type: htp"),
    **{f"urllib {status}": refused(status) for status in (400, 401, 403, 404, 410, 422)},
    **{f"requests {status}": answered(status) for status in (400, 404, 413)},
    "requests 404 of a connection": answered(404, its=kind(*REQUESTS, "ConnectionError", base=OSError)),
    "requests url": kind(*REQUESTS, "InvalidURL", base=OSError)("no host"),
    "httpx scheme": kind(*HTTPX, "UnsupportedProtocol")("htp"),
    "boto key": boto("NoSuchKey", 404),
    "boto request": boto("ValidationException", 400),
    "grpc": grpc("INVALID_ARGUMENT"),
    "grpc none": grpc("NOT_FOUND"),
    "an attribute that fails": made(type("Odd", (Exception,), {"response": property(lambda self: 1 / 0)})),
}


@pytest.mark.parametrize("name", PASS)
def test_a_failure_of_a_service_or_a_network_passes(name):
    assert is_transient(PASS[name])


@pytest.mark.parametrize("name", STAY)
def test_a_failure_of_an_item_does_not(name):
    assert not is_transient(STAY[name])
    assert is_transient(STAY[name], (type(STAY[name]),))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        *((error, True) for error in (refused(500), answered(500), grpc("INTERNAL"), grpc("UNKNOWN"))),
        *((error, False) for error in (refused(503), grpc("UNAVAILABLE"), TimeoutError(), None)),
    ],
)
def test_a_service_that_is_there_and_fails(error, expected):
    assert is_server_failure(error) is expected


class Headers(dict):
    """As requests has them: names in any case, through `items` as they came."""


NOW = 1_700_000_000.0
LATER = formatdate(NOW + 30, usegmt=True)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refused(429, {"Retry-After": "7"}), 7.0),
        (refused(429, {"retry-after": LATER}), 30.0),
        (answered(503, Headers({"RETRY-AFTER": "1.5"})), 1.5),
        (answered(503, {"Retry-After": LATER}), 30.0),
        (made(TimeoutError, retry_after=3), 3.0),
        (made(TimeoutError, retry_after="3"), 3.0),
        (made(TimeoutError, retry_after=LATER), 30.0),
        (caused(RuntimeError("embedding failed"), refused(429, {"Retry-After": "7"})), 7.0),
        (made(Exception, response={"ResponseMetadata": {"HTTPHeaders": {"retry-after": "4"}}}), 4.0),
        *((refused(429, {"Retry-After": text}), None) for text in ("soon", "", "-3", "nan", "inf", "0")),
        (refused(429, {"Retry-After": formatdate(NOW - 30, usegmt=True)}), None),
        (refused(429), None),
        (made(ValueError, headers=3), None),
    ],
)
def test_when_a_service_wants_to_be_asked_again(error, expected, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: NOW)
    assert retry_after(error) == expected


def test_a_service_that_wants_hours_is_asked_after_a_minute(monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr(extraction, "wait", slept.append)
    errors = [refused(429, {"Retry-After": "86400"}), refused(503, {"Retry-After": "soon"})]

    def step():
        if errors:
            raise errors.pop(0)
        return 3

    assert extraction.retry(step, is_transient) == 3
    assert slept == [60.0, 0.4]
