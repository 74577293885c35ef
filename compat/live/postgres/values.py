"""How vectors, JSON and texts travel to a PostgreSQL server and back."""

from __future__ import annotations

import struct
from functools import partial
from json import dumps
from typing import Any

import numpy as np
from psycopg import Connection, pq
from psycopg.adapt import Dumper, Loader
from psycopg.types import TypeInfo
from psycopg.types.json import Jsonb


class VectorDumper(Dumper):
    """A vector to what pgvector receives: its length, two bytes of nothing, big-endian float32."""

    format = pq.Format.BINARY

    def dump(self, obj: np.ndarray) -> bytes:
        return struct.pack(">HH", len(obj), 0) + obj.astype(">f4").tobytes()


class VectorLoader(Loader):
    """And back."""

    format = pq.Format.BINARY

    def load(self, data: Any) -> np.ndarray:
        return np.frombuffer(data, ">f4", offset=4).astype(np.float32)


def register(connection: Connection[Any], oid: int) -> None:
    """Let vectors travel on a connection.

    Args:
        connection: to the server.
        oid: its number of the type.
    """
    dumper = type("VectorDumper", (VectorDumper,), {"oid": oid})
    connection.adapters.register_dumper(np.ndarray, dumper)
    connection.adapters.register_loader(oid, VectorLoader)
    connection.adapters.types.add(TypeInfo("vector", oid, 0))


def to_json(value: Any) -> Jsonb:
    """As it travels: letters as they are, which databases of other encodings than UTF-8 do not read from escapes."""
    return Jsonb(value, partial(dumps, ensure_ascii=False))


def storable_text(reason: str) -> str:
    """A reason as a text that PostgreSQL holds."""
    return reason.replace("\0", "").encode(errors="backslashreplace").decode()
