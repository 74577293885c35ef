"""vecshift: a second column beside the old one is filled by its commands, and searched from its cutover on.

The new model stands behind HTTP here, as its embeddings are known: a text is its row number. The server is at
VECSHIFT_DSN. A write during the migration has to clear the item's new embedding, else this driver fails.
"""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import psycopg
from contract import GivenMatrices, start, timed
from vecshift.cli import app

DEPTH = 100
STOPS = (10, 50, 90)  # % of the items at which the migration is paused


def encoder(items: np.ndarray) -> str:
    """Serve embeddings as OpenAI's API does, and return the address."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            rows = [items[int(text)].tolist() for text in asked["input"]]
            data = [{"index": place, "embedding": row} for place, row in enumerate(rows)]
            answer = json.dumps({"data": data, "usage": {"prompt_tokens": len(rows)}}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}/v1"


def text(row: np.ndarray) -> str:
    return f"[{','.join(map(str, row.tolist()))}]"


def lists(connection: psycopg.Connection, queries: np.ndarray, depth: int) -> np.ndarray:
    """Search the column that an application searches, exactly, (Q, K)."""
    asked = f"SELECT id FROM documents ORDER BY embedding <=> %s::vector LIMIT {depth}"
    return np.array([[item for (item,) in connection.execute(asked, [text(row)])] for row in queries])


def call(*command: str) -> float:
    """Call a command of vecshift; return its CPU seconds."""
    return timed(lambda: app(list(command), standalone_mode=False))[1]


def write(connection: psycopg.Connection) -> None:
    """Change the text of a migrated item and put it back: its new embedding has to go."""
    (item,) = connection.execute("SELECT id FROM documents WHERE embedding_v2 IS NOT NULL LIMIT 1").fetchone()
    for content in (f"{item} ", str(item)):
        connection.execute("UPDATE documents SET content = %s WHERE id = %s", [content, item])
    (kept,) = connection.execute("SELECT embedding_v2 FROM documents WHERE id = %s", [item]).fetchone()
    if kept is not None:
        raise AssertionError("a changed item keeps its new embedding")


def fill(connection: psycopg.Connection, given: GivenMatrices) -> None:
    """Make an application's table of items with old embeddings."""
    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    width = given.gallery_old.shape[1]
    connection.execute(f"CREATE TABLE documents (id bigint PRIMARY KEY, content text, embedding vector({width}))")
    with connection.cursor().copy("COPY documents FROM STDIN") as copy:
        for item, row in enumerate(given.gallery_old):
            copy.write_row((item, str(item), text(row)))


def main() -> None:
    given, ways = start("vecshift")
    depth = DEPTH + given.own
    with psycopg.connect(os.environ["VECSHIFT_DSN"], autocommit=True) as connection:
        fill(connection, given)
        model = f"compat/new,url={encoder(given.gallery_new)},dims={given.gallery_new.shape[1]},price=0"
        seconds = call("init", "--table", "public.documents", "--model", model)
        job = Path("vecshift.yaml")
        job.write_text(job.read_text().replace("index: hnsw", "index: none"))
        found = [lists(connection, given.query_old, depth)]
        for stop in STOPS:
            seconds += call("apply", "--yes", "--until", str(stop))
            found.append(lists(connection, given.query_old, depth))
            if stop == STOPS[1]:
                write(connection)
        seconds += call("apply", "--yes")
        seconds += call("cutover", "--yes")
        found.append(lists(connection, given.query_new, depth))
    ways.add("apply, cutover", seconds, 0.0, lists=np.stack(found), ratios=np.array([0, 0.1, 0.5, 0.9, 1]))


main()
