"""Decide whether an upgrade is worth it, and how to migrate. No labels but the user's."""

from compat.decision.choice import Effort, choose, halves, hardly, regret
from compat.decision.gain import Decision, decide, queries_needed
from compat.decision.resampling import Band, bands

__all__ = ["Band", "Decision", "Effort", "bands", "choose", "decide", "halves", "hardly", "queries_needed", "regret"]
