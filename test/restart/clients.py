"""Clients of a mount that know what each call must give: every difference is an error of the server.

A client works in a directory of its own, of which it keeps a model. What it does there is decided by its seed.
"""

import fcntl
import os
import random
import stat
import struct
import sys

MOUNTED = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../mounted")
sys.path.insert(0, MOUNTED)

import syscalls  # noqa: E402
from procs import Err, attempt  # noqa: E402


class Wrong(Exception):
    pass


class Enough(Exception):
    """A client has done all that it was to do."""


def of_clients(names):
    """Without those of host processes."""
    return sorted(name for name in names if not name.startswith(".host"))


def name_of(value):
    return value if isinstance(value, Err) else "ok"


class Client:
    """One random walk of calls. `step` does one and compares."""

    NAMES = [f"n{i}" for i in range(12)]
    not_empty = "ENOTEMPTY"  # what a rename over a directory with something in it gives; xfs says EEXIST

    def __init__(self, place, seed, passthrough):
        self.rng = random.Random(seed)
        self.place = place
        self.passthrough = passthrough
        # name -> ("file", content id) | ("dir", {}) | ("link", target) | ("fifo",)
        self.tree = {}
        self.content = {}  # id -> bytearray
        self.links = {}  # id -> number of names
        self.xattrs = {}  # id -> set
        self.open = []  # (fd, id)
        self.next_id = 0
        self.counts = {}
        self.last = {}  # id -> the last calls that changed its content

    def note(self, number, *call):
        self.last[number] = [*self.last.get(number, [])[-5:], call]

    def close(self):
        for fd, _ in self.open:
            attempt(os.close, fd)

    def path(self, name):
        return os.path.join(self.place, name)

    def want(self, got, wanted, what):
        if wanted == "ENOTEMPTY" and name_of(got) == "EEXIST":
            return False  # what xfs says
        if name_of(got) != wanted:
            raise Wrong(f"{what}: {name_of(got)}, wanted {wanted}")
        return wanted == "ok"

    def pick(self, *kinds):
        names = [n for n in self.NAMES if (self.tree[n][0] if n in self.tree else None) in kinds]
        return self.rng.choice(names) if names else None

    def any_name(self):
        return self.rng.choice(self.NAMES)

    def step(self):
        operation = self.rng.choice(OPERATIONS)
        operation(self)
        key = operation.__name__
        self.counts[key] = self.counts.get(key, 0) + 1

    def new_file(self, name):
        self.next_id += 1
        self.tree[name] = ("file", self.next_id)
        self.content[self.next_id] = bytearray()
        self.links[self.next_id] = 1
        self.xattrs[self.next_id] = set()
        return self.next_id

    def drop_name(self, name):
        kind = self.tree.pop(name)
        if kind[0] == "file":
            self.links[kind[1]] -= 1

    # Each operation: the call, what it must give, what is so afterwards.
    def create(self):
        name = self.any_name()
        got = attempt(os.open, self.path(name), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND * self.rng.randrange(2), 0o640)
        if self.want(got, "EEXIST" if name in self.tree else "ok", f"create {name}"):
            self.hold(got, self.new_file(name))

    def hold(self, fd, number):
        self.open.append((fd, number))
        while len(self.open) > 4:
            os.close(self.open.pop(self.rng.randrange(len(self.open)))[0])

    def mkdir(self):
        name = self.any_name()
        if self.want(attempt(os.mkdir, self.path(name)), "EEXIST" if name in self.tree else "ok", f"mkdir {name}"):
            self.tree[name] = ("dir", {})

    def mkfifo(self):
        name = self.any_name()
        if self.want(attempt(os.mkfifo, self.path(name)), "EEXIST" if name in self.tree else "ok", f"mkfifo {name}"):
            self.tree[name] = ("fifo",)

    def symlink(self):
        name, target = self.any_name(), f"t{self.rng.randrange(1000)}"
        if self.want(attempt(os.symlink, target, self.path(name)), "EEXIST" if name in self.tree else "ok", f"symlink {name}"):
            self.tree[name] = ("link", target)

    def link(self):
        old, new = self.pick("file"), self.any_name()
        if old is None:
            return
        got = attempt(os.link, self.path(old), self.path(new))
        if self.want(got, "EEXIST" if new in self.tree else "ok", f"link {old} {new}"):
            self.tree[new] = self.tree[old]
            self.links[self.tree[old][1]] += 1

    def unlink(self):
        name = self.pick("file", "link", "fifo", None)
        if name and self.want(attempt(os.unlink, self.path(name)), "ok" if name in self.tree else "ENOENT", f"unlink {name}"):
            self.drop_name(name)

    def fill(self):
        name = self.pick("dir")
        if name and not self.tree[name][1]:
            self.want(attempt(os.mkdir, self.path(name) + "/in"), "ok", f"mkdir {name}/in")
            self.tree[name][1]["in"] = True

    def empty(self):
        name = self.pick("dir")
        if name and self.tree[name][1]:
            self.want(attempt(os.rmdir, self.path(name) + "/in"), "ok", f"rmdir {name}/in")
            self.tree[name][1].clear()

    def rmdir(self):
        name = self.pick("dir", None)
        if name is None:
            return
        wanted = "ENOENT" if name not in self.tree else "ENOTEMPTY" if self.tree[name][1] else "ok"
        if self.want(attempt(os.rmdir, self.path(name)), wanted, f"rmdir {name}"):
            self.drop_name(name)

    def rename(self):
        old, new = self.pick("file", "link", "fifo", "dir"), self.any_name()
        flags = self.rng.choice((0, 0, syscalls.RENAME_NOREPLACE, syscalls.RENAME_EXCHANGE))
        if old is None or old == new:
            return
        there = self.tree.get(new)
        wanted = "ok"
        if flags == syscalls.RENAME_NOREPLACE and there:
            wanted = "EEXIST"
        elif flags == syscalls.RENAME_EXCHANGE and not there:
            wanted = "ENOENT"
        elif flags == 0 and there and not (there[0] == "file" and there == self.tree[old]):
            was_dir, is_dir = there[0] == "dir", self.tree[old][0] == "dir"
            if was_dir and not is_dir:
                wanted = "EISDIR"
            elif is_dir and not was_dir:
                wanted = "ENOTDIR"
            elif was_dir and there[1]:
                wanted = self.not_empty
        got = attempt(syscalls.renameat2, self.path(old), self.path(new), flags)
        if not self.want(got, wanted, f"rename {old} {new} {flags}"):
            return
        if flags == syscalls.RENAME_EXCHANGE:
            self.tree[old], self.tree[new] = self.tree[new], self.tree[old]
        elif there and there is not self.tree[old] and there == self.tree[old] and there[0] == "file":
            pass  # two names of one file: nothing happens
        elif there is self.tree[old] and there[0] == "file":
            pass
        else:
            if there:
                self.drop_name(new)
            self.tree[new] = self.tree.pop(old)

    def append(self):
        if not self.open:
            return
        fd, number = self.rng.choice(self.open)
        data = self.rng.randbytes(self.rng.choice((1, 100, 5000)))
        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND:
            n = os.write(fd, data)
            self.note(number, "append", n, "at", len(self.content[number]))
            self.content[number] += data[:n]
        else:
            at = self.rng.randrange(len(self.content[number]) + 1)
            n = os.pwrite(fd, data, at)
            self.note(number, "write", n, "at", at)
            self.content[number][at:at + n] = data[:n]
        if n != len(data):
            raise Wrong(f"write of {len(data)}: {n}")

    def truncate(self):
        if self.open:
            fd, number = self.rng.choice(self.open)
            size = self.rng.randrange(len(self.content[number]) + 1)
            os.ftruncate(fd, size)
            self.note(number, "truncate", size)
            del self.content[number][size:]

    def read_back(self):
        if not self.open:
            return
        fd, number = self.rng.choice(self.open)
        got = os.pread(fd, 1 << 20, 0)
        wanted = self.content[number]
        if got != wanted:
            same = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
            again = os.pread(fd, 1 << 20, 0)
            raise Wrong(f"content of open file {number}: {len(got)} bytes, wanted {len(wanted)}, equal up to {same}, read again "
                        f"{len(again)}, size {os.fstat(fd).st_size}; before: {self.last.get(number)}")
        links = os.fstat(fd).st_nlink
        if links != self.links[number]:
            raise Wrong(f"links of open file {number}: {links}, wanted {self.links[number]}")

    def set_xattr(self):
        name = self.pick("file")
        if name is None:
            return
        number, key = self.tree[name][1], f"user.k{self.rng.randrange(3)}"
        flags = self.rng.choice((0, os.XATTR_CREATE, os.XATTR_REPLACE))
        has = key in self.xattrs[number]
        wanted = "EEXIST" if flags == os.XATTR_CREATE and has else "ENODATA" if flags == os.XATTR_REPLACE and not has else "ok"
        if self.want(attempt(os.setxattr, self.path(name), key, b"v", flags), wanted, f"setxattr {name} {key} {flags}"):
            self.xattrs[number].add(key)

    def remove_xattr(self):
        name = self.pick("file")
        if name is None:
            return
        number, key = self.tree[name][1], f"user.k{self.rng.randrange(3)}"
        wanted = "ok" if key in self.xattrs[number] else "ENODATA"
        if self.want(attempt(os.removexattr, self.path(name), key), wanted, f"removexattr {name} {key}"):
            self.xattrs[number].discard(key)

    def reopen(self):
        name = self.pick("file")
        if name:
            flags = os.O_RDWR | os.O_APPEND * self.rng.randrange(2)
            got = attempt(os.open, self.path(name), flags)
            if self.want(got, "ok", f"open {name}"):
                self.hold(got, self.tree[name][1])

    def unnamed(self):
        got = attempt(os.open, self.place, os.O_RDWR | os.O_TMPFILE, 0o600)
        if not self.want(got, "ok", "O_TMPFILE"):
            return
        self.next_id += 1
        number = self.next_id
        self.content[number], self.links[number], self.xattrs[number] = bytearray(), 0, set()
        self.hold(got, number)
        name = self.any_name()
        if name not in self.tree and (got, number) in self.open:
            linked = attempt(syscalls.link_open_file, got, self.path(name))
            if self.want(linked, "ok", f"link of O_TMPFILE {name}"):
                self.tree[name] = ("file", number)
                self.links[number] = 1

    def list(self):
        got = attempt(os.listdir, self.place)
        if self.want(got, "ok", "listing") and of_clients(got) != sorted(self.tree):
            raise Wrong(f"listing: {got}, wanted {sorted(self.tree)}")

    def look(self):
        name = self.any_name()
        got = attempt(os.lstat, self.path(name))
        if isinstance(got, Err) or name not in self.tree:
            self.want(got, "ok" if name in self.tree else "ENOENT", f"stat {name}")
            return
        kind = {"file": stat.S_IFREG, "dir": stat.S_IFDIR, "link": stat.S_IFLNK, "fifo": stat.S_IFIFO}[self.tree[name][0]]
        if stat.S_IFMT(got.st_mode) != kind:
            raise Wrong(f"type of {name}: {got.st_mode:o}")

    def check(self, place):
        """The whole model against the tree at `place` (the mount's, or the host's)."""
        there = of_clients(os.listdir(place))
        if there != sorted(self.tree):
            raise Wrong(f"tree at the end: {there}, wanted {sorted(self.tree)}")
        for name, kind in self.tree.items():
            path = os.path.join(place, name)
            if kind[0] == "file":
                with open(path, "rb") as f:
                    if f.read() != self.content[kind[1]]:
                        raise Wrong(f"content of {name} at the end")
                keys = {k for k in os.listxattr(path) if k.startswith("user.")}
                if keys != self.xattrs[kind[1]]:
                    raise Wrong(f"xattrs of {name} at the end: {keys}, wanted {self.xattrs[kind[1]]}")
                if os.stat(path).st_nlink != self.links[kind[1]]:
                    raise Wrong(f"links of {name} at the end")
            elif kind[0] == "link" and os.readlink(path) != kind[1]:
                raise Wrong(f"target of {name} at the end")
            elif kind[0] == "dir" and sorted(os.listdir(path)) != sorted(kind[1]):
                raise Wrong(f"content of directory {name} at the end")


