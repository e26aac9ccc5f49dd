"""When more than a server fails: successors, keepers, everything, and the source."""

import fcntl
import os
import signal
import subprocess
import sys

import harness
from daemon import runs
from procs import Actor, a_open, a_posix, a_test, attempt, until
from registry import test


@test(smoke=True, scope="fs")
def ten_failures_end_the_mount(t):
    """If ten successors in a row die at once, the mount ends in order: one clear line, unmounted, status 7, nothing left."""
    t.need_failpoints()
    daemon = t.serve(env={"HANDLEFS_FAILPOINT": "start 1 later"})
    fd = os.open(os.path.join(t.mnt, "f"), os.O_RDWR | os.O_CREAT)
    attempt(os.kill, daemon.server(), signal.SIGKILL)
    t.eq(daemon.ended(), 7, "exit status")
    t.daemons.remove(daemon)
    last = daemon.text().splitlines()[-1]
    t.check("as did the 9 before it, at once" in last and "open files of it are lost" in last, f"the last line: {last}")
    t.eq(daemon.said("ended by signal"), 11, "the first server and its ten successors")
    t.check(not harness.mounted_at(t.mnt), "still mounted")
    t.check(attempt(os.fsync, fd) in ("ENOTCONN", "ECONNABORTED"), "the open file is lost")
    attempt(os.close, fd)
    t.eq(os.listdir(t.mnt), [], "the mount point is the plain directory")


@test(scope="fs")
def a_few_failures_are_survived(t):
    """If some successors die at once, a later one goes on with everything."""
    t.need_failpoints()
    for generation in (2, 3):
        daemon = t.serve(env={"HANDLEFS_FAILPOINT": f"start 1 {generation}"})
        fd = os.open(os.path.join(t.mnt, "f"), os.O_RDWR | os.O_CREAT)
        os.unlink(os.path.join(t.mnt, "f"))
        for _ in range(3):
            daemon.kill_server()
        os.pwrite(fd, b"x", 0)
        t.eq(os.pread(fd, 9, 0), b"x", "the open file")
        os.close(fd)
        t.end(daemon)


@test(scope="fs")
def unmounted_while_nobody_serves(t):
    """A mount that is taken away between two servers ends as any that is unmounted: with status 0."""
    daemon = t.serve()
    server = daemon.server()
    os.kill(daemon.keeper, signal.SIGSTOP)
    os.kill(server, signal.SIGKILL)
    until(lambda: not runs(server), "the server is gone")
    harness.detach(t.mnt)
    os.kill(daemon.keeper, signal.SIGCONT)
    t.eq(daemon.ended(), 0, "exit status")
    t.daemons.remove(daemon)


def new_keeper(t, daemon):
    """Kills the keeper; its server starts another."""
    server, said = daemon.server(), daemon.said("another one was started")
    os.kill(daemon.keeper, signal.SIGKILL)
    until(lambda: daemon.said("another one was started") > said, "another keeper")

    def found():
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) in (server, daemon.keeper):
                continue
            try:
                with open(f"/proc/{name}/cmdline", "rb") as f:
                    words = f.read().split(b"\0")
            except OSError:
                continue
            if words[0] == b"handlefs" and words[-2] == os.fsencode(daemon.mount) and runs(int(name)):
                return int(name)
        return None

    daemon.process.wait()
    daemon.keeper = until(found, "the new keeper's process")
    return server


@test(smoke=True, scope="fs")
def killed_keeper_is_replaced(t):
    """A server whose keeper was killed starts another one, and when the server is killed then, everything goes on."""
    daemon = t.serve()
    path = os.path.join(t.mnt, "f")
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.write(fd, b"content")
    with Actor() as a, Actor() as h:
        a.call(a_open, "f", path)
        h.call(a_open, "f", os.path.join(t.src, "f"))
        a.call(a_posix, "f", fcntl.F_WRLCK, 0, 10)
        os.unlink(path)
        for _ in range(3):
            server = new_keeper(t, daemon)
            t.eq(os.pread(fd, 9, 0), b"content", "the open file without a keeper")
            until(lambda: daemon.answers() and daemon.ask("status")["server"] == server, "the control socket")
            os.kill(server, signal.SIGKILL)
            os.statvfs(t.mnt)
            t.eq(os.pread(fd, 9, 0), b"content", "the open file with another server")
            t.eq(h.call(a_test, "f", fcntl.F_WRLCK, 0, 1), (fcntl.F_WRLCK, 0, 10), "the lock")
    os.close(fd)


