"""Report on the run of a config: its embeddings, as served by its methods."""

from __future__ import annotations

import argparse

from benchmarks.artifacts.images import dataset
from benchmarks.artifacts.kinds import ImageSet
from benchmarks.artifacts.matrices import matrices
from benchmarks.artifacts.progress import Progress
from benchmarks.artifacts.store import ArtifactStore
from benchmarks.artifacts.systems import upgrade
from benchmarks.artifacts.threads import count_pixels, set_threads
from benchmarks.config.named import locate
from benchmarks.config.networks import check_networks
from benchmarks.config.parse import parse
from benchmarks.embeddings.arguments import ARRAYS
from benchmarks.jobs.plan import INDEPENDENT, Planner, is_online
from benchmarks.report.from_results import describe_class
from benchmarks.report.inputs import Inputs
from benchmarks.report.trials import ServedEmbeddings
from compat.decision import Effort
from compat.errors import InputError


def of_run(arguments: argparse.Namespace) -> tuple[Inputs, list[ServedEmbeddings]]:
    """Return the four matrices of a config's first seed, and those served by each of its methods.

    Missing artifacts are made. Online methods are left to the report, which tries its own.

    Raises:
        InputError: any error of a run of the config.
    """
    if not locate(arguments.folder).is_file():
        raise InputError(f"folder: {arguments.folder} (no such file), expected a config or results/<benchmark>")
    experiment = parse([arguments.folder], arguments.overrides)
    experiment = experiment.at(experiment.seeds[0])
    data = dataset(experiment.data)
    images = ImageSet.of(experiment.data, tuple(data.fingerprint()))
    set_threads(count_pixels(data))
    check_networks(experiment)
    planner, store = Planner(experiment, images, ()), ArtifactStore(experiment.runs, Progress().begin)
    plain = matrices(store, planner.chain(INDEPENDENT, "independent")[0], images.shown_plainly())
    served = []
    for name in experiment.chosen:
        spec = experiment.methods[name]
        if is_online(spec) or spec.class_path == INDEPENDENT.class_path:
            continue
        upgraded = planner.chain(spec, name)[0]
        method = upgrade(store, upgraded).method
        effort = Effort(method.encoder_passes, rewrites=method.transforms_gallery, training=bool(method.needs))
        served.append(
            ServedEmbeddings(
                name, effort, matrices(store, upgraded, images.shown_plainly()), describe_class(spec.class_path)
            )
        )
    trained_on = store.get(planner.systems[0].vectors)["train"]
    return Inputs({name: getattr(plain, name) for name in ARRAYS}, {}, True, trained_on=trained_on), served
