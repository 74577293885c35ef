"""Online methods: learn from the items backfilled so far, each a pair of an old and a new embedding.

Names in `__all__` are imported on first use.
"""

from typing import TYPE_CHECKING

from compat.lazy import on_first_use

if TYPE_CHECKING:
    from compat.experience.agreement import CandidateSearch
    from compat.experience.learners import Learner, OwnBack, OwnCalibration, OwnForward, Proposal
    from compat.experience.replay import learning_curve
    from compat.experience.seen import Baseline, SeenItems, Serving
    from compat.experience.world import WORLDS, GaussianWorld, NeighbourWorld, Prior, RidgeWorld, RotationWorld, World

__all__ = [
    "WORLDS",
    "Baseline",
    "CandidateSearch",
    "GaussianWorld",
    "Learner",
    "NeighbourWorld",
    "OwnBack",
    "OwnCalibration",
    "OwnForward",
    "Prior",
    "Proposal",
    "RidgeWorld",
    "RotationWorld",
    "SeenItems",
    "Serving",
    "World",
    "learning_curve",
]
PLACES = {
    "CandidateSearch": "agreement",
    **dict.fromkeys(("Learner", "OwnBack", "OwnCalibration", "OwnForward", "Proposal"), "learners"),
    "learning_curve": "replay",
    **dict.fromkeys(("Baseline", "SeenItems", "Serving"), "seen"),
    **dict.fromkeys(
        ("WORLDS", "GaussianWorld", "NeighbourWorld", "Prior", "RidgeWorld", "RotationWorld", "World"), "world"
    ),
}
__getattr__, __dir__ = on_first_use(__name__, PLACES)
