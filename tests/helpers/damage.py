"""Damage that files suffer: cut short, a bit or bytes changed, bytes in between."""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def damaged(draw, content: bytes, first: int = 0, last: int | None = None) -> bytes:
    """The content of a file, damaged in one place from `first` on and before `last`."""
    at = draw(st.integers(first, (len(content) if last is None else last) - 1), label="at")
    how = draw(st.sampled_from(["cut", "bit", "byte", "run", "inserted"]), label="how")
    if how == "cut":
        return content[:at]
    if how == "bit":
        return content[:at] + bytes([content[at] ^ 1 << draw(st.integers(0, 7))]) + content[at + 1 :]
    new = draw(st.binary(min_size=1, max_size=1 if how == "byte" else 8), label="new")
    return content[:at] + new + content[at + (0 if how == "inserted" else len(new)) :]
