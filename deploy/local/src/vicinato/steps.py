"""What is done once and needs large libraries, each in a short process of its own.

So the supervisor stays small, and a step that fails cannot take it along. A step reads its order as
JSON from its standard input and answers JSON on its standard output: `{"done": …}` or
`{"failed": "one sentence", "kind": "name of the error"}`; anything else it says goes to the log.
Steps of FORKED get and give the same through a pipe.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import json
import multiprocessing
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from vicinato.processes import die_with_parent, environment


class StepError(Exception):
    """One sentence: which step, why. `kind` is the name of the error, where there was one."""

    def __init__(self, why: str, kind: str = "") -> None:
        super().__init__(why)
        self.kind = kind


async def run(step: str, order: dict[str, Any], log: Path, within: float = 60.0) -> Any:
    """Runs a step in its own process and returns what it answered. Raises StepError."""
    try:
        out, code = await (_forked if step in FORKED else _said)(step, order, log, within)
    except OSError as error:
        raise StepError(f"{step} could not be run ({error.strerror})") from error
    try:
        answer = json.loads(out.decode().splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise StepError(f"{step} ended with code {code}; see {log}") from error
    if "failed" in answer:
        raise StepError(answer["failed"], answer["kind"])
    return answer["done"]


async def _said(
    step: str, order: dict[str, Any], log: Path, within: float
) -> tuple[bytes, int | None]:
    """What it wrote, and the code with which it ended."""
    with log.open("ab") as errors:
        starting = asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "vicinato.steps", step),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env=environment({}),
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
        # Shielded: CPython 3.11 waits for ever when it is cancelled between fork and connection.
        process = await asyncio.shield(asyncio.ensure_future(starting))
        try:
            async with asyncio.timeout(within):
                out, _ = await process.communicate(json.dumps(order).encode())
        except TimeoutError as error:
            raise StepError(f"{step} took longer than {within:.0f} s") from error
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
    return out, process.returncode


async def _forked(
    step: str, order: dict[str, Any], log: Path, within: float
) -> tuple[bytes, int | None]:
    """`_said` by a child of the process that the services are forked from."""
    from vicinato.programs.nursery import fork_work

    log.open("ab").close()  # an OSError is told here, not by the child
    receiver, sender = multiprocessing.Pipe(duplex=False)
    try:
        process = await fork_work(step, _answer_to, step, order, sender, log=log)
    except BaseException:
        receiver.close()
        raise
    finally:
        sender.close()
    try:
        async with asyncio.timeout(within):
            out = await asyncio.to_thread(_received, receiver)
    except TimeoutError as error:
        raise StepError(f"{step} took longer than {within:.0f} s") from error
    finally:
        process.kill()  # it has answered, or never will
        await asyncio.to_thread(process.wait)
    return out, process.returncode


def _received(receiver: Connection) -> bytes:
    """Nothing when it ended without an answer."""
    with receiver:
        try:
            return receiver.recv_bytes()
        except EOFError:
            return b""


def _answer_to(step: str, order: dict[str, Any], sender: Connection) -> None:
    sender.send_bytes(_answer(step, order).encode())


def provision(order: dict[str, Any]) -> dict[str, Any]:
    """Topics, users and rights; `secrets` holds the password of each service. A cluster that is not
    of this machine is claimed first, for `installation`."""
    from vicinato.kafka.provision import admin_client
    from vicinato.kafka.provision import provision as apply
    from vicinato.kafka.topics import Topics
    from vicinato.kafka.whose import claim

    admin = admin_client(order["bootstrap"], order["user"], order["secret"])
    topics, secrets = Topics.read(), order["secrets"]
    if not order["own"]:
        claim(admin, topics, secrets, order["installation"])
    done = apply(admin, topics, secrets, own=order["own"])
    return {
        "topics_made": done.topics_made,
        "topics_changed": done.topics_changed,
        "rights_given": done.rights_given,
        "rights_taken": done.rights_taken,
    }


def delete_damaged(order: dict[str, Any]) -> list[str]:
    """Topics of our own Kafka that a disk has damaged are deleted; which partitions were."""
    from messaging.bus import Bus
    from vicinato.kafka.damaged import delete_damaged as delete
    from vicinato.kafka.provision import admin_client
    from vicinato.kafka.topics import Topics

    who = order["bootstrap"], order["user"], order["secret"]
    return [f"{t}-{n}" for t, n in delete(Bus(*who), admin_client(*who), Topics.read().names)]


def stores(order: dict[str, Any]) -> dict[str, Any]:
    """A database and a role for each service where PostgreSQL is used; then every store's schema
    brought to what the code needs. `fresh`: no service had a store before."""
    from vicinato.databases import create, migrate

    urls: dict[str, str] = order["urls"]
    if order["server"]:
        create(order["server"], urls)
    return {"fresh": migrate(urls)}


def demonstration(order: dict[str, Any]) -> list[dict[str, str]]:
    """Loads the demonstration centre through the public HTTP API; returns its sign-ins."""
    module = importlib.import_module("vicinato.demo")
    sign_ins: list[dict[str, str]] = module.load(**order)
    return sign_ins


def holding(order: dict[str, Any]) -> list[bool]:
    """Of each of `sign_ins`, whether identity's `store` still has its password."""
    from vicinato.sign_ins import holding as look

    return look(order["store"], order["sign_ins"])


