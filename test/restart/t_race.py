"""Races of clients with processes of the host, with and without kills."""

import collections
import os
import random
import signal
import stat
import subprocess

from daemon import status_of
from procs import Actor, Err, attempt, until
from racers import Racer, balance, tree
from registry import test
from storm import Pauses, Storm, Worker

CLIENTS, HOSTS = 3, 2


class Race(Storm):
    """Racers on the mount and on the host, for the same names."""

    def __init__(self, t, daemon, kills, calls):
        self.t, self.daemon, self.seed = t, daemon, t.run.seed
        self.rng, self.pauses, self.kills = random.Random(self.seed), Pauses(), 0
        for where in Racer.PLACES:
            os.mkdir(os.path.join(daemon.source, where))
        Worker.told[0] = 0
        places = [daemon.mount] * CLIENTS + [daemon.source] * HOSTS
        self.workers = [Worker(lambda place, seed=self.seed * 100 + i: Racer(place, seed, calls, loses_files=kills > 0), place, place)
                        for i, place in enumerate(places)]

    def stop(self):
        if self.kills == 0:
            until(lambda: all(worker.has_ended() for worker in self.workers), "all have enough", self.t.test.limit - 60)
        Worker.told[0] = 1
        counts, wrong = collections.Counter(), []
        for number, worker in enumerate(self.workers):
            outcome = worker.stop()
            if outcome["error"]:
                wrong.append(f"{'client' if number < CLIENTS else 'host'} {number}: {outcome['error']}")
            counts.update(outcome["counts"])
        until(lambda: self.daemon.waiting() == 0, "nothing waits any more", 10)
        # Those are settled by looking at what is there, which others change.
        ambiguous = self.daemon.ask("status")["settled"]
        calls = sum(n for key, n in counts.items() if key[0] not in "+-")
        host = tree(self.daemon.source)
        shared = counts["shared"]
        made = balance(counts, self.daemon.source)
        self.t.note(f"     {self.kills} kills, {calls} calls, {counts['+counted']} names made, made and neither removed nor left "
                    f"{made}{self.resent()}{self.pauses.text()}")
        self.t.check(not wrong, "; ".join(wrong))
        self.t.check(calls > 0, "nothing was done")
        self.t.check(shared <= ambiguous, f"{shared} files have two makers, and of {ambiguous} calls nobody knows")
        for what, off in made.items():
            self.t.check(abs(off) <= ambiguous, f"{what}: {off} more were made than removed or left, and of {ambiguous} nobody knows")
        until(lambda: attempt(tree, self.daemon.mount) == host, "the mount shows what the host has")


def race(t, kills=0, calls=-1, dies_at=None, **options):
    """Until each has done so many calls, or the server was killed, or has died at the failpoint, so many times."""
    daemon = t.serve(env={"HANDLEFS_FAILPOINT": dies_at} if dies_at else None, **options)
    work = Race(t, daemon, kills, calls)
    if dies_at:
        until(lambda: daemon.alive() and daemon.crashes() >= kills, "the failpoints", 600)
        work.kills = daemon.crashes()
    while work.kills < kills:
        work.kill_once()
    work.stop()


