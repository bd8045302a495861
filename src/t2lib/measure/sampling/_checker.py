"""Run one check of a user's checker, as a program of its own with limits.

It reads a request as JSON from its input and writes ``{"correct": …}`` or ``{"trouble": …}``. It
imports nothing of t2lib, since it runs isolated. The limits are of CPU time, memory and file size;
they are no sandbox.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from typing import Any


def limit(cpu_s: int, memory_bytes: int) -> None:
    """Limit this process where the system can."""
    try:
        import resource
    except ImportError:  # Windows: the parent's clock alone limits
        return
    limits = {
        "RLIMIT_CPU": cpu_s,
        "RLIMIT_AS": memory_bytes,
        "RLIMIT_FSIZE": 1 << 24,
        "RLIMIT_CORE": 0,
    }
    for name, value in limits.items():
        if hasattr(resource, name):
            resource.setrlimit(getattr(resource, name), (value, value))


def verdict(request: dict[str, Any]) -> dict[str, Any]:
    """Load the checker and let it judge one output."""
    spec = importlib.util.spec_from_file_location("checker", request["file"])
    if spec is None or spec.loader is None:
        return {"trouble": "error", "why": "it is no Python file"}
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        check = getattr(module, "check", None)
        if not callable(check):
            return {"trouble": "error", "why": "it defines no function check(output, item)"}
        return {"correct": bool(check(request["output"], request["item"]))}
    except MemoryError:
        return {"trouble": "memory", "why": "out of memory"}
    except BaseException as error:  # whatever the code under test raises, SystemExit too
        return {"trouble": "error", "why": f"{type(error).__name__}: {error}"[:300]}


def main() -> None:
    """Answer the request, with the checker's own output going nowhere."""
    request = json.load(sys.stdin)
    answer = os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    limit(request["cpu_s"], request["memory_bytes"])
    json.dump(verdict(request), answer)
    answer.flush()
    os._exit(0)  # threads that the checker left behind do not keep the process


if __name__ == "__main__":
    main()
