"""What the kernel does to requests in the hands of a server that is killed."""

import os
import random
import signal
import time

from procs import attempt
from registry import test


@test(needs={"passthrough": ("off",)}, limit=300)
def killed_while_a_request_is_read(t):
    """A server that is killed while it takes a large request from the kernel costs nobody an error."""
    daemon = t.serve()
    path = os.path.join(t.mnt, "f")
    data = random.Random(t.run.seed).randbytes(1 << 20)
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        wrong, calls = [], 0
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        while os.path.exists(path) and len(wrong) < 5 and not os.path.exists(os.path.join(t.work, "over")):
            # Each is a page longer than the one before: the server has not had it in its memory yet.
            calls += 1
            size = calls % 256 * 4096 + 1
            got = attempt(os.pwrite, fd, data[:size], 0)
            if got != size:
                wrong.append(str(got))
        os.write(w, f"{calls} writes: {wrong}".encode() if wrong else b"ok")
        os._exit(0)
    os.close(w)
    rng = random.Random(t.run.seed)
    for _ in range(t.run.kills):
        time.sleep(rng.uniform(0, 0.02))
        attempt(os.kill, daemon.server(), signal.SIGKILL)
        os.statvfs(t.mnt)
    with open(os.path.join(t.work, "over"), "w"):
        pass
    t.eq(os.read(r, 4096).decode(), "ok", "what the writer saw")
    os.waitpid(pid, 0)
