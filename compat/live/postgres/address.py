"""The address of a PostgreSQL store: libpq's parameters and a schema. No message shows any of it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import unquote

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from compat.errors import InputError

PARTS = re.compile(r"(postgres(?:ql)?://(?:[^@/]*@)?)([^?]*)(?:\?(.*))?", re.DOTALL)  # as libpq splits them
EXPECTED = "expected postgresql://user:password@host/database?schema=name, special characters as %40, %23, %2F"
DEFAULTS = {"connect_timeout": "10", "tcp_user_timeout": "60000", "keepalives_idle": "60"}


class Address(NamedTuple):
    """Location of a store.

    Attributes:
        parameters: parameters of libpq.
        schema: a plain name.
    """

    parameters: dict[str, Any]
    schema: str

    def hide_password(self, text: str) -> str:
        """Replace the password in a text."""
        password = self.parameters.get("password")
        return text.replace(password, "***") if password else text


def parse(url: str) -> Address:
    """Parse an address.

    Raises:
        InputError: libpq cannot read it, or takes a part of a password for something else; a schema which is no plain
            name.
    """
    found = PARTS.fullmatch(url)
    if found is None or "@" in found[2]:
        raise InputError(f"store: an ambiguous address, {EXPECTED}")
    kept, schema = [], "compat"
    for part in (found[3] or "").split("&"):
        name, _, value = part.partition("=")
        if unquote(name) == "schema":
            schema = unquote(value)
        elif part:
            kept.append(part)
    if not re.fullmatch("[a-z_][a-z0-9_]{0,62}", schema):
        raise InputError(f"schema: {schema!r}, expected lower-case letters, digits and underscores")
    try:
        given = conninfo_to_dict(f"{found[1]}{found[2]}?{'&'.join(kept)}")
    except (ProgrammingError, UnicodeError) as error:
        wrong = "a query parameter that libpq does not know" if "query parameter" in str(error) else "libpq refuses it"
        raise InputError(f"store: an address with an error ({wrong}), {EXPECTED}") from None
    if not re.fullmatch("[0-9,]*", str(given.get("port", ""))):
        raise InputError(f"store: an address whose port is no number, {EXPECTED}")
    return Address(
        {**DEFAULTS, **{name: str(value) for name, value in given.items()}, "client_encoding": "UTF8"}, schema
    )
