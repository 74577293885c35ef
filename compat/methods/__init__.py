"""The methods: each fills the four matrices of `compat.Embeddings` in its own way."""

from compat.methods.advbct import AdvBCT
from compat.methods.bct import BCT
from compat.methods.bt2 import BT2
from compat.methods.dsimplex import DSimplex
from compat.methods.joint import Joint, Teacher
from compat.methods.lce import LCE
from compat.methods.mixbct import MixBCT
from compat.methods.oca import OCA
from compat.methods.ract import RACT
from compat.methods.rqt import ReverseQuery
from compat.methods.single import SingleModel
from compat.methods.unibct import UniBCT
from compat.methods.upgrade import Pair, Upgrade

__all__ = [
    "BCT",
    "BT2",
    "LCE",
    "OCA",
    "RACT",
    "AdvBCT",
    "DSimplex",
    "Joint",
    "MixBCT",
    "Pair",
    "ReverseQuery",
    "SingleModel",
    "Teacher",
    "UniBCT",
    "Upgrade",
]
