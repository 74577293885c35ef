"""What a backfill teaches about itself: each migrated item is a pair of an old and a new embedding."""

from compat.experience.agreement import CandidateSearch
from compat.experience.learners import Learner, OwnBack, OwnCalibration, OwnForward, Proposal
from compat.experience.replay import learning_curve
from compat.experience.seen import Before, SeenItems, Serving
from compat.experience.world import WORLDS, GaussianWorld, NeighbourWorld, Prior, RidgeWorld, RotationWorld, World

__all__ = [
    "WORLDS",
    "Before",
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
