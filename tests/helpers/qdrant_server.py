"""The engine in Qdrant's client behind the server's addresses: what goes over the wire is what a server would get."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pydantic
from pydantic_core import to_jsonable_python
from qdrant_client import models
from qdrant_client.local.qdrant_local import QdrantLocal


def _scroll(engine: QdrantLocal, name: str, body: models.ScrollRequest) -> Any:
    points, following = engine.scroll(
        name,
        body.filter,
        body.limit or 10,
        body.order_by,
        body.offset,
        body.with_payload or False,
        body.with_vector or False,
    )
    return {"points": points, "next_page_offset": following}


def _query(engine: QdrantLocal, name: str, body: Any) -> Any:
    found = engine.query_points(
        name, body.query, query_filter=body.filter, limit=body.limit, with_payload=True, with_vectors=body.with_vector
    )
    return {"points": found.points}


STEPS: dict[tuple[str, str], tuple[Any, Any]] = {
    ("PUT", ""): (
        models.CreateCollection,
        lambda engine, name, body: engine.create_collection(name, vectors_config=body.vectors),
    ),
    ("PATCH", ""): (
        models.UpdateCollection,
        lambda engine, name, body: engine.update_collection(name, vectors_config=body.vectors),
    ),
    ("DELETE", ""): (None, lambda engine, name, body: engine.delete_collection(name)),
    ("GET", ""): (None, lambda engine, name, body: engine.get_collection(name)),
    ("GET", "/exists"): (None, lambda engine, name, body: {"exists": engine.collection_exists(name)}),
    ("PUT", "/index"): (
        models.CreateFieldIndex,
        lambda engine, name, body: engine.create_payload_index(name, body.field_name, body.field_schema),
    ),
    ("POST", "/points"): (
        models.PointRequest,
        lambda engine, name, body: engine.retrieve(name, body.ids, body.with_payload, body.with_vector or False),
    ),
    ("PUT", "/points"): (
        models.PointsList,
        lambda engine, name, body: engine.upsert(name, body.points, body.update_filter, body.update_mode),
    ),
    ("PUT", "/points/vectors"): (
        models.UpdateVectors,
        lambda engine, name, body: engine.update_vectors(name, body.points, body.update_filter),
    ),
    ("POST", "/points/payload"): (
        models.SetPayload,
        lambda engine, name, body: engine.set_payload(name, body.payload, body.filter or body.points),
    ),
    ("POST", "/points/payload/delete"): (
        models.DeletePayload,
        lambda engine, name, body: engine.delete_payload(name, body.keys, body.filter or body.points),
    ),
    ("POST", "/points/delete"): (
        models.PointsSelector,
        lambda engine, name, body: engine.delete(name, body),
    ),
    ("POST", "/points/batch"): (
        models.UpdateOperations,
        lambda engine, name, body: engine.batch_update_points(name, body.operations),
    ),
    ("POST", "/points/scroll"): (models.ScrollRequest, _scroll),
    ("POST", "/points/count"): (
        models.CountRequest,
        lambda engine, name, body: engine.count(name, body.filter),
    ),
    ("POST", "/points/query"): (models.QueryRequest, _query),
    ("POST", "/points/query/batch"): (
        models.QueryRequestBatch,
        lambda engine, name, body: engine.query_batch_points(name, body.searches),
    ),
}


class Stand:
    """What a test may do to it.

    Attributes:
        url: address.
        version: that it says it is.
        broken: HTTP status of all its answers while it is set.
        asked: method and path of each request, with the query.
    """

    def __init__(self, url: str = "") -> None:
        self.url, self.version, self.broken, self.asked = url, "1.18.0", 0, list[str]()


@contextmanager
def standing() -> Iterator[Stand]:
    """One that stands in for a server, with what it was told by each request."""
    engine, lock, stand = QdrantLocal(":memory:"), threading.Lock(), Stand()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            path = self.path.partition("?")[0]
            stand.asked.append(f"{self.command} {self.path}")
            try:
                if stand.broken:
                    raise RuntimeError("broken")
                if path == "/":
                    return self.say(200, {"title": "stand", "version": stand.version})
                place = re.fullmatch(r"/collections/([^/]+)((?:/.*)?)", path)
                assert place
                name, step = place.groups()
                with lock:
                    if vector := re.fullmatch(r"/vectors/([^/]+)", step):
                        found = self.vectors(name, vector[1], content)
                    else:
                        kind, does = STEPS[self.command, step]
                        body = None if kind is None else pydantic.TypeAdapter(kind).validate_json(content)
                        found = does(engine, name, body)
                self.say(200, {"result": to_jsonable_python(found), "status": "ok", "time": 0.0})
            except KeyError as error:
                self.say(404, {"status": {"error": f"Not found: {error}"}, "time": 0.0})
            except (ValueError, AssertionError) as error:
                self.say(400, {"status": {"error": str(error)}, "time": 0.0})
            except RuntimeError:
                self.say(stand.broken, {"status": {"error": "Service internal error"}, "time": 0.0})

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = answer

        def vectors(self, name: str, vector: str, content: bytes) -> Any:
            if self.command == "DELETE":
                return engine.delete_vector_name(name, vector)
            return engine.create_vector_name(name, vector, models.DenseVectorNameConfig.model_validate_json(content))

        def say(self, code: int, answer: Any) -> None:
            content = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            if code == 429:
                self.send_header("retry-after", "3")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    stand.url = f"qdrant://127.0.0.1:{server.server_port}"
    try:
        yield stand
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