@test(smoke=True, scope="fs")
def killed_altogether_leaves_a_dead_mount(t):
    """If keeper and server are killed together nobody hangs: users get ENOTCONN, a start says how to clean up, and can do it."""
    daemon = t.serve()
    fd = os.open(os.path.join(t.mnt, "f"), os.O_RDWR | os.O_CREAT)
    server = daemon.server()
    for pid in (daemon.keeper, server):
        os.kill(pid, signal.SIGSTOP)
    for pid in (daemon.keeper, server):
        os.kill(pid, signal.SIGKILL)
    daemon.process.wait()
    t.daemons.remove(daemon)
    until(lambda: attempt(os.stat, os.path.join(t.mnt, "f")) == "ENOTCONN", "ENOTCONN")
    attempt(os.close, fd)
    done = subprocess.run([t.program, "-f", t.src, t.mnt], capture_output=True, text=True, timeout=60, check=False)
    t.eq(done.returncode, 3, "status of a start on the dead mount")
    t.check("umount" in done.stderr and len(done.stderr.splitlines()) == 1, f"it names the cure: {done.stderr}")
    again = t.serve(replace_stale="on")
    t.eq(len([m for m in harness.mounts() if m[0] == t.mnt]), 1, "mounts there")
    t.eq(os.path.getsize(os.path.join(t.mnt, "f")), 0, "it works")
    t.end(again)
    t.check(not harness.mounted_at(t.mnt), "still mounted")


@test(scope="fs")
def stopped_server_is_only_slow(t):
    """A server that is stopped and goes on loses nothing, and one that is killed while it is stopped is replaced."""
    daemon = t.serve()
    server = daemon.server()
    os.kill(server, signal.SIGSTOP)
    with Actor() as a:
        a.start(os.mkdir, os.path.join(t.mnt, "d"))
        until(lambda: daemon.waiting() > 0, "the request waits")
        os.kill(server, signal.SIGCONT)
        t.eq(a.result(), None, "mkdir")
        os.kill(server, signal.SIGSTOP)
        a.start(os.mkdir, os.path.join(t.mnt, "e"))
        until(lambda: daemon.waiting() > 0, "the request waits")
        os.kill(server, signal.SIGKILL)
        t.eq(a.result(), None, "mkdir by the successor")
    t.eq(sorted(os.listdir(t.src)), ["d", "e"], "what the host has")


@test(scope="run", limit=240)
def killed_server_that_cannot_end(t):
    """A server that hangs in the kernel, in a source that does not answer, is not waited for after it was killed."""
    hung = t.src + "/hung"
    os.mkdir(hung)
    os.mkdir(os.path.join(t.src, "good"))
    script = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../mounted/hung.py")
    source = subprocess.Popen([sys.executable, script, hung], preexec_fn=harness.die_with_parent)
    until(lambda: harness.mounted_at(hung), "the hung source")
    daemon = t.serve(submounts="cross", cache="none", identity="fd")
    try:
        with Actor() as a:
            a.start(os.stat, os.path.join(t.mnt, "hung", "hang"))
            # Not only queued: then it could still be killed.
            until(lambda: os.statvfs(hung).f_files > 0, "the server waits")
            server = daemon.server()
            t.eq(os.listdir(os.path.join(t.mnt, "good")), [], "others are served")
            os.kill(server, signal.SIGKILL)
            os.mkdir(os.path.join(t.mnt, "good", "d"))
            until(lambda: daemon.ask("status")["server"] not in (0, server), "another server")
            t.check(daemon.said("goes on with another"), "the log tells")
            harness.abort_connection(hung)
            a.result()
    finally:
        attempt(harness.abort_connection, hung)
        source.kill()
        source.wait()
    t.end(daemon)
    harness.detach(hung)


@test(scope="fs")
def damaged_records_cost_only_themselves(t):
    """Records that are damaged in the state are passed over by the next server, which serves everything else."""
    daemon = t.serve()
    fds = [os.open(os.path.join(t.mnt, f"f{i}"), os.O_RDWR | os.O_CREAT) for i in range(50)]
    with memory_of(daemon) as memory:
        # Behind header and journal.
        at = 4096 + 4096 * 640
        for cell in range(0, 64 * 40, 128):
            os.pwrite(memory.fileno(), b"\xff" * 30, at + cell)
    for _ in range(3):
        daemon.kill_server()
    for i, fd in enumerate(fds):
        os.pwrite(fd, b"%d" % i, 0)
        t.eq(os.pread(fd, 9, 0), b"%d" % i, f"open file {i}: it has a name, by which it is found again")
        os.close(fd)
    t.eq(len(os.listdir(t.mnt)), 50, "names")


def memory_of(daemon):
    """The state, as the keeper holds it."""
    for name in os.listdir(f"/proc/{daemon.keeper}/fd"):
        path = f"/proc/{daemon.keeper}/fd/{name}"
        if "handlefs-state" in (attempt(os.readlink, path) or ""):
            return open(path, "r+b", buffering=0)
    raise AssertionError("the keeper has no state")