def make_file(path, content):
    """A new file through the mount; what its descriptor says of it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
    try:
        os.pwrite(fd, content, 0)
        st = os.fstat(fd)
        return stat.S_IFMT(st.st_mode), st.st_size, os.pread(fd, 100, 0)
    finally:
        os.close(fd)


def replace_by_file(path):
    os.unlink(path) if not os.path.isdir(path) else os.rmdir(path)
    with open(path, "wb") as f:
        f.write(b"the host's")


def replace_by(make):
    def replace(path):
        os.unlink(path) if not os.path.isdir(path) else os.rmdir(path)
        make(path)
    return replace


BY_THE_HOST = {
    "removed": replace_by(lambda path: None),
    "a directory": replace_by(os.mkdir),
    "a file": replace_by_file,
    "a FIFO": replace_by(os.mkfifo),
    "a symlink": replace_by(lambda path: os.symlink("host", path)),
    "moved away": lambda path: os.rename(path, path + ".moved"),
}


@test(limit=200)
def replaced_while_they_are_made(t):
    """A name that the host removes or replaces in the very moment in which it is made through the mount was made, as on the host."""
    t.need_failpoints()
    for identity in ("auto", "fd"):
        replace_while_made(t, identity)


def goes_on(client, server):
    """Also if it stops a second time, because the call comes again."""
    def answered():
        os.kill(server, signal.SIGCONT)
        return client.ready()
    until(answered, "the answer")


def replace_while_made(t, identity):
    daemon = t.serve(env={"HANDLEFS_FAILPOINT": "made 1 stop"}, cache="none", identity=identity)
    old = os.path.join(t.mnt, "old")
    with open(os.path.join(t.src, "old"), "wb") as f:
        f.write(b"linked")
    calls = {
        "mkdir": (os.mkdir, (), None), "mkfifo": (os.mkfifo, (), None), "mknod": (os.mknod, (0o600 | stat.S_IFREG,), None),
        "create": (make_file, (b"the client's",), (stat.S_IFREG, 12, b"the client's")),
    }
    with Actor() as client:
        for call in [*calls, "symlink", "link"]:
            for what, change in BY_THE_HOST.items():
                name = f"{call} {what}".replace(" ", "-")
                path, host = os.path.join(t.mnt, name), os.path.join(t.src, name)
                if call == "symlink":
                    start, wanted = (os.symlink, "target", path), None
                elif call == "link":
                    start, wanted = (os.link, old, path), None
                else:
                    start, wanted = (calls[call][0], path, *calls[call][1]), calls[call][2]
                server = daemon.server()
                client.start(*start)
                try:
                    until(lambda: status_of(server)["State"][0] == "T", "the server stops")
                    change(host)
                finally:
                    goes_on(client, server)
                t.eq(client.result(), wanted, f"{call} while it is {what}, identity={identity}")
                shown, there = attempt(os.lstat, path), attempt(os.lstat, host)
                if isinstance(there, Err):
                    t.eq(shown, there, f"the name after {call} while it is {what}")
                else:
                    t.eq((shown.st_mode, shown.st_ino, shown.st_nlink), (there.st_mode, there.st_ino, there.st_nlink),
                         f"the name after {call} while it is {what}")
                if call == "link":
                    t.eq(os.stat(old).st_ino, os.stat(os.path.join(t.src, "old")).st_ino, "the linked file")
                    with open(old, "rb") as f:
                        t.eq(f.read(), b"linked", "content of the linked file")
        t.eq(sorted(os.listdir(t.mnt)), sorted(os.listdir(t.src)), "names at the end")
    t.end(daemon)
    for name in os.listdir(t.src):
        path = os.path.join(t.src, name)
        os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)


@test(limit=900)
def race_for_the_same_names(t):
    """Whoever makes, removes and moves a name while the host does the same with it gets what some order of both gives."""
    race(t, calls=100000 if t.run.args.full else 4000)


@test(limit=900)
def race_without_caches(t):
    """The same with cache=none, where every component of a path is a request."""
    race(t, calls=100000 if t.run.args.full else 4000, cache="none")


@test(limit=1800)
def storm_for_the_same_names(t):
    """The same while the server is killed: what nobody can tell afterwards are calls that it died in."""
    race(t, kills=t.run.kills)


@test(limit=900)
def race_killed_around_the_call(t):
    """The same with a server that dies directly before a system call, directly after it, and before its noted answer is sent."""
    t.need_failpoints()
    for place in ("intent", "executed", "noted"):
        for where in os.listdir(t.src):
            subprocess.run(["rm", "-rf", os.path.join(t.src, where)], check=True)
        race(t, kills=t.run.failpoint_kills, dies_at=f"{place} 31")
        t.end(t.daemons[-1])
