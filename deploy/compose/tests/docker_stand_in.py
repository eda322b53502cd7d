"""Stands in for `docker` where none is: what our scripts have PostgreSQL's container and the jobs
do is done on a server and with the programs of this machine, and every call is written down.

It is told by a file, which the variable STAND_IN names: `log` is where calls go, `bin` PostgreSQL's
programs, `port` its server, `secrets` the folder that containers see as /run/secrets, `jobs` the
environment of a job, `run` the jobs that are run and not only written down, `processes` those of
services, and `up` two files: one is made when everything is to be started, the other then awaited.
Calls of `failing` fail; with one that begins as `last` the script that made it is ended.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

STARTED_WITHIN = 300.0


def main(words: list[str], told: dict[str, Any]) -> int:
    with Path(told["log"]).open("a", encoding="utf-8") as log:
        log.write(json.dumps(words) + "\n")
    assert words[0] == "compose", words
    if words[1:] in told["failing"]:
        return 1
    if told["last"] and words[1:][: len(told["last"])] == told["last"]:
        os.kill(os.getppid(), signal.SIGTERM)
    verb, rest = words[1], words[2:]
    if verb == "exec":
        _in_postgresql(rest, told)
    if verb == "run":
        return _job(rest, told)
    if verb == "ps":
        print("\n".join(told["processes"]))
    if verb in ("pause", "unpause"):
        for service in rest:
            pid = told["processes"][service]
            if pid:
                os.kill(pid, signal.SIGSTOP if verb == "pause" else signal.SIGCONT)
    if verb == "up" and "postgresql" not in rest and told.get("up"):
        return _started(*map(Path, told["up"]))
    return 0


def _in_postgresql(rest: list[str], told: dict[str, Any]) -> NoReturn:
    assert rest[:4] == ["-T", "postgresql", "sh", "-c"], rest
    script = rest[4].replace("/run/secrets/", f"{told['secrets']}/")
    environ = {"PATH": f"{told['bin']}:{os.environ['PATH']}", "PGPORT": str(told["port"])}
    os.execvpe("sh", ["sh", "-c", script, *rest[5:]], environ)


def _job(rest: list[str], told: dict[str, Any]) -> int:
    assert rest[0] == "--rm", rest
    job, command = rest[1], rest[2:] or ["vicinato", rest[1]]
    if job not in told["run"]:
        return 0
    assert command[0] == "vicinato", command
    words = [sys.executable, "-m", "vicinato.cli", *command[1:]]
    return subprocess.run(words, env=os.environ | told["jobs"], check=False).returncode


def _started(wanted: Path, done: Path) -> int:
    wanted.touch()
    deadline = time.monotonic() + STARTED_WITHIN
    while not done.exists():
        if time.monotonic() > deadline:
            return 1
        time.sleep(0.05)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], json.loads(Path(os.environ["STAND_IN"]).read_text("utf-8"))))
