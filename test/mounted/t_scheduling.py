"""Threads that serve give way to their clients: when, and what that leaves behind."""

import os
import subprocess

from procs import Actor, until
from registry import test
from t_transports import Uring
from trees import read, write

OURS = "it is about handlefs' threads"


def ask_until(path, stop):
    """Requests as fast as they are answered."""
    asked = 0
    fd = os.open(path, os.O_RDONLY)
    while not os.path.exists(stop):
        for _ in range(500):
            try:
                os.getxattr(fd, "user.none")
            except OSError:
                asked += 1
    os.close(fd)
    return asked


def threads_of(pid):
    """{thread: (class, CPUs)}, without those that the kernel adds to a ring"""
    found = {}
    for tid in map(int, os.listdir(f"/proc/{pid}/task")):
        try:
            if not read(f"/proc/{pid}/task/{tid}/comm").startswith(b"iou-"):
                found[tid] = (os.sched_getscheduler(tid), os.sched_getaffinity(tid))
        except (ProcessLookupError, FileNotFoundError):
            pass
    return found


def check_says(t, *prefix):
    """What --check finds about it."""
    done = subprocess.run([*prefix, t.run.mode[1], "--check", t.src], capture_output=True, check=False, timeout=60)
    lines = [line for line in done.stdout.decode().splitlines() if line.startswith("scheduling")]
    t.check(len(lines) == 1, f"--check: {done.stdout}")
    return lines[0]


def yielding(pid):
    return any(kind == os.SCHED_IDLE for kind, _ in threads_of(pid).values())


def seen_yielding(pid):
    """Looks often: with other load on the machine it may last for one look of the server's."""
    return any(yielding(pid) for _ in range(200))


@test(scope="fs", only=OURS)
def servers_give_way(t):
    """While requests come fast the threads that serve are of the class SCHED_IDLE, and soon afterwards normal ones; never with scheduling=normal."""
    said = check_says(t)
    if "give way" not in said:
        t.skip(f"--check says: {said}")
    source = t.place("source")
    write(os.path.join(source, "f"), "x")
    with Uring(t):
        for number, (transport, scheduling) in enumerate([(a, b) for a in ("dev", "uring") for b in ("auto", "normal")]):
            served = t.serve(source, transport=transport, scheduling=scheduling, restart="off")
            stop = os.path.join(t.work, f"stop{number}")
            client = Actor()
            client.start(ask_until, os.path.join(served.path, "f"), stop)
            if scheduling == "auto":
                until(lambda: seen_yielding(served.pid), f"transport={transport}: the threads yield")
            else:
                t.check(not any(seen_yielding(served.pid) for _ in range(20)), f"transport={transport}: not with scheduling=normal")
            write(stop, "")
            t.check(client.result() > 0, "requests")
            until(lambda: not yielding(served.pid), f"transport={transport}: normal again")
            t.end(served)


@test(scope="fs", only=OURS)
def other_threads_are_ordinary(t):
    """Threads that one that stays on a CPU starts may run anywhere."""
    source = t.place("source")
    write(os.path.join(source, "f"), "x")
    lanes = len(os.sched_getaffinity(0))
    if lanes < 2:
        t.skip("one CPU: all threads stay there")
    with Uring(t):
        served = t.serve(source, transport="uring", restart="off", offload="never")
        alone = len(threads_of(served.pid))
        t.end(served)
        served = t.serve(source, transport="uring", restart="off", offload="always")
        t.eq(read(os.path.join(served.path, "f")), b"x", "content")
        threads = threads_of(served.pid)
        t.check(len(threads) > alone, f"a thread of the pool was started: {threads}")
        pinned = [tid for tid, (_, cpus) in threads.items() if len(cpus) == 1]
        t.eq(len(pinned), lanes, f"threads that stay on a CPU, of {threads}")
        t.end(served)


@test(scope="fs", only=OURS)
def without_the_capability(t):
    """Without CAP_SYS_NICE a class cannot be left again: threads stay normal, and --check says why."""
    t.need("setpriv")
    prefix = ["setpriv", "--bounding-set=-sys_nice"]
    said = check_says(t, *prefix)
    t.check("needs CAP_SYS_NICE" in said, said)
    source = t.place("source")
    write(os.path.join(source, "f"), "x")
    served = t.serve(source, prefix=prefix, restart="off")
    stop = os.path.join(t.work, "stop")
    client = Actor()
    client.start(ask_until, os.path.join(served.path, "f"), stop)
    t.check(not any(seen_yielding(served.pid) for _ in range(20)), "the threads yield")
    write(stop, "")
    t.check(client.result() > 0, "requests")
    t.end(served)
