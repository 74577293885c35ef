"""The methods: each computes the four matrices of `compat.Embeddings` in its own way, see `Upgrade`.

Names in `__all__` are imported on first use: serving a method without training needs no Lightning.
"""

from typing import TYPE_CHECKING

from compat.lazy import on_first_use

if TYPE_CHECKING:
    from compat.batch import Pair
    from compat.methods.advbct import AdvBCT
    from compat.methods.affine import Affine
    from compat.methods.bct import BCT
    from compat.methods.bict import BiCT
    from compat.methods.bt2 import BT2
    from compat.methods.dmu import DMU
    from compat.methods.drift import QueryDrift
    from compat.methods.dsimplex import DSimplex
    from compat.methods.fastfill import FastFill
    from compat.methods.fct import FCT
    from compat.methods.forward import ForwardContrast
    from compat.methods.joint import Joint, Teacher
    from compat.methods.kernel import KernelGallery, KernelQuery
    from compat.methods.lce import LCE
    from compat.methods.learned import Learned
    from compat.methods.mixbct import MixBCT
    from compat.methods.nccl import NCCL
    from compat.methods.oca import OCA
    from compat.methods.orthogonality import LambdaOrthogonality
    from compat.methods.procrustes import Procrustes
    from compat.methods.ract import RACT
    from compat.methods.residual import ResidualMLP
    from compat.methods.rho import Rho, RhoBoth, RhoOld
    from compat.methods.rqt import ReverseQuery
    from compat.methods.simclr import SimCLR
    from compat.methods.single import SingleModel
    from compat.methods.slerp import Slerp
    from compat.methods.trained import Trained
    from compat.methods.unibct import UniBCT
    from compat.methods.upgrade import Upgrade

__all__ = [
    "BCT",
    "BT2",
    "DMU",
    "FCT",
    "LCE",
    "NCCL",
    "OCA",
    "RACT",
    "AdvBCT",
    "Affine",
    "BiCT",
    "DSimplex",
    "FastFill",
    "ForwardContrast",
    "Joint",
    "KernelGallery",
    "KernelQuery",
    "LambdaOrthogonality",
    "Learned",
    "MixBCT",
    "Pair",
    "Procrustes",
    "QueryDrift",
    "ResidualMLP",
    "ReverseQuery",
    "Rho",
    "RhoBoth",
    "RhoOld",
    "SimCLR",
    "SingleModel",
    "Slerp",
    "Teacher",
    "Trained",
    "UniBCT",
    "Upgrade",
]
PLACES = {
    "Pair": ".batch",
    "AdvBCT": "advbct",
    "Affine": "affine",
    "BCT": "bct",
    "BiCT": "bict",
    "BT2": "bt2",
    "DMU": "dmu",
    "QueryDrift": "drift",
    "DSimplex": "dsimplex",
    "FastFill": "fastfill",
    "FCT": "fct",
    "ForwardContrast": "forward",
    **dict.fromkeys(("Joint", "Teacher"), "joint"),
    **dict.fromkeys(("KernelGallery", "KernelQuery"), "kernel"),
    "LCE": "lce",
    "Learned": "learned",
    "MixBCT": "mixbct",
    "NCCL": "nccl",
    "OCA": "oca",
    "LambdaOrthogonality": "orthogonality",
    "Procrustes": "procrustes",
    "RACT": "ract",
    "ResidualMLP": "residual",
    "ReverseQuery": "rqt",
    "Rho": "rho",
    "RhoBoth": "rho",
    "RhoOld": "rho",
    "SimCLR": "simclr",
    "SingleModel": "single",
    "Slerp": "slerp",
    "UniBCT": "unibct",
    "Upgrade": "upgrade",
    "Trained": "trained",
}
__getattr__, __dir__ = on_first_use(__name__, PLACES)
