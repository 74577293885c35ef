"""Numbers out of range are refused in one line that names the argument, before anything is trained."""

import inspect
import math
import re

import pytest

from compat import errors, merge, methods, orders
from compat.errors import InputError
from compat.methods import Joint, Learned, SingleModel, Trained, Upgrade
from compat.models import Embedder
from tests.helpers.backbones import TinyConv
from tests.helpers.pairs import embedders

POSITIVE, NOT_NEGATIVE, COUNT = "more than 0", "0 or more", "at least 1"
SHARE, ANGLE, PART = "a share in (0, 1]", "an angle in [0, pi)", "0 to 1"
UNDER, INSIDE, WARMUP = "a share in [0, 1)", "more than 0 and less than 1", "a share in (0, 1)"
BLOCKS, RANK, KNOTS, EXTRA = "1 to 5", "1 to 3", "at least 2", "0 to 3, so that the old dimensions fit"
WRONG: dict[str, list[float]] = {
    POSITIVE: [0.0, -0.1, math.nan, math.inf],
    NOT_NEGATIVE: [-1, math.nan],
    COUNT: [0, -3],
    SHARE: [0.0, 1.01, -0.5],
    ANGLE: [-0.1, math.pi, 4.0],
    PART: [-0.1, 1.5, math.nan],
    UNDER: [-0.1, 1.0],
    INSIDE: [0.0, 1.0, math.nan],
    WARMUP: [0.0, 1.0, math.nan],
    BLOCKS: [0, 6],
    RANK: [0, 4, -1],
    KNOTS: [1],
    EXTRA: [-1, 4],
}
FORWARD = {"side": NOT_NEGATIVE, "hidden": COUNT, "warmup": WARMUP}
KERNEL = {"centres": COUNT, "gamma": POSITIVE}
MODEL = {
    "embed_dim": COUNT,
    "scale": POSITIVE,
    "label_smoothing": PART,
    "triplet_margin": NOT_NEGATIVE,
    "backbone_rate": POSITIVE,
}
ARGUMENTS: dict[str, dict[str, str]] = {
    "ReverseQuery": {
        "blocks": BLOCKS, "hidden": COUNT, "mcl_weight": NOT_NEGATIVE, "temperature": POSITIVE, "k_pos": COUNT,
        "k_neg": COUNT, "warmup": WARMUP,
    },
    "BCT": {"weight": NOT_NEGATIVE},
    "RACT": {"temperature": POSITIVE, "weight": NOT_NEGATIVE, "negatives": COUNT},
    "UniBCT": {
        "scale": POSITIVE, "margin": ANGLE, "temperature": POSITIVE, "share": UNDER, "prototype_scale": POSITIVE,
        "prototype_margin": ANGLE,
    },
    "MixBCT": {"scale": POSITIVE, "margin": ANGLE, "share": SHARE, "credible": SHARE},
    "AdvBCT": {"threshold": POSITIVE, "hidden": COUNT, "radius_quantile": SHARE},
    "OCA": {
        "scale": POSITIVE, "extra": NOT_NEGATIVE, "classification": NOT_NEGATIVE, "prototypes": NOT_NEGATIVE,
        "alignment": NOT_NEGATIVE,
    },
    "BT2": {"extra": EXTRA, "old_weight": NOT_NEGATIVE, "prototype_weight": NOT_NEGATIVE},
    "DSimplex": {"weight": PART},
    "LCE": {"scale": POSITIVE, "margin": ANGLE, "alignment": NOT_NEGATIVE, "boundary": NOT_NEGATIVE},
    "NCCL": {
        "weight": NOT_NEGATIVE,
        "logit_weight": NOT_NEGATIVE,
        "logit_scale": POSITIVE,
        "temperature": POSITIVE,
        "queue": COUNT,
    },
    "DMU": {"inheritance": NOT_NEGATIVE, "adaptation": NOT_NEGATIVE, "temperature": POSITIVE, "hidden": COUNT},
    "FCT": FORWARD,
    "FastFill": {**FORWARD, "classification": NOT_NEGATIVE},
    "BiCT": {"hidden": COUNT, "warmup": WARMUP},
    "ForwardContrast": {
        "blocks": BLOCKS, "hidden": COUNT, "mcl_weight": NOT_NEGATIVE, "temperature": POSITIVE, "k_neg": COUNT,
        "warmup": WARMUP,
    },
    **{
        name: {"blocks": BLOCKS, "hidden": COUNT, "temperature": POSITIVE, "k_neg": COUNT, "warmup": WARMUP}
        for name in ("Rho", "RhoBoth", "RhoOld")
    },
    "LambdaOrthogonality": {
        "bound": POSITIVE, "temperature": POSITIVE, "forward": NOT_NEGATIVE, "backward": NOT_NEGATIVE,
        "contrast": NOT_NEGATIVE, "blocks": BLOCKS, "hidden": COUNT, "warmup": WARMUP,
    },
    "ResidualMLP": {"alpha": NOT_NEGATIVE, "hidden": COUNT, "warmup": WARMUP},
    "Affine": {"alpha": NOT_NEGATIVE, "rank": RANK},
    "Slerp": {"alpha": PART, "held_out": INSIDE},
    "KernelQuery": KERNEL,
    "KernelGallery": KERNEL,
    "SingleModel": MODEL,
    "SimCLR": MODEL,
    "Density": {"neighbours": COUNT},
    "Clusters": {"clusters": COUNT},
    "Quantile": {"knots": KNOTS},
}  # fmt: skip
LATER = {("SingleModel", "warmup"), ("SimCLR", "warmup")}  # by the benchmark, and by a training's schedule
LATER |= {("QueryZScore", name) for name in ("size", "fewest", "seed")}  # together, see test_query_z_score.py
FAMILIES = ((methods, (Upgrade, SingleModel)), (orders, orders.Order), (merge, merge.Merge))
KINDS = {
    name: kind
    for module, family in FAMILIES
    for name, kind in inspect.getmembers(module, inspect.isclass)
    if issubclass(kind, family) and kind not in (Joint, Learned, Trained)
}


