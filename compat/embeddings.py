"""The input of the evaluation: four matrices, with labels or judgements, and groups."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from compat.arrays import warn_of_packed_bits
from compat.errors import InputError
from compat.relevance import Relevance

Array: TypeAlias = Tensor | np.ndarray | Sequence[Any]
CONE = 5e-6  # the sine of an angle at which 1 - cos has five digits left


class Embeddings:
    """The input of the evaluation, for any method: four matrices, with labels or judgements, and groups.

    `query_old` is the query as compared with items before their backfill (`gallery_old`), `query_new` as
    compared with items after it (`gallery_new`). A gallery item with the query's group is ignored for that
    query; without groups none is. Give each item's index as both groups where the queries are the gallery.

    Args:
        query_old: (Q, D_old) float.
        query_new: (Q, D_new) float.
        gallery_old: (G, D_old) float.
        gallery_new: (G, D_new) float.
        query_labels: (Q,) integers of 0 and more; items of the same label are relevant to each other. Items relevant to
            no query, such as distractors, need labels of their own.
        gallery_labels: (G,) likewise.
        query_groups: (Q,) integers; default: no group.
        gallery_groups: (G,) integers; default: no group.
        relevance: judgements of queries and items, in place of both labels.

    Attributes: the same names, as tensors, None for labels under judgements; arrays are not copied, so they may be
        memory-mapped.

    Raises:
        InputError: wrong shapes, different row counts, dimensions or devices, negative labels, values NaN, infinite or
            beyond 1e150, one of the groups without the other, labels and judgements or neither.
    """

    query_labels: Any = None
    gallery_labels: Any = None
    relevance: Relevance | None = None

    def __init__(
        self,
        query_old: Array,
        query_new: Array,
        gallery_old: Array,
        gallery_new: Array,
        query_labels: Array | None = None,
        gallery_labels: Array | None = None,
        query_groups: Array | None = None,
        gallery_groups: Array | None = None,
        *,
        relevance: Relevance | None = None,
    ) -> None:
        self.query_old, self.gallery_old = _matrices("old", query_old, gallery_old)
        self.query_new, self.gallery_new = _matrices("new", query_new, gallery_new)
        device = self.gallery_old.device
        for name in ("query_old", "query_new", "gallery_new"):
            if (found := getattr(self, name).device) != device:
                raise InputError(f"{name}: on {found}, expected {device} as gallery_old")
        _same_rows("query_new", self.query_new, "query_old", self.query_old)
        _same_rows("gallery_new", self.gallery_new, "gallery_old", self.gallery_old)
        if relevance is None:
            labels = [_given(name, value) for name, value in (("query", query_labels), ("gallery", gallery_labels))]
            self.query_labels = _integers("query_labels", labels[0], "query_old", self.query_old)
            self.gallery_labels = _integers("gallery_labels", labels[1], "gallery_old", self.gallery_old)
        else:
            _check_relevance(relevance, query_labels, gallery_labels, (len(self.query_old), len(self.gallery_old)))
            self.relevance = relevance.to(device)
        if query_groups is None and gallery_groups is None:
            self.query_groups = torch.zeros(len(self.query_old), dtype=torch.int64, device=device)
            self.gallery_groups = torch.ones(len(self.gallery_old), dtype=torch.int64, device=device)
        elif query_groups is None or gallery_groups is None:
            missing = "query_groups" if query_groups is None else "gallery_groups"
            raise InputError(f"{missing}: none, expected the groups of both queries and gallery or of neither")
        else:
            self.query_groups = _integers("query_groups", query_groups, "query_old", self.query_old)
            self.gallery_groups = _integers("gallery_groups", gallery_groups, "gallery_old", self.gallery_old)

    def subset(self, queries: Array | None = None, items: Array | None = None) -> Embeddings:
        """Select queries and items of the gallery.

        Args:
            queries: row numbers in the wanted order, or a mask (Q,) bool; default: all.
            items: likewise of the gallery.

        Raises:
            InputError: no row, or a row out of range.

        Example:
            >>> space, labels = torch.eye(4), torch.tensor([0, 0, 1, 1])
            >>> Embeddings(space, space, space, space, labels, labels).subset(items=[3, 0]).gallery_labels.tolist()
            [1, 0]
        """
        found, chosen = copy.copy(self), []
        for part, rows in (("query", queries), ("gallery", items)):
            at = None if rows is None else _rows(part, rows, getattr(self, f"{part}_old"))
            for name in (f"{part}_old", f"{part}_new", f"{part}_labels", f"{part}_groups"):
                if at is not None and getattr(self, name) is not None:
                    setattr(found, name, getattr(self, name)[at])
            chosen.append(at)
        if self.relevance is not None:
            found.relevance = self.relevance.subset(*chosen)
        return found

    @property
    def keys(self) -> Tensor:
        """(Q,) what the engine knows each query's relevant items by: its label, or its row in the judgements."""
        if self.relevance is None:
            return self.query_labels
        return torch.arange(len(self.query_old), device=self.query_old.device)

    def relevant(self, queries: Tensor, items: Tensor | None = None) -> Tensor:
        """Compare some queries (N,) with all or some items (M,): which pairs are relevant, (N, M) bool."""
        if self.relevance is None:
            labels = self.gallery_labels if items is None else self.gallery_labels[items]
            return self.query_labels[queries, None] == labels
        found = self.relevance.dense(queries) >= self.relevance.min_grade
        return found if items is None else found[:, items]

    def replace(self, **changes: Array) -> Embeddings:
        """Replace matrices, labels or groups by name; all are checked again.

        Raises:
            InputError: no such name, or any error of the constructor.
        """
        for name in changes:
            if name not in vars(self):
                raise InputError(f"replace: {name!r}, expected some of {', '.join(vars(self))}")
        return Embeddings(**{**vars(self), **changes})


