"""Conversion of vectors, JSON and text for a PostgreSQL server."""

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
    """Dumps a vector in pgvector's binary format: its length, two zero bytes, big-endian float32."""

    format = pq.Format.BINARY

    def dump(self, obj: np.ndarray) -> bytes:
        return struct.pack(">HH", len(obj), 0) + obj.astype(">f4").tobytes()


class VectorLoader(Loader):
    """Loads a vector from pgvector's binary format."""

    format = pq.Format.BINARY

    def load(self, data: Any) -> np.ndarray:
        return np.frombuffer(data, ">f4", offset=4).astype(np.float32)


def register(connection: Connection[Any], oid: int) -> None:
    """Register the vector type on a connection.

    Args:
        connection: connection to the server.
        oid: the server's number of the type.
    """
    dumper = type("VectorDumper", (VectorDumper,), {"oid": oid})
    connection.adapters.register_dumper(np.ndarray, dumper)
    connection.adapters.register_loader(oid, VectorLoader)
    connection.adapters.types.add(TypeInfo("vector", oid, 0))


def to_json(value: Any) -> Jsonb:
    """Convert a value to JSON without escapes, as databases in other encodings than UTF-8 cannot read them."""
    return Jsonb(value, partial(dumps, ensure_ascii=False))


def storable_text(reason: str) -> str:
    """Convert a reason to text which PostgreSQL can store."""
    return reason.replace("\0", "").encode(errors="backslashreplace").decode()
