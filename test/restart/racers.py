"""Racers for the same few names: clients of the mount and processes of the host. Each result must be one that some order gives."""

import os
import random
import stat

import syscalls
from clients import Enough, Wrong, name_of
from procs import Err, attempt

NAMES = [f"n{i}" for i in range(4)]
TYPES = {"file": stat.S_IFREG, "dir": stat.S_IFDIR, "link": stat.S_IFLNK, "fifo": stat.S_IFIFO}
# A stale entry that the kernel had to believe, looked up a second time in vain.
STALE = {"ESTALE"}


class Racer:
    """Makes, removes and moves whatever is there. It counts what appeared and what went away by its doing, for `balance`."""

    # In `counted` no name can be replaced unseen, so that names can be counted. In `any` everything is done.
    PLACES = ("counted", "any")

    def __init__(self, place, seed, calls, loses_files=False):
        self.place, self.rng = place, random.Random(seed)
        self.calls = calls  # before it has enough
        # What a host process removed does not outlive a server, and if one dies while it makes a file that a host process makes
        # too, both can be told that it is theirs.
        self.loses_files = loses_files
        self.counts = {}
        self.open = []  # (fd, content)

    def close(self):
        for fd, _ in self.open:
            attempt(os.close, fd)

    def count(self, key):
        self.counts[key] = self.counts.get(key, 0) + 1

    def check(self, place):
        """The names are nobody's: `settled` looks at them when all have ended."""
        self.close()

    def step(self):
        if self.calls == 0:
            raise Enough
        self.calls -= 1
        where = self.rng.choice(self.PLACES)
        operation = self.rng.choice(OPERATIONS if where == "any" else COUNTED)
        self.where = where
        operation(self, os.path.join(self.place, where, self.rng.choice(NAMES)))
        self.count(operation.__name__)

    def fair(self, got, what, *errors):
        """Whether it was done; any other error than these is nobody's order."""
        said = name_of(got) if isinstance(got, Err) else "ok"
        if said != "ok" and said not in errors and said not in STALE:
            raise Wrong(f"{what}: {said}")
        return said == "ok"

    def made(self, got, what):
        if self.fair(got, what, "EEXIST"):
            self.count(f"+{self.where}")
            return True
        return False

    # What makes names.
    def create(self, path):
        got = attempt(os.open, path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
        if not self.made(got, "create"):
            return
        # Whoever has the name by now: this descriptor is of what was made.
        content = self.rng.randbytes(self.rng.choice((1, 100, 5000)))
        self.open.append((got, content))
        if not stat.S_ISREG(os.fstat(got).st_mode):
            raise Wrong(f"type of a file that was made: {os.fstat(got).st_mode:o}")
        self.owned(lambda: os.pwrite(got, content, 0), len(content), "write to a file that was made")
        while len(self.open) > 3:
            os.close(self.open.pop(self.rng.randrange(len(self.open)))[0])

    def owned(self, call, wanted, what):
        got = attempt(call)
        if got == wanted or got == "ESTALE" and self.loses_files:
            return True
        if isinstance(got, Err) or not self.loses_files:
            raise Wrong(f"{what}: {got!r:.40}, wanted {wanted!r:.40}")
        return False

    def reread(self, _):
        if self.open:
            fd, content = one = self.rng.choice(self.open)
            if not self.owned(lambda: os.pread(fd, len(content), 0), content, "content of a file that was made"):
                self.count("shared")
                self.open.remove(one)
                os.close(fd)

    def mkdir(self, path):
        self.made(attempt(os.mkdir, path), "mkdir")

    def mkfifo(self, path):
        self.made(attempt(os.mkfifo, path), "mkfifo")

    def mknod(self, path):
        self.made(attempt(os.mknod, path, 0o600 | stat.S_IFREG), "mknod")

    def symlink(self, path):
        self.made(attempt(os.symlink, "nowhere", path), "symlink")

    def link(self, path):
        old = os.path.join(self.place, self.where, self.rng.choice(NAMES))
        got = attempt(os.link, old, path, follow_symlinks=False)
        # EPERM: of a directory.
        if self.fair(got, "link", "EEXIST", "ENOENT", "EPERM"):
            self.count(f"+{self.where}")

    # What takes them away.
    def unlink(self, path):
        if self.fair(attempt(os.unlink, path), "unlink", "ENOENT", "EISDIR"):
            self.count(f"-{self.where}")

    def rmdir(self, path):
        if self.fair(attempt(os.rmdir, path), "rmdir", "ENOENT", "ENOTDIR", "ENOTEMPTY"):
            self.count(f"-{self.where}")

    def remove(self, path):
        """Whatever it is."""
        (self.rmdir if os.path.isdir(path) else self.unlink)(path)

    # What lies in a directory goes where that goes.
    def fill(self, path):
        if self.fair(attempt(os.mkdir, path + "/in"), "mkdir in it", "EEXIST", "ENOENT", "ENOTDIR"):
            self.count(f"+in {self.where}")

    def empty(self, path):
        if self.fair(attempt(os.rmdir, path + "/in"), "rmdir in it", "ENOENT", "ENOTDIR"):
            self.count(f"-in {self.where}")

    def move(self, path):
        self.renamed(path, self.rng.choice((syscalls.RENAME_NOREPLACE, syscalls.RENAME_EXCHANGE)))

    def replace(self, path):
        self.renamed(path, 0)

    def renamed(self, path, flags):
        new = os.path.join(self.place, self.where, self.rng.choice(NAMES))
        if new != path:
            self.fair(attempt(syscalls.renameat2, path, new, flags), f"rename {flags}", "ENOENT", "EEXIST", "ENOTEMPTY", "EISDIR",
                      "ENOTDIR")

    # What looks.
    def create_or_open(self, path):
        # O_CREAT of a symlink to nowhere makes that, which O_NOFOLLOW prevents.
        got = attempt(os.open, path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o640)
        if self.fair(got, "open or create", "EISDIR", "ELOOP"):
            os.close(got)

    def open_it(self, path):
        got = attempt(os.open, path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        if self.fair(got, "open", "ENOENT", "ELOOP"):
            os.close(got)

    def look(self, path):
        got = attempt(os.lstat, path)
        if self.fair(got, "stat", "ENOENT") and stat.S_IFMT(got.st_mode) not in TYPES.values():
            raise Wrong(f"type: {got.st_mode:o}")

    def read_link(self, path):
        got = attempt(os.readlink, path)
        if self.fair(got, "readlink", "ENOENT", "EINVAL") and got != "nowhere":
            raise Wrong(f"target: {got}")

    def list(self, path):
        got = attempt(os.listdir, os.path.dirname(path))
        if self.fair(got, "listing") and not set(got) <= set(NAMES):
            raise Wrong(f"listing: {got}")


COUNTED = [Racer.create, Racer.create, Racer.mkdir, Racer.mkdir, Racer.mkfifo, Racer.mknod, Racer.symlink, Racer.link, Racer.link,
           Racer.unlink, Racer.rmdir, *[Racer.remove] * 6, Racer.fill, Racer.empty, Racer.empty, Racer.move, Racer.reread,
           Racer.open_it, Racer.look, Racer.read_link, Racer.list]
OPERATIONS = [*COUNTED, Racer.replace, Racer.create_or_open]


def tree(place):
    """What is there: {path: (type, inode number)}."""
    out = {}
    for where in Racer.PLACES:
        for at, dirs, files in os.walk(os.path.join(place, where)):
            for name in dirs + files:
                path = os.path.join(at, name)
                st = os.lstat(path)
                out[os.path.relpath(path, place)] = (stat.S_IFMT(st.st_mode), st.st_ino)
    return out


def balance(counts, host):
    """{what: how many more were made than removed and left}; "in" is what lies in directories."""
    there = tree(host)
    deep = sum(path.startswith("counted/") and path.endswith("/in") for path in there)
    flat = sum(path.startswith("counted/") for path in there) - deep
    return {"names": counts["+counted"] - counts["-counted"] - flat,
            "names in directories": counts["+in counted"] - counts["-in counted"] - deep}