def numbers(kind) -> set[str]:
    """The arguments of a constructor that are numbers."""
    taken = inspect.signature(kind).parameters.values()
    return {each.name for each in taken if re.search(r"\b(int|float)\b", str(each.annotation))}


def made(kind, **options):
    """A small one."""
    if issubclass(kind, SingleModel):
        return kind(TinyConv(), **options)
    return kind(*embedders(), **options) if issubclass(kind, Upgrade) else kind(**options)


def test_every_number_that_a_constructor_takes_is_listed():
    found = {(name, number) for name, kind in KINDS.items() for number in numbers(kind)}
    listed = {(name, number) for name, arguments in ARGUMENTS.items() for number in arguments}
    assert found == listed | LATER
    assert len(found) > 60


@pytest.mark.parametrize(
    ("kind", "name", "value", "expected"),
    [
        (kind, name, value, expected)
        for kind, arguments in ARGUMENTS.items()
        for name, expected in arguments.items()
        for value in WRONG[expected]
    ],
)
def test_a_number_out_of_range_is_refused_in_one_line(kind, name, value, expected):
    with pytest.raises(InputError, match=f"^{re.escape(f'{name}: {value}, expected {expected}')}$"):
        made(KINDS[kind], **{name: value})


@pytest.mark.parametrize("options", [{"scale": 0.0}, {"embed_dim": 0}])
def test_those_of_an_embedder_too(options):
    with pytest.raises(InputError, match=r"^(scale: 0.0, expected more than 0|embed_dim: 0, expected at least 1)$"):
        Embedder(TinyConv(), **options)


def test_the_ends_of_a_range_belong_to_it_or_do_not():
    errors.positive(a=1e-9, b=None)
    errors.not_negative(a=0, b=None)
    errors.at_least_one(a=1, b=None)
    errors.share(a=1.0, b=1e-9)
    errors.angle(a=0.0, b=3.14159)