def finish_restore(order: dict[str, Any]) -> dict[str, Any]:
    """Ends the restore that is under way, once the services have recovered; what is to be told."""
    from vicinato import settings
    from vicinato.backup.finish import finish
    from vicinato.backup.put_back import target_of
    from vicinato.commands.verify import administrators_bus
    from vicinato.folder import Folder

    wanted = settings.load()
    folder = Folder(wanted.data)
    done = finish(target_of(wanted, folder), administrators_bus(wanted, folder))
    return {"lines": done.lines if done else [], "holds": done is None or done.holds}


def forget_aside(order: dict[str, Any]) -> None:
    """Old stores that a restore put aside, under these `stamps`, go for good."""
    from vicinato import settings
    from vicinato.backup import aside
    from vicinato.backup.put_back import target_of
    from vicinato.folder import Folder

    wanted = settings.load()
    folder = Folder(wanted.data)
    aside.forget(folder, target_of(wanted, folder).server, order["stamps"])


def copy_outboxes(order: dict[str, Any]) -> dict[str, Any]:
    """Appends what is new in the outboxes at `urls` to their copies in `to`, where `mend` says so
    once all that is there was looked through; how many rows, and what failed."""
    from vicinato.backup.copies import CopyError, copy, folder_of

    count, failed = 0, []
    try:
        folder = folder_of(Path(order["to"]), Path(order["data"]), order["installation"])
        folder.mkdir(mode=0o700, exist_ok=True)
        for service, url in order["urls"].items():
            try:
                count += copy(service, url, folder, mend=order["mend"])
            except CopyError as error:
                failed.append(str(error))
    except (CopyError, OSError) as error:
        failed.append(str(error))
    return {"rows": count, "failed": "; ".join(failed)}


STEPS = {
    "copy_outboxes": copy_outboxes,
    "provision": provision,
    "delete_damaged": delete_damaged,
    "stores": stores,
    "demonstration": demonstration,
    "holding": holding,
    "finish_restore": finish_restore,
    "forget_aside": forget_aside,
}


FORKED = frozenset({"stores"})
"""Those that need all services: the process from which these are forked has imported them."""


def main() -> int:
    order = json.loads(sys.stdin.read())
    answers, sys.stdout = sys.stdout, sys.stderr  # nobody's print may spoil the answer
    answers.write(_answer(sys.argv[1], order) + "\n")
    answers.flush()
    return 0


def _answer(step: str, order: dict[str, Any]) -> str:
    """The JSON of what was done, or of why it was not."""
    try:
        return json.dumps({"done": STEPS[step](order)})
    except Exception as error:
        import traceback

        traceback.print_exc()
        kind = type(error).__name__
        return json.dumps({"failed": f"{error or kind}".splitlines()[0], "kind": kind})


if __name__ == "__main__":
    sys.exit(main())
