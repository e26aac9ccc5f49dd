"""Races of clients with processes of the host, with and without kills."""

import collections
import os
import random

from procs import attempt, until
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
        made = balance(counts, self.daemon.source)
        self.t.note(f"     {self.kills} kills, {calls} calls, {counts['+counted']} names made, made and neither removed nor left "
                    f"{made}, {ambiguous} looked at afterwards{self.pauses.text()}")
        self.t.check(not wrong, "; ".join(wrong))
        self.t.check(calls > 0, "nothing was done")
        for what, off in made.items():
            self.t.check(abs(off) <= ambiguous, f"{what}: {off} more were made than removed or left, and of {ambiguous} nobody knows")
        until(lambda: attempt(tree, self.daemon.mount) == host, "the mount shows what the host has")


def race(t, kills=0, calls=-1, **options):
    """Until each has done so many calls, or the server was killed so many times."""
    daemon = t.serve(**options)
    work = Race(t, daemon, kills, calls)
    while work.kills < kills:
        work.kill_once()
    work.stop()


@test(limit=300)
def race_for_the_same_names(t):
    """Whoever makes, removes and moves a name while the host does the same with it gets what some order of both gives."""
    race(t, calls=100000 if t.run.args.full else 4000)


@test(limit=300)
def race_without_caches(t):
    """The same with cache=none, where every component of a path is a request."""
    race(t, calls=100000 if t.run.args.full else 4000, cache="none")


@test(limit=1800)
def storm_for_the_same_names(t):
    """The same while the server is killed: what nobody can tell afterwards are calls that it died in."""
    race(t, kills=t.run.kills)
