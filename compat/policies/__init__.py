"""A backfill as an environment for gymnasium, `compat/Backfill-v0`: which group of the gallery is migrated next?

    import compat.policies
    env = gymnasium.make("compat/Backfill-v0", embeddings=embeddings)

Needs the extra `policies`.
"""

from compat.errors import InputError

try:
    import gymnasium
except ImportError as error:
    raise InputError("gymnasium: not installed, expected it: pip install compat-bench[policies]") from error

from compat.policies.backfill import BackfillEnv, EnvironmentState
from compat.policies.features import FEATURES, OVERALL
from compat.policies.rollouts import Policy, Rollout, read, record, rollout

ID = "compat/Backfill-v0"
gymnasium.register(ID, "compat.policies.backfill:BackfillEnv")

__all__ = [
    "FEATURES",
    "ID",
    "OVERALL",
    "BackfillEnv",
    "EnvironmentState",
    "Policy",
    "Rollout",
    "read",
    "record",
    "rollout",
]
