"""Measure the model's remaining speed while images are decoded and transformed beside it."""

from __future__ import annotations

import json
import logging
import statistics
import time
import warnings
from collections import deque
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from benchmarks.artifacts.record import git_commit, hardware, versions
from benchmarks.artifacts.training import build_trainer
from benchmarks.config.parse import parse
from benchmarks.config.schema import Experiment
from compat.command import command_parser, exit_on_input_error
from compat.data import RetrievalData
from compat.files import replace
from compat.methods import SingleModel

BATCHES = 50  # in memory


def measure(experiment: Experiment, workers: int, rounds: int) -> dict[str, Any]:
    """Compare the extraction of all images with the bare forward pass on some of them.

    Each round times both after each other: the new model on batches in memory, and `Trainer.predict` as the benchmark
    runs it, from the files to the embeddings. The median ratio of the rounds counts.

    Args:
        experiment: its newest model embeds its images.
        workers: loading processes.
        rounds: number of rounds.

    Returns:
        Images a second of both and, once, of the loading alone; the ratio.
    """
    data: RetrievalData = experiment.data.having(num_workers=workers).build(RetrievalData)
    generation = list(experiment.generations.values())[-1]
    model: SingleModel = generation.model.build(SingleModel)
    model.materialize(data.gallery_images()[0].image)
    model.eval()
    memory = [batch.image for batch in islice(data.predict_dataloader()[1], BATCHES)]  # of the gallery
    in_memory = sum(len(batch) for batch in memory)
    images = sum(len(split) for split in data.splits().values())
    accelerator = {k: v for k, v in generation.trainer.init_args.items() if k == "accelerator"}
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_model_summary", "enable_progress_bar"), False)
    trainer = build_trainer(generation.trainer.replace(init_args=accelerator), **quiet)
    target = trainer.strategy.root_device
    embedder = model.embedder.to(target)

    def forward() -> float:
        with torch.inference_mode():
            return in_memory / _seconds(lambda: [embedder(batch.to(target)).cpu() for batch in memory])

    def load() -> float:
        return images / _seconds(lambda: [deque(loader, maxlen=0) for loader in data.predict_dataloader()])

    def extract() -> float:
        return images / _seconds(lambda: trainer.predict(model, datamodule=data))

    forward()
    pairs = [(forward(), extract()) for _ in tqdm(range(rounds), f"{experiment.name}, {workers} workers", leave=False)]
    return {
        "config": experiment.name,
        "workers": workers,
        "images": images,
        "ratio": statistics.median(extracted / bare for bare, extracted in pairs),
        "forward_images_per_second": statistics.median(bare for bare, _ in pairs),
        "extraction_images_per_second": statistics.median(extracted for _, extracted in pairs),
        "loading_images_per_second": load(),
    }


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Command line of `python -m benchmarks.perf.input_speed`."""
    parser = command_parser("benchmarks.perf.input_speed", __doc__)
    parser.add_argument("configs", nargs="+", help="YAML files of benchmarks; --key=value overrides a value of all")
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 2], help="numbers of loading processes to try")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file")
    warnings.filterwarnings("ignore", module="pytorch_lightning|torch")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    with exit_on_input_error():
        arguments, overrides = parser.parse_known_args()
        experiments = [parse([path], overrides) for path in arguments.configs]
        rows = [measure(e, workers, arguments.rounds) for e in experiments for workers in arguments.workers]
    content = {"rows": rows, "versions": versions(), "git_commit": git_commit(), "hardware": hardware()}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    replace(arguments.output, lambda file: file.write_text(json.dumps(content, indent=1) + "\n"))
    print("| config | workers | extraction (images/s) | bare forward (images/s) | loading alone (images/s) | share |")
    print("| --- | --: | --: | --: | --: | --: |")
    for row in rows:
        speeds = [row[f"{name}_images_per_second"] for name in ("extraction", "forward", "loading")]
        print(
            f"| {row['config']} | {row['workers']} | {' | '.join(f'{s:,.0f}' for s in speeds)} | {row['ratio']:.0%} |"
        )


if __name__ == "__main__":
    main()