def _given(part: str, labels: Array | None) -> Array:
    """Return labels, or raise InputError for none."""
    if labels is None:
        raise InputError(f"{part}_labels: none, expected the labels of queries and gallery, or relevance")
    return labels


def _check_relevance(relevance: Relevance, query_labels: Any, gallery_labels: Any, shape: tuple[int, int]) -> None:
    """Raises InputError for labels beside judgements, and judgements of other numbers of queries and items."""
    for name, labels in (("query_labels", query_labels), ("gallery_labels", gallery_labels)):
        if labels is not None:
            raise InputError(f"{name}: given beside relevance, expected labels or judgements")
    if not isinstance(relevance, Relevance):
        raise InputError(f"relevance: {type(relevance).__name__}, expected a compat.Relevance")
    if relevance.shape != shape:
        found = f"{relevance.shape[0]} queries and {relevance.shape[1]} items"
        raise InputError(f"relevance: of {found}, expected {shape[0]} and {shape[1]}")


def _rows(part: str, rows: Array, of: Tensor) -> Tensor:
    """Return row numbers, on the device of the rows."""
    at = torch.as_tensor(np.asarray(rows) if not isinstance(rows, Tensor) else rows).to(of.device)
    if at.dtype == torch.bool and at.shape == (len(of),):
        at = at.nonzero()[:, 0]
    if at.ndim != 1 or at.numel() == 0 or at.dtype.is_floating_point or at.dtype == torch.bool:
        raise InputError(f"{part}: rows of shape {tuple(at.shape)}, expected one row number or more")
    if not 0 <= int(at.min()) <= int(at.max()) < len(of):
        raise InputError(f"{part}: rows {int(at.min())} to {int(at.max())}, expected 0 to {len(of) - 1}")
    return at.long()


def _matrices(time: str, query: Array, gallery: Array) -> tuple[Tensor, Tensor]:
    """Check the queries and the gallery of one space: finite matrices of the same dimension."""
    name, other = f"query_{time}", f"gallery_{time}"
    queries, items = finite_matrix(name, query), finite_matrix(other, gallery)
    if queries.shape[1] != items.shape[1]:
        found, wanted = tuple(queries.shape), tuple(items.shape)
        raise InputError(f"{name}: shape {found}, expected {wanted[1]} columns as in {other} {wanted}")
    return queries, items


def finite_matrix(name: str, value: Array) -> Tensor:
    """Check a matrix (N, D) of finite numbers, and return a tensor; float32 and float64 are not copied.

    Raises:
        InputError: wrong shape, no row or column, no numbers, values NaN, infinite or beyond 1e150.
    """
    matrix = _floating(name, value)
    if 0 in matrix.shape:
        missing = "row" if len(matrix) == 0 else "column"
        raise InputError(f"{name}: shape {tuple(matrix.shape)}, expected at least one {missing}")
    most = min(1e150, torch.finfo(matrix.dtype).max)  # in float32 1e150 itself is infinite
    for start in range(0, len(matrix), 2**16):
        finite = (matrix[start : start + 2**16].abs() <= most).all(1)
        if not finite.all():
            row = start + int((~finite).nonzero()[0])
            raise InputError(f"{name}: NaN or infinite values (first in row {row}), expected finite embeddings")
    return matrix