OPERATIONS = [Client.create, Client.create, Client.mkdir, Client.mkfifo, Client.symlink, Client.link, Client.unlink, Client.unlink,
              Client.fill, Client.empty, Client.rmdir, Client.rename, Client.rename, Client.append, Client.append, Client.truncate,
              Client.read_back, Client.set_xattr, Client.remove_xattr, Client.reopen, Client.unnamed, Client.list, Client.look]


class Counter:
    """Several of them add to one number in a file, under a lock that waits: none may get lost."""

    def __init__(self, path, kind, seed):
        self.path, self.kind, self.rng = path, kind, random.Random(seed)
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self.done = 0
        self.counts = {}

    def step(self):
        if self.kind == "flock":
            fcntl.flock(self.fd, fcntl.LOCK_EX)
        elif self.kind == "posix":
            fcntl.lockf(self.fd, fcntl.LOCK_EX, 8, 0)
        else:
            syscalls.posix_lock(self.fd, fcntl.F_WRLCK, 0, 8, True, True)
        value = struct.unpack("<Q", os.pread(self.fd, 8, 0).ljust(8, b"\0"))[0]
        os.pwrite(self.fd, struct.pack("<Q", value + 1), 0)
        self.done += 1
        if self.kind == "flock":
            fcntl.flock(self.fd, fcntl.LOCK_UN)
        elif self.kind == "posix":
            fcntl.lockf(self.fd, fcntl.LOCK_UN, 8, 0)
        else:
            syscalls.posix_lock(self.fd, fcntl.F_UNLCK, 0, 8, False, True)
        self.counts["locked " + self.kind] = self.done

    def check(self, place):
        pass


class Directories:
    """Makes and removes a directory, and opens nothing: the kernel comes to know no regular file."""

    def __init__(self, place):
        self.place = os.path.join(place, "made")
        self.counts = {"mkdir": 0}

    def step(self):
        os.mkdir(self.place)
        if not stat.S_ISDIR(os.stat(self.place).st_mode):
            raise Wrong("what mkdir made is no directory")
        os.rmdir(self.place)
        self.counts["mkdir"] += 1

    def check(self, place):
        if left := os.listdir(os.path.join(place)):
            raise Wrong(f"{left} was removed and is there")

    def close(self):
        pass
