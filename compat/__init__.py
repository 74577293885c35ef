"""Compatible representation learning: what retrieval does while the embedding model is upgraded.

What `__all__` lists is imported when it is first asked for, so that reading results needs
no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compat.backfill import Curve, backfill_curve
    from compat.embeddings import Embeddings
    from compat.progress import backfill_order
    from compat.system import fill

__version__ = "0.1.0"
__all__ = ["Curve", "Embeddings", "__version__", "backfill_curve", "backfill_order", "fill"]
PLACES = {
    "Curve": "compat.backfill",
    "backfill_curve": "compat.backfill",
    "Embeddings": "compat.embeddings",
    "backfill_order": "compat.progress",
    "fill": "compat.system",
}


def __getattr__(name: str) -> Any:
    if name in PLACES:
        return getattr(import_module(PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
