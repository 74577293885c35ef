"""The command fetching a dataset."""

from __future__ import annotations

from benchmarks.config.spec import Spec

COMMANDS = {
    "CIFAR100": "cifar100", "FashionMNIST": "fashion_mnist", "ImageNet": "imagenet", "Market1501": "market1501",
    "Omniglot": "omniglot", "Places365": "places365",
}  # fmt: skip


def with_command(message: str, spec: Spec) -> str:
    """Extend a message about a dataset's folder by the command fetching it, if there is one."""
    name = COMMANDS.get(spec.class_path.rpartition(".")[2])
    if name is None or not message.startswith("data.root"):
        return message
    return f"{message}; compat-bench data {name} --root {spec.init_args.get('root', 'data')} gets it"
