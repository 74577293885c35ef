"""Write the embeddings of a run into one file: the four matrices of `independent`, with labels and groups.

    python -m benchmarks.export digits --seed 0 -o s0.safetensors
    compat-bench replay --query-old s0.safetensors:query_old --query-new s0.safetensors:query_new \\
        --gallery-old s0.safetensors:gallery_old --gallery-new s0.safetensors:gallery_new \\
        --query-labels s0.safetensors:query_labels --gallery-labels s0.safetensors:gallery_labels \\
        --query-groups s0.safetensors:query_groups --gallery-groups s0.safetensors:gallery_groups \\
        -o results/exported

`compat-bench replay` and `compat.policies` take the tensors by these names. Where the old model has a
classifier, `gallery_entropy` is its entropy for each item of the gallery. Models and embeddings are those of the run
folder; missing ones are made. Of a sequence the first upgrade is written.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.artifacts.kinds import ImageSet
from benchmarks.artifacts.store import ArtifactStore
from benchmarks.config.named import add_config, layers
from benchmarks.config.parse import parse
from benchmarks.config.schema import Experiment
from benchmarks.embeddings.arguments import ARRAYS
from benchmarks.jobs.plan import INDEPENDENT, Planner
from compat.command import GO_ON, command_parser, exit_on_input_error
from compat.errors import InputError
from compat.files import replace

if TYPE_CHECKING:
    from torch import Tensor


def export(experiment: Experiment) -> dict[str, Tensor]:
    """Return the tensors of an experiment with one seed, by name.

    Raises:
        InputError: any error of a run of the experiment.
    """
    from benchmarks.artifacts.images import dataset
    from benchmarks.artifacts.matrices import matrices
    from benchmarks.artifacts.progress import Progress
    from benchmarks.artifacts.systems import load
    from benchmarks.artifacts.threads import count_pixels, set_threads
    from benchmarks.config.networks import check_networks

    data = dataset(experiment.data)
    images = ImageSet.of(experiment.data, tuple(data.fingerprint()))
    set_threads(count_pixels(data))
    check_networks(experiment)
    planner = Planner(experiment.at(*experiment.seeds), images, ())
    store = ArtifactStore(experiment.runs, Progress().begin)
    embeddings = matrices(store, planner.chain(INDEPENDENT, "independent")[0], images.shown_plainly())
    tensors = {name: getattr(embeddings, name).clone() for name in ARRAYS}
    old = load(store, planner.systems[0])
    if old.embedder.classifier is not None:
        tensors["gallery_entropy"] = entropy(old.rows("gallery"), old.embedder.classifier)
    return tensors


def entropy(rows: Tensor, classifier: object) -> Tensor:
    """Return the entropy of the classifier's probabilities per row, (G,) float64, as in `compat.orders.Entropy`."""
    import numpy as np

    from compat.orders import Entropy, OrderGiven

    known = {"old gallery": rows, "old classifier": classifier}
    return Entropy().scores(OrderGiven(Entropy.needs, known, "Entropy", items=len(rows), progress=np.zeros(0)))


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m benchmarks.export`."""
    parser = command_parser(
        "benchmarks.export", __doc__, "CONFIG [--config CONFIG ...] --seed SEED -o FILE [--key=value ...]"
    )
    add_config(parser)
    parser.add_argument("--seed", type=int, required=True, help="seed of the models' training")
    parser.add_argument("-o", "--output", required=True, help="a .safetensors file")
    return parser


def main(given: Sequence[str] | None = None) -> None:
    """Command line of `python -m benchmarks.export`."""
    with exit_on_input_error(again=GO_ON):
        arguments, overrides = parser().parse_known_args(given)
        warnings.filterwarnings("ignore", module="pytorch_lightning|torch")
        path = Path(arguments.output)
        if path.suffix != ".safetensors" or not path.parent.is_dir():
            raise InputError(f"output: {path}, expected a .safetensors file in an existing folder")
        tensors = export(parse(layers(arguments), [*overrides, f"--seed={arguments.seed}"]))
        from safetensors.torch import save_file

        replace(path, lambda to: save_file(tensors, to))
        print(f"{path}: {', '.join(f'{name} {tuple(tensor.shape)}' for name, tensor in tensors.items())}")


if __name__ == "__main__":
    main()
