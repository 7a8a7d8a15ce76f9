"""A job that counts: each unit of its work is one line of a ledger, which is its record and its checkpoint in one.

`job.py PLAN`, with PLAN a JSON object: `ledger` and `lock` (files), `units`, `unit_s`, `fails` (the units that it fails
at, one after the other), `child` (whether it leaves one in the background). It needs the standard library only.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FAILED, DOUBLED, LEFT = 3, 9, 75


def main(plan: dict[str, Any]) -> int:
    """Do what is left of the work; return the exit code."""
    asked_to_leave: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, _: asked_to_leave.append(number))
    ledger = os.open(plan["ledger"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(what: str) -> None:
        line = f"{os.environ['PARALLEL_ML_ATTEMPT']} {time.monotonic_ns()} {what}\n"
        os.write(ledger, line.encode())

    lock = os.open(plan["lock"], os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        write("doubled")
        return DOUBLED
    os.set_inheritable(lock, plan["child"])
    write("start")
    if plan["child"]:
        subprocess.Popen(["sleep", "300"], close_fds=False, start_new_session=True)
    done = [line.split()[2] for line in Path(plan["ledger"]).read_text(encoding="ascii").splitlines()]
    units, failed = done.count("unit"), done.count("fail")
    while units < plan["units"]:
        if asked_to_leave:
            write("left")
            return LEFT
        time.sleep(plan["unit_s"])
        if failed < len(plan["fails"]) and plan["fails"][failed] == units + 1:
            write("fail")
            sys.stderr.write("this unit failed\n")
            return FAILED
        write("unit")
        units += 1
        tell(units, plan["units"])
    write("done")
    return 0


def tell(unit: int, units: int) -> None:
    """Print the unit, and report it as an epoch."""
    os.write(1, f"unit {unit}\n".encode())
    message = {"type": "epoch", "data": {"epoch": unit, "epochs": units, "train_loss": 1 / unit}}
    try:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect("\0" + os.environ["PARALLEL_ML_SOCKET"])
            peer.sendall(json.dumps(message).encode() + b"\n")
            peer.recv(65536)
    except OSError:  # the shim is gone, and this process with it in a moment
        return


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
