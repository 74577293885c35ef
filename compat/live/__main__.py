"""Backfill a store while it serves.

    compat-bench live init sqlite:///gallery.db --items items.parquet --fields lang,year
    compat-bench live plan sqlite:///gallery.db --models my_models.models
    compat-bench live run sqlite:///gallery.db --models my_models.models
    compat-bench live query sqlite:///gallery.db --models my_models.models photo.jpg -k 5 --where lang=en
    compat-bench live verify sqlite:///gallery.db --models my_models.models
    compat-bench live finalize sqlite:///gallery.db --models my_models.models --yes
    compat-bench live demo

With another engine for the extraction, instead of `run`:

    compat-bench live plan sqlite:///gallery.db --models my_models.models --export manifest.parquet
    python -m compat.live.ray_pipeline manifest.parquet vectors --models my_models.models --concurrency 8
    compat-bench live apply sqlite:///gallery.db vectors --models my_models.models

--models names a function without arguments which returns a `compat.live.Models`, also in a module of this folder.
Exit codes: 0 success, 1 a finding of verify, check or doctor, or a paused run, 2 wrong input, 130 interrupted, 141
output closed, 143 a run stopped by a signal after its batch. A repeated `run` continues; several may run at once.
"""

from __future__ import annotations

import argparse
import pkgutil
import signal
import sys
from collections.abc import Sequence
from contextlib import closing

from compat.command import exit_on_input_error, nobody_reads
from compat.errors import InputError
from compat.live.open import open_store
from compat.live.verbs.parser import verbs_parser


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m compat.live`."""
    return verbs_parser(__doc__)


def main(given: Sequence[str] | None = None) -> None:
    """Run `python -m compat.live`."""
    given = sys.argv[1:] if given is None else given
    with exit_on_input_error(signals=[signal.SIGTERM]):  # an interrupt ends silently
        arguments = parser().parse_args(given)
        try:
            verb = pkgutil.resolve_name(arguments.place)
            if arguments.verb == "demo":
                code = verb(arguments)
            else:
                with closing(open_store(arguments.store)) as store:
                    code = verb(arguments, store)
            print(end="", flush=True)
        except OSError as error:
            if isinstance(error, BrokenPipeError) and nobody_reads():
                raise
            raise InputError(f"{arguments.verb}: {error}, expected a usable store and files") from error
        except KeyboardInterrupt:
            code = 128 + signal.SIGINT
        sys.exit(code)


if __name__ == "__main__":
    main()
