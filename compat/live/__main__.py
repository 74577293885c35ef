"""Backfill a store while it serves.

    python -m compat.live init sqlite:///gallery.db --items items.parquet --fields lang,year
    python -m compat.live plan sqlite:///gallery.db --models my_models.models
    python -m compat.live run sqlite:///gallery.db --models my_models.models
    python -m compat.live query sqlite:///gallery.db --models my_models.models photo.jpg -k 5 --where lang=en
    python -m compat.live verify sqlite:///gallery.db --models my_models.models
    python -m compat.live finalize sqlite:///gallery.db --models my_models.models --yes
    python -m compat.live demo

With another engine for the extraction, instead of `run`:

    python -m compat.live plan sqlite:///gallery.db --models my_models.models --export manifest.parquet
    python -m compat.live.ray_pipeline manifest.parquet vectors --models my_models.models --concurrency 8
    python -m compat.live apply sqlite:///gallery.db vectors --models my_models.models

--models names a function without arguments which returns a `compat.live.Models`, also in a module of this folder.
Exit codes: 0 success, 1 a finding of verify, check or doctor, or a paused run, 2 wrong input, 130 interrupted, 141
output closed, 143 a run stopped by a signal after its batch. A repeated `run` continues; several may run at once.
"""

from __future__ import annotations

import pkgutil
import signal
import sys
from collections.abc import Sequence
from contextlib import closing

from compat.command import exit_on_input_error, nobody_reads
from compat.errors import InputError
from compat.live.open import open_store
from compat.live.verbs.parser import parser


def main(given: Sequence[str] | None = None) -> None:
    """Run `python -m compat.live`."""
    assert __doc__
    given = sys.argv[1:] if given is None else given
    with exit_on_input_error(signals=[signal.SIGTERM]):  # an interrupt ends silently
        arguments = parser(__doc__).parse_args(given)
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
