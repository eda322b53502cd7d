"""A process whose libraries met the end of its memory ends; one that met anything else goes on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from runtime import memory

BEGINNING = """
import asyncio, logging, sys, threading
from runtime import logging as ours, memory
ours.configure("cards")
memory.end_without()

def broken():
    raise {error}

class Lost:
    def __del__(self):
        broken()
"""
IN_A_LOOP = """
async def main():
    asyncio.get_running_loop().call_soon(broken)
    await asyncio.sleep(0.01)
asyncio.run(main())
"""
BY_A_LIBRARY = """
try:
    try:
        broken()
    except BaseException as error:
        raise ConnectionError("closed") from error
except ConnectionError:
    logging.getLogger("aiokafka.conn").exception("a client lost its task")
"""
IN_A_THREAD = """
thread = threading.Thread(target=broken)
thread.start()
thread.join()
"""
WHERE_NOTHING_CAN_BE_RAISED = "Lost()\n"
HOW = (IN_A_LOOP, BY_A_LIBRARY, IN_A_THREAD, WHERE_NOTHING_CAN_BE_RAISED)


def ended(how: str, error: str) -> subprocess.CompletedProcess[str]:
    code = f"{BEGINNING.replace('{error}', error)}{how}print('goes on')"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("how", HOW)
def test_without_memory_it_ends_and_says_so(how: str) -> None:
    done = ended(how, "MemoryError")
    assert (done.returncode, done.stdout) == (memory.CODE, "")
    assert done.stderr.startswith("no memory left")


@pytest.mark.parametrize("how", HOW)
def test_after_another_error_it_goes_on(how: str) -> None:
    done = ended(how, "ValueError")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "goes on"
