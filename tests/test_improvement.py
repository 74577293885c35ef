"""Every method of configs/methods finds more after its training than before it, on scikit-learn's digits."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
from benchmarks.cache import Cache
from benchmarks.config import Method, as_dict, build, parse
from benchmarks.matrices import Fitted, System, fill

from benchmarks import stages
from compat.backfill import backfill_curve, backfill_order
from compat.data import Part, RetrievalData
from compat.methods import Joint, SingleModel

ROOT = Path(__file__).parents[1]
LEARNING = sorted(path for path in (ROOT / "configs" / "methods").glob("*.yaml") if path.stem != "independent")

NEW: Part = "new"


class Digits:
    """Two small models of digits, the old one of five classes, and a cache for what the methods learn."""

    def __init__(self, folder: Path) -> None:
        channels = "model.backbone.dict_kwargs.channels=[8,16,32,64]"
        options = [f"--{part}.{channels}" for part in ("old", "new")]
        options += [f"--{part}.trainer.max_epochs=6" for part in ("old", "new", "heads")]
        options += [f"--{part}.trainer.enable_progress_bar=false" for part in ("old", "new", "heads")]
        self.config = as_dict(parse([str(ROOT / "configs/digits.yaml"), *options]))
        self.data: RetrievalData = build(RetrievalData, self.config["data"])
        self.cache = Cache(folder)
        self.old, self.new = self.system("old"), self.system("new")
        self.old = self.old._replace(side=self.new.embedded)

    def system(self, part) -> System:
        spec, data = self.config[part], self.config["data"]
        build(SingleModel, spec["model"]).materialize(self.data)
        key = stages.training_key(part, spec, data, self.data)
        weights = stages.train(self.cache, part, spec, key, self.data)
        model = stages.trained(spec["model"], weights.tensors, part)
        return System(model.embedder, stages.extract(self.cache, part, spec, weights, model, data, self.data))

    def untrained(self, spec) -> Fitted:
        pl.seed_everything(0, verbose=False)
        single: SingleModel = build(SingleModel, self.config["new"]["model"])
        single.materialize(self.data)
        method = build(Method, spec)(self.old.embedder, self.new.embedder)
        new = self.new
        if isinstance(method, Joint):
            method = build(Method, spec)(self.old.embedder, single.embedder)
            single.embedder = method.new
            state = stages.Artifact({}, f"untrained-{spec['class_path']}", 0.0, cached=False)
            given = (self.config["new"], state, single.eval(), self.config["data"], self.data)
            new = System(method.new, stages.extract(self.cache, "new", *given, "untrained"))
        return Fitted(method.eval(), self.old.embedded, self.old, new, {})

    def trained(self, name, spec) -> Fitted:
        method, config = build(Method, spec)(self.old.embedder, self.new.embedder), self.config
        pair, given = (self.old, self.new), (config["data"], self.data, NEW)
        if isinstance(method, Joint):
            return stages.train_jointly(self.cache, spec, config["new"], pair, *given, {})
        if method.trained_by:
            pair = (self.old, stages.train_jointly(self.cache, method.trained_by, config["new"], pair, *given, {}).new)
        return stages.train_head(self.cache, name, spec, config["heads"], pair, *given, 0)

    def auc(self, fitted) -> float:
        embeddings = fill(fitted, self.data)
        return backfill_curve(embeddings, backfill_order(len(embeddings.gallery_old), 0), 5).auc


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Digits:
    return Digits(tmp_path_factory.mktemp("runs"))


@pytest.mark.slow
@pytest.mark.parametrize("path", LEARNING, ids=lambda path: path.stem)
def test_it_improves_on_its_untrained_start(path, digits):
    options = ["--methods", f"{{{path.stem}: {path}}}"]
    spec = as_dict(parse([str(ROOT / "configs/digits.yaml"), *options]))["methods"][path.stem]
    if "side" in spec["init_args"]:
        spec["init_args"]["side"] = 32
    assert digits.auc(digits.trained(path.stem, spec)) > digits.auc(digits.untrained(spec)) + 0.01
