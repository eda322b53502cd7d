"""`make chaos`: faults from a seed on a house at work, and what came of them.

Ends with 0 when all holds, 1 when something does not, 2 when it was not asked rightly or cannot be
played on this machine.
"""

from __future__ import annotations

import asyncio
import os
import sys

from chaos.options import OptionError, read, require_engine


def main() -> int:
    try:
        options = read(os.environ)
        require_engine(options)
    except OptionError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    from chaos.run import NotOpenError, new_folder, run  # seconds, for who asked rightly

    try:
        outcome = asyncio.run(run(options, new_folder()))
    except NotOpenError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if outcome.wrong:
        sys.stdout.write(
            f"{len(outcome.wrong)} things do not hold (seed {options.seed}). Timeline, record, logs"
            f" and stores: {outcome.folder}\n"
        )
        return 1
    sys.stdout.write(
        f"{outcome.faults} faults, {outcome.told} acknowledged facts: 0 lost, 0 twice"
        f" (seed {options.seed}). Record and logs: {outcome.folder}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
