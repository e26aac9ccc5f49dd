"""A storm of kills while clients work that know what each call must give."""

import collections
import json
import mmap
import os
import random
import select
import signal
import time
import traceback

import syscalls
from clients import Client, Counter, Enough, Wrong
from procs import attempt, until

PATIENCE = 60.0


class Worker:
    """A client in a process of its own; it stops when all are told to, and checks its model."""

    told = mmap.mmap(-1, 4096)  # shared with all of them

    def __init__(self, make, place, host):
        self.r, theirs = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    signal.signal(number, signal.SIG_DFL)
                syscalls.prctl(1, signal.SIGKILL)
                self.work(make, place, host, theirs)
            finally:
                os._exit(0)
        os.close(theirs)

    @classmethod
    def work(cls, make, place, host, out):
        client, error = None, None
        try:
            client = make(place)
            while not cls.told[0]:
                try:
                    client.step()
                except Enough:
                    break
            client.check(place)
            client.check(host)
        except (Wrong, OSError, ValueError) as e:
            at = [frame.name for frame in traceback.extract_tb(e.__traceback__)][1:]
            error = f"{type(e).__name__}: {e} ({' > '.join(at)})"
        counts = client.counts if client else {}
        os.write(out, json.dumps({"error": error, "counts": counts}).encode())

    def has_ended(self):
        return bool(select.select([self.r], [], [], 0)[0])

    def stop(self):
        if not select.select([self.r], [], [], PATIENCE)[0]:
            with open(f"/proc/{self.pid}/stack") as f:
                where = f.read().split("\n")[:6]
            attempt(os.kill, self.pid, signal.SIGKILL)
            return {"error": f"hangs: {where}", "counts": {}}
        raw = b""
        while part := os.read(self.r, 65536):
            raw += part
        os.close(self.r)
        os.waitpid(self.pid, 0)
        return json.loads(raw) if raw else {"error": "died", "counts": {}}


class Actor:
    """A host process that changes other names of the same directories."""

    def __init__(self, places, seed):
        self.pid = os.fork()
        if self.pid == 0:
            syscalls.prctl(1, signal.SIGKILL)
            rng = random.Random(seed)
            while True:
                one, other = (os.path.join(rng.choice(places), f".host{i}") for i in range(2))
                calls = ((os.mkdir, one), (os.rmdir, one), (os.mknod, one), (os.link, one, other), (os.rename, one, other),
                         (os.symlink, "nowhere", one), (os.unlink, one), (os.unlink, other))
                for call, *arguments in calls:
                    attempt(call, *arguments)
                time.sleep(0.001)

    def stop(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


class Pauses(list):
    def text(self):
        if not self:
            return ""
        self.sort()
        at = [self[int(len(self) * q)] * 1000 for q in (0.5, 0.99)] + [self[-1] * 1000]
        return "; a client's pause: median {:.1f} ms, 99 % {:.1f} ms, longest {:.1f} ms".format(*at)


class Storm:
    """Clients, and the locks they share; `kill` is what happens to the server meanwhile."""

    def __init__(self, t, daemon, clients=4, passthrough=True, makers=None):
        self.t, self.daemon, self.seed = t, daemon, t.run.seed
        self.rng = random.Random(self.seed)
        self.pauses, self.kills, self.restarts = Pauses(), 0, 0
        self.makers = self.usual(clients, passthrough) if makers is None else makers
        for name, _ in self.makers:
            if not name.startswith("lock-"):
                os.mkdir(os.path.join(daemon.source, name))
        Worker.told[0] = 0
        Client.not_empty = self.not_empty(daemon.source)
        self.workers = [Worker(make, os.path.join(daemon.mount, name), os.path.join(daemon.source, name))
                        for name, make in self.makers]

    def usual(self, clients, passthrough):
        makers = [(f"c{i}", lambda place, seed=self.seed * 100 + i: Client(place, seed, passthrough)) for i in range(clients)]
        for kind in ("posix", "flock", "ofd"):
            for i in range(2):
                makers.append((f"lock-{kind}", lambda place, kind=kind, i=i: Counter(place, kind, i)))
        return makers

    @staticmethod
    def not_empty(source):
        """What the host says to a rename over a directory that is not empty."""
        one, other = os.path.join(source, ".one"), os.path.join(source, ".other")
        os.mkdir(one)
        os.makedirs(os.path.join(other, "in"))
        said = attempt(os.rename, one, other)
        os.rmdir(one)
        os.rmdir(os.path.join(other, "in"))
        os.rmdir(other)
        return said

    def resent(self):
        """What came again, and how it was answered."""
        asked = self.daemon.ask("status")
        return f", {asked['resent']} resent ({asked['answered_from_journal']} from the journal, {asked['settled']} settled)"

    def kill_once(self, low=0.02, high=0.2):
        time.sleep(self.rng.uniform(low, high))
        pid = self.daemon.server()
        began = time.monotonic()
        attempt(os.kill, pid, signal.SIGKILL)
        self.kills += 1
        attempt(os.statvfs, self.daemon.mount)
        self.pauses.append(time.monotonic() - began)

    def restart_once(self, low=0.02, high=0.1):
        """A restart on request, which a client sees as a pause."""
        time.sleep(self.rng.uniform(low, high))
        began = time.monotonic()
        answer = self.daemon.ask("restart")
        self.restarts += 1
        self.t.check(answer["ok"], f"restarted: {answer}")
        attempt(os.statvfs, self.daemon.mount)
        self.pauses.append(time.monotonic() - began)

    def stop(self):
        """Ends the clients; whatever one of them found wrong fails the test."""
        Worker.told[0] = 1
        counts, added, wrong = collections.Counter(), collections.Counter(), []
        for (name, _), worker in zip(self.makers, self.workers):
            outcome = worker.stop()
            if outcome["error"]:
                wrong.append(f"{name}: {outcome['error']}")
            counts.update(outcome["counts"])
            if name.startswith("lock-"):
                added[name] += sum(outcome["counts"].values())
        for name, wanted in added.items():
            with open(os.path.join(self.daemon.source, name), "rb") as f:
                got = int.from_bytes(f.read(8), "little")
            if got != wanted and not wrong:
                wrong.append(f"{name}: {got} additions are there, {wanted} were made")
        until(lambda: self.daemon.waiting() == 0, "nothing waits any more", 10)
        self.t.note(f"     {self.kills} kills, {self.restarts} restarts, {sum(counts.values())} calls{self.resent()}{self.pauses.text()}")
        self.t.check(not wrong, "; ".join(wrong))
        self.t.check(sum(counts.values()) > 0, "the clients did nothing")
