"""Every method of configs/methods finds more after its training than before it, on scikit-learn's digits.

Those that train a new model are slow.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from benchmarks.artifacts.extracted import embed
from benchmarks.artifacts.images import dataset
from benchmarks.artifacts.kinds import ImageSet, OwnSystem, ServedSystem, Upgraded
from benchmarks.artifacts.matrices import plain
from benchmarks.artifacts.store import ArtifactStore
from benchmarks.artifacts.systems import Built, System, build, upgrade
from benchmarks.config.parse import parse
from benchmarks.jobs.plan import Planner
from compat import methods
from compat.backfill import backfill_curve
from compat.progress import backfill_order
from compat.system import serve
from tests import ROOT

METHODS = ROOT / "configs" / "methods"
EVERY = yaml.safe_load((METHODS / "all.yaml").read_text())
LEARNING = [METHODS / path for name, path in EVERY.items() if name not in ("independent", "query_drift")]


def trains_a_model(path: Path) -> bool:
    """Whether a method trains a new model, or one that it is based on does."""
    content = yaml.safe_load(path.read_text())
    return "based_on" in content or issubclass(getattr(methods, content["class_path"].rsplit(".", 1)[1]), methods.Joint)


class Digits:
    """Two small models of digits, the old one of five classes, and a store of what the methods learn.

    The new model's embeddings are the old system's side-information too.
    """

    def __init__(self, folder: Path) -> None:
        self.store = ArtifactStore(folder)

    def upgraded(self, path: Path) -> Upgraded:
        """The upgrade by a shipped method."""
        name, parts = path.stem, ("old", "new", "heads")
        options = [f"--{part}.model.backbone.dict_kwargs.channels=[8,16,32,64]" for part in parts[:2]]
        options += [f"--{part}.trainer.max_epochs=6" for part in parts]
        options += [f"--{part}.trainer.enable_progress_bar=false" for part in parts]
        options += ["--methods", f"{{{name}: {path}}}"]
        experiment = parse([str(ROOT / "configs/digits.yaml")], options)
        images = ImageSet.of(experiment.data, tuple(dataset(experiment.data).fingerprint()))
        planner = Planner(experiment.at(0), images, (0.0, 1.0))
        spec, (old, new) = experiment.methods[name], planner.systems
        if "side-information" in spec.needs():
            spec = spec.having(side=32)
            old = replace(old, side=new.vectors)
        return planner.upgraded(spec, name, 1, old)

    def untrained(self, upgraded: Upgraded) -> Built:
        """The method before it has learned; one that trains a new model is there with its first weights."""
        built = build(self.store, upgraded.learned)
        if built.recipe is not None:
            assert isinstance(upgraded.new, OwnSystem)
            built.recipe.embedder, vectors = built.method.new, upgraded.new.vectors
            rows = embed(built.recipe, vectors.images, vectors.options, self.store.folder)
            built = built._replace(new=System(built.method.new, rows))
        return built._replace(method=built.method.eval())

    def auc(self, built: Built, upgraded: Upgraded) -> float:
        """The area under the backfill curve."""
        new = upgraded.new
        while isinstance(new, ServedSystem):
            new = new.by.new
        images = new.vectors.images
        embeddings = serve(built.method, plain(built, images))
        return backfill_curve(embeddings, backfill_order(len(embeddings.gallery_old), 0), 5).auc


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Digits:
    return Digits(tmp_path_factory.mktemp("runs"))


@pytest.mark.filterwarnings("ignore:.* zero vectors")  # of a kernel regression without weights
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.slow] if trains_a_model(path) else []) for path in LEARNING],
    ids=[path.stem for path in LEARNING],
)
def test_it_improves_on_its_untrained_start(path, digits):
    upgraded = digits.upgraded(path)
    before = digits.auc(digits.untrained(upgraded), upgraded)
    assert digits.auc(upgrade(digits.store, upgraded), upgraded) > before + 0.01


def test_a_mean_drift_between_models_trained_apart_changes_next_to_nothing(digits):
    """Query drift compensation is made for models that drift: `query_drift_bct`, which improves, is one."""
    upgraded = digits.upgraded(METHODS / "query_drift.yaml")
    before = digits.auc(digits.untrained(upgraded), upgraded)
    assert digits.auc(upgrade(digits.store, upgraded), upgraded) == pytest.approx(before, abs=0.03)
