"""The methods: each fills the four matrices of `compat.Embeddings` in its own way."""

from compat.methods.rqt import ReverseQuery
from compat.methods.single import SingleModel
from compat.methods.upgrade import Pair, Upgrade

__all__ = ["Pair", "ReverseQuery", "SingleModel", "Upgrade"]
