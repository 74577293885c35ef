"""What a backfill teaches about itself: each migrated item is a pair of an old and a new embedding."""

from compat.experience.learners import Learner, OwnBack, OwnCalibration, OwnForward, OwnProcrustes
from compat.experience.replay import learning_curve
from compat.experience.seen import Seen
from compat.experience.world import GaussianWorld, NeighbourWorld, Prior, RidgeWorld, RotationWorld, World

__all__ = [
    "GaussianWorld",
    "Learner",
    "NeighbourWorld",
    "OwnBack",
    "OwnCalibration",
    "OwnForward",
    "OwnProcrustes",
    "Prior",
    "RidgeWorld",
    "RotationWorld",
    "Seen",
    "World",
    "learning_curve",
]
