"""Storms of kills: no wrong result, no hang, nothing lost and nothing done twice."""

import contextlib
import errno
import os
import signal
import subprocess
import sys

from clients import Directories
from daemon import children, status_of
from procs import until
from registry import test
from storm import Actor, Storm

URING = "/sys/module/fuse/parameters/enable_uring"


@contextlib.contextmanager
def uring_enabled():
    with open(URING) as f:
        before = f.read()
    try:
        with open(URING, "w") as f:
            f.write("Y")
        yield
    finally:
        with open(URING, "w") as f:
            f.write(before)


def storm(t, kills, actor=False, **options):
    daemon = t.serve(**options)
    work = Storm(t, daemon, passthrough=t.config["passthrough"] == "on")
    other = None
    if actor:
        place = os.path.join(t.src, "host")
        os.mkdir(place)
        other = Actor([place, t.src, *(os.path.join(t.src, f"c{i}") for i in range(4))], t.run.seed)
    try:
        while work.kills < kills:
            work.kill_once()
    finally:
        if other:
            other.stop()
    work.stop()


@test(smoke=True, limit=1800)
def storm_of_kills(t):
    """Whatever a program does while the server is killed again and again gives what it gives without."""
    storm(t, t.run.kills)


@test(full=True, limit=1800)
def storm_beside_a_host_process(t):
    """The same while a host process changes other names of the same directories."""
    storm(t, t.run.kills, actor=True)


@test(full=True, limit=1800)
def storm_without_caches(t):
    """The same with cache=none, where every component of a path is a request."""
    storm(t, t.run.kills, cache="none")


@test(full=True, limit=1800)
def storm_over_io_uring(t):
    """Over io_uring nothing hangs, nothing is lost and no call is ended either, as far as kills by the hundred can tell."""
    with uring_enabled():
        storm(t, min(t.run.kills, 100), transport="uring")


@test(limit=900)
def restarts_over_io_uring(t):
    """A restart on request loses no request over io_uring either: what was on its way comes to the successor."""
    with uring_enabled():
        daemon = t.serve(transport="uring")
        work = Storm(t, daemon, passthrough=t.config["passthrough"] == "on")
        for _ in range(t.run.kills):
            work.restart_once()
        work.stop()
        t.eq(daemon.said("io_uring: a queue that hangs"), 0, "queues that did not hand over")


@test(limit=300)
def restarts_over_io_uring_without_files(t):
    """The same where the kernel knows no regular file, through which the server could have it send something."""
    with uring_enabled():
        daemon = t.serve(transport="uring", passthrough="off")
        work = Storm(t, daemon, makers=[("d", Directories), ("e", Directories)])
        for _ in range(t.run.kills):
            work.restart_once()
        work.stop()
        t.eq(daemon.said("io_uring: a queue that hangs"), 0, "queues that did not hand over")


@test(limit=120)
def killed_altogether_over_io_uring(t):
    """Whoever asks the mount for the servers' sake does not keep it: killed with keeper and server, it ends, and nobody hangs."""
    t.need_failpoints()
    with uring_enabled():
        # No file is known, so the first server has processes ask; the second one never answers them.
        daemon = t.serve(transport="uring", env={"HANDLEFS_FAILPOINT": "start 1 2 stop"})
        first = daemon.server()
        asking = subprocess.Popen([t.run.ctl, t.mnt, "restart"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stopped = lambda: [pid for pid in children(daemon.keeper) if pid != first and status_of(pid).get("State", "").startswith("T")]
        second = until(stopped, "a second server that is stopped")[0]
        until(lambda: daemon.waiting() > 0, "somebody asks")
        for pid in (daemon.keeper, second):
            os.kill(pid, signal.SIGKILL)
        daemon.process.wait()
        asking.wait()
        t.daemons.remove(daemon)
        look = [sys.executable, "-c", "import os, sys\ntry: os.stat(sys.argv[1])\nexcept OSError as e: print(e.errno)", t.mnt]
        until(lambda: subprocess.run(look, stdout=subprocess.PIPE, text=True, timeout=20).stdout == f"{errno.ENOTCONN}\n", "ENOTCONN")
        os.system(f"umount -l {t.mnt}")


def failpoints(t, place, every, kills, **options):
    t.need_failpoints()
    daemon = t.serve(env={"HANDLEFS_FAILPOINT": f"{place} {every}"}, **options)
    work = Storm(t, daemon, passthrough=t.config["passthrough"] == "on")
    until(lambda: daemon.alive() and daemon.crashes() >= kills, "the failpoints", 600)
    work.kills = daemon.crashes()
    work.stop()
    t.end(daemon)  # the next one's mount would not be told from this one's


@test(limit=900)
def killed_before_the_call(t):
    """A server that dies with its intent noted, directly before the system call: it is executed once, by its successor."""
    failpoints(t, "intent", 7, t.run.failpoint_kills)


@test(limit=900)
def killed_after_the_call(t):
    """A server that dies between a system call and its note: the call is not executed again, and its result is right."""
    failpoints(t, "executed", 7, t.run.failpoint_kills)


@test(limit=900)
def killed_before_the_answer(t):
    """A server that dies with the answer noted and not sent: the noted answer is what the program gets."""
    failpoints(t, "noted", 7, t.run.failpoint_kills)


@test(full=True, limit=900)
def killed_at_every_thirteenth(t):
    """The same at each of the three places, more rarely."""
    for place in ("intent", "executed", "noted"):
        for name in os.listdir(t.src):
            os.system(f"rm -rf {t.src}/{name}")
        failpoints(t, place, 13, t.run.failpoint_kills)


@test(full=True, limit=1800)
def killed_anywhere_over_io_uring(t):
    """At each of the three places, over io_uring."""
    with uring_enabled():
        for place in ("intent", "executed", "noted"):
            for name in os.listdir(t.src):
                os.system(f"rm -rf {t.src}/{name}")
            failpoints(t, place, 7, t.run.failpoint_kills, transport="uring")
