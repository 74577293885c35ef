"""Compatible representation learning: what retrieval does while the embedding model is upgraded.

`Embeddings` and `backfill_curve` are imported when they are first asked for, so that reading results needs
no torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compat.backfill import Curve, Embeddings, backfill_curve, backfill_order

__version__ = "0.1.0"
__all__ = ["Curve", "Embeddings", "__version__", "backfill_curve", "backfill_order"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from compat import backfill

        return getattr(backfill, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
