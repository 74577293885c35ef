"""What a backfill teaches about itself: each migrated item is a pair of an old and a new embedding."""

from compat.experience.learners import Learner, OwnBack, OwnCalibration, OwnForward
from compat.experience.replay import learning_curve
from compat.experience.seen import Seen
from compat.experience.world import WORLDS, GaussianWorld, NeighbourWorld, Prior, RidgeWorld, RotationWorld, World

__all__ = [
    "WORLDS",
    "GaussianWorld",
    "Learner",
    "NeighbourWorld",
    "OwnBack",
    "OwnCalibration",
    "OwnForward",
    "Prior",
    "RidgeWorld",
    "RotationWorld",
    "Seen",
    "World",
    "learning_curve",
]