def _floating(name: str, value: Array) -> Tensor:
    """Keep float32 and float64 without a copy; make half precision float32, integers float64."""
    matrix = _tensor(name, value, 2)
    if matrix.is_complex():
        raise InputError(f"{name}: {matrix.dtype}, expected real numbers")
    warn_of_packed_bits(name, matrix.dtype)
    if matrix.dtype not in (torch.float32, torch.float64):
        matrix = matrix.float() if matrix.is_floating_point() else matrix.double()
    return matrix.contiguous()


def _integers(name: str, value: Array, other: str, rows: Tensor) -> Tensor:
    vector = _tensor(name, value, 1)
    if vector.is_floating_point() or vector.is_complex():
        raise InputError(f"{name}: {vector.dtype}, expected integers")
    _same_rows(name, vector, other, rows)
    whole = vector.long()  # of unsigned integers those beyond int64 become negative
    signed = vector.dtype != torch.uint64
    if (name.endswith("labels") or not signed) and (negative := (whole < 0).nonzero()).numel():
        row = int(negative[0])
        found = int(whole[row])
        wrong = f"{found} in row {row}, expected labels of 0 and more"
        raise InputError(f"{name}: " + (wrong if signed else f"{found + 2**64} in row {row}, expected less than 2^63"))
    return whole.to(rows.device).contiguous()


def _same_rows(name: str, value: Tensor, other: str, rows: Tensor) -> None:
    if len(value) != len(rows):
        shapes = f"shape {tuple(value.shape)}, expected {len(rows)} rows as in {other} {tuple(rows.shape)}"
        raise InputError(f"{name}: {shapes}")


def _tensor(name: str, value: Array, dimensions: int) -> Tensor:
    try:
        if isinstance(value, np.ndarray) and (not value.dtype.isnative or min(value.strides, default=0) < 0):
            value = value.astype(value.dtype.newbyteorder("="), order="C")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # memory-mapped; only read here
            tensor = torch.as_tensor(value).detach()
        tensor = tensor.cpu() if tensor.device.type == "mps" else tensor  # which has no float64
    except (TypeError, ValueError, RuntimeError) as error:
        if not isinstance(value, (np.ndarray, list, tuple)):
            raise InputError(f"{name}: {type(value).__name__}, expected an array or tensor") from error
        raise InputError(f"{name}: {_kind(value)}, expected {'numbers' if dimensions == 2 else 'integers'}") from error
    if tensor.ndim != dimensions:
        shape = "(rows, dimension)" if dimensions == 2 else "(rows,)"
        raise InputError(f"{name}: shape {tuple(tensor.shape)}, expected {shape}")
    return tensor


def _kind(value: np.ndarray | Sequence[Any]) -> str:
    """Name the type of values refused by PyTorch."""
    try:
        kind = np.asarray(value).dtype
    except ValueError:
        return "rows of several lengths"
    return "strings" if kind.kind in "US" else str(kind)


def warn_of_directions(*parts: Embeddings) -> None:
    """Warn where cosine distances do not discriminate: zero rows, at distance 1 from everything, and a narrow cone."""
    for name in ("query_old", "query_new", "gallery_old", "gallery_new"):
        matrices = [getattr(part, name) for part in parts]  # each in a space of its own
        if zeros := sum(int((~some.any(1)).sum()) for rows in matrices for some in rows.split(2**16)):
            warnings.warn(f"{name}: {zeros} zero vectors, at cosine distance 1 from everything", stacklevel=3)
        near = all(_near(some, rows[0]) for rows in matrices for some in rows.split(2**10))
        if near and any(len(rows) > 1 for rows in matrices):
            found = f"all rows within {CONE:g} of one direction, where cosine distances are rounding"
            warnings.warn(f"{name}: {found}; compare rows of length 1 by l2", stacklevel=3)


def _near(rows: Tensor, direction: Tensor) -> bool:
    """Whether all rows (N, D) have about the direction (D,)."""
    rows, direction = (torch.nn.functional.normalize(one.double(), dim=-1) for one in (rows, direction))
    return bool((rows - direction).norm(dim=1).max() < CONE)
