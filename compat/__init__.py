"""Compatible representation learning: retrieval while the embedding model is upgraded.

Names in `__all__` are imported on first use, so reading results needs no torch.
"""

from typing import TYPE_CHECKING

from compat.lazy import on_first_use

if TYPE_CHECKING:
    from compat import methods
    from compat.backfill import Curve, backfill_curve
    from compat.embeddings import Embeddings
    from compat.merge import Merge
    from compat.orders import Order
    from compat.progress import backfill_order
    from compat.relevance import Relevance
    from compat.results import Result, load_results
    from compat.system import serve
    from compat.topk import topk_curve

__version__ = "0.1.0"
__all__ = [
    "Curve",
    "Embeddings",
    "Merge",
    "Order",
    "Relevance",
    "Result",
    "__version__",
    "backfill_curve",
    "backfill_order",
    "load_results",
    "methods",
    "serve",
    "topk_curve",
]
PLACES = {
    **dict.fromkeys(("Curve", "backfill_curve"), "backfill"),
    **dict.fromkeys(("Result", "load_results"), "results"),
    "Embeddings": "embeddings",
    "Merge": "merge",
    "Order": "orders",
    "Relevance": "relevance",
    "backfill_order": "progress",
    "methods": "methods",
    "serve": "system",
    "topk_curve": "topk",
}
__getattr__, __dir__ = on_first_use(__name__, PLACES)
