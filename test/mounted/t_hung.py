"""When a file system of the host hangs: who does not ask it is served."""

import os
import signal
import subprocess
import sys

import syscalls
from procs import attempt, until
from registry import test
from trees import read, write

SERVER = os.path.join(os.path.dirname(os.path.realpath(__file__)), "hung.py")
OWN = "a bind mount has no server that could be held up"


class Hung:
    """A FUSE mount whose names hang*, when asked for, are never answered."""

    def __init__(self, place):
        self.place = place
        os.makedirs(place, exist_ok=True)
        self.server = subprocess.Popen([sys.executable, SERVER, place], stdin=subprocess.DEVNULL)
        until(lambda: attempt(os.stat, os.path.join(place, "file")) and os.path.exists(os.path.join(place, "file")),
              "the other file system answers")

    def end(self):
        self.server.kill()
        self.server.wait()
        attempt(syscalls.umount2, self.place, syscalls.MNT_DETACH)


def ask(path):
    """A process that asks for what is never answered."""
    return subprocess.Popen(["stat", path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def waits(process):
    with open(f"/proc/{process.pid}/wchan") as f:
        return "request_wait_answer" in f.read() and process.poll() is None


@test(unless_bind=OWN, unless_standin="the stand-in passes one request at a time")
def a_hung_submount_holds_nobody_up(t):
    """While a crossed mount of the host hangs, with more requests than threads, the rest of the tree works."""
    source = t.place("source")
    hung = Hung(os.path.join(source, "sub"))
    served = t.serve(source, submounts="cross", threads=4)
    on_mount = os.path.join(served.path, "sub")
    t.eq(read(os.path.join(on_mount, "file")), b"alive\n", "the other file system")
    stuck = [ask(os.path.join(on_mount, f"hang{i}")) for i in range(12)]
    until(lambda: all(waits(p) for p in stuck), "they wait")
    for i in range(50):
        p = write(os.path.join(served.path, f"f{i}"), b"x" * 5000)
        t.eq(read(p), b"x" * 5000, "content")
        os.unlink(p)
    t.eq(sorted(os.listdir(served.path)), ["sub"], "names")
    for p in stuck:
        p.send_signal(signal.SIGKILL)
    until(lambda: sum(p.poll() is not None for p in stuck) >= 6, "who is killed waits no more, if no thread is at it yet")
    hung.end()
    for p in stuck:
        p.wait(30)


@test(scope="run", unless_bind=OWN, unless_standin="the stand-in passes one request at a time")
def a_hung_source_answers_what_it_can(t):
    """A source that never answers for some names: the others are served, and a signal ends the wait."""
    place = t.place("source")
    hung = Hung(place)
    served = t.serve(place, identity="fd", passthrough="off")
    t.eq(read(os.path.join(served.path, "file")), b"alive\n", "before")
    stuck = [ask(os.path.join(served.path, f"hang{i}")) for i in range(5)]
    until(lambda: all(waits(p) for p in stuck), "they wait")
    for _ in range(20):
        t.eq(read(os.path.join(served.path, "file")), b"alive\n", "meanwhile")
    hung.end()
    for p in stuck:
        t.check(p.wait(30) != 0, "it was answered")
