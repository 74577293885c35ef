"""Numbers out of range are refused in one line that names the argument, before anything is trained."""

import math

import pytest

from compat import methods, ranges
from compat.errors import InputError
from compat.methods import SingleModel
from compat.models import Embedder
from tests.backbones import TinyConv
from tests.pairs import embedders

POSITIVE, NOT_NEGATIVE, COUNT = "more than 0", "0 or more", "at least 1"
SHARE, ANGLE = r"a share in \(0, 1\]", r"an angle in \[0, pi\)"
ARGUMENTS = {
    "ReverseQuery": [
        ("temperature", POSITIVE), ("mcl_weight", NOT_NEGATIVE), ("k_pos", COUNT), ("k_neg", COUNT), ("hidden", COUNT)
    ],
    "BCT": [("weight", NOT_NEGATIVE)],
    "RACT": [("temperature", POSITIVE), ("weight", NOT_NEGATIVE), ("negatives", COUNT)],
    "UniBCT": [
        ("scale", POSITIVE), ("margin", ANGLE), ("temperature", POSITIVE), ("share", r"a share in \[0, 1\)"),
        ("prototype_scale", POSITIVE), ("prototype_margin", ANGLE),
    ],
    "MixBCT": [("scale", POSITIVE), ("margin", ANGLE), ("share", SHARE), ("credible", SHARE)],
    "AdvBCT": [("threshold", POSITIVE), ("hidden", COUNT), ("radius_quantile", SHARE)],
    "OCA": [
        ("scale", POSITIVE), ("extra", NOT_NEGATIVE), ("classification", NOT_NEGATIVE), ("prototypes", NOT_NEGATIVE),
        ("alignment", NOT_NEGATIVE),
    ],
    "BT2": [("old_weight", NOT_NEGATIVE), ("prototype_weight", NOT_NEGATIVE)],
    "DSimplex": [("weight", "0 to 1")],
    "LCE": [("scale", POSITIVE), ("margin", ANGLE), ("alignment", NOT_NEGATIVE), ("boundary", NOT_NEGATIVE)],
    "FCT": [("side", NOT_NEGATIVE), ("hidden", COUNT)],
    "FastFill": [("classification", NOT_NEGATIVE)],
    "LambdaOrthogonality": [
        ("bound", POSITIVE), ("temperature", POSITIVE), ("forward", NOT_NEGATIVE), ("backward", NOT_NEGATIVE),
        ("contrast", NOT_NEGATIVE),
    ],
    "ResidualMLP": [("alpha", NOT_NEGATIVE), ("hidden", COUNT)],
    "Affine": [("alpha", NOT_NEGATIVE)],
}  # fmt: skip
WRONG: dict[str, list[float]] = {
    POSITIVE: [0.0, -0.1, math.nan, math.inf],
    NOT_NEGATIVE: [-1, math.nan],
    COUNT: [0, -3],
    SHARE: [0.0, 1.01, -0.5],
    ANGLE: [-0.1, math.pi, 4.0],
    "0 to 1": [-0.1, 1.5, math.nan],
    r"a share in \[0, 1\)": [-0.1, 1.0],
}


@pytest.mark.parametrize(
    ("kind", "name", "value", "expected"),
    [
        (kind, name, value, expected)
        for kind, arguments in ARGUMENTS.items()
        for name, expected in arguments
        for value in WRONG[expected]
    ],
)
def test_a_number_out_of_range_is_refused_in_one_line(kind, name, value, expected):
    with pytest.raises(InputError, match=rf"^{name}: {value}, expected {expected}$"):
        getattr(methods, kind)(*embedders(), **{name: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0.0}, "scale: 0.0, expected more than 0"),
        ({"embed_dim": 0}, "embed_dim: 0, expected at least 1"),
        ({"triplet_margin": -0.1}, "triplet_margin: -0.1, expected 0 or more"),
    ],
)
def test_those_of_a_model_too(options, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        SingleModel(TinyConv(), **options)
    if "triplet_margin" not in options:
        with pytest.raises(InputError, match=f"^{message}$"):
            Embedder(TinyConv(), **options)


def test_the_ends_of_a_range_belong_to_it_or_do_not():
    ranges.positive(a=1e-9, b=None)
    ranges.not_negative(a=0, b=None)
    ranges.at_least_one(a=1, b=None)
    ranges.share(a=1.0, b=1e-9)
    ranges.angle(a=0.0, b=3.14159)
