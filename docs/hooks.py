"""What mkdocs runs: pages get the sections and tables that they name, and the images of results."""

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from benchmarks.page.documents import expanded

ROOT = Path(__file__).parents[1]
IMAGES = {
    "images/curve.png": "results/tiny_imagenet/curve.png",
    "images/live_demo.png": "results/live_demo.png",
    "images/ranks.png": "results/ranks.png",
    "images/report.png": "results/report.png",
}


def on_files(files: Files, config: Any) -> Files:
    """Beside the documents, images that lie with the results."""
    for name, path in IMAGES.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """See `benchmarks.page.documents`."""
    return expanded(markdown, ROOT)
