"""Several processes at once: what programs rely on to be atomic."""

import os
import random
import shutil
import subprocess

from procs import Err, attempt, run_as
from registry import test
from trees import read, write


def together(count, fn):
    """Runs fn(i) in `count` processes that start at the same time; their results (small integers)."""
    gate_r, gate_w = os.pipe()
    pids = []
    for i in range(count):
        pid = os.fork()
        if pid == 0:
            try:
                os.close(gate_w)
                os.read(gate_r, 1)
                os._exit(fn(i))
            except BaseException as e:
                os.write(2, f"race: {type(e).__name__}: {e}\n".encode())
                os._exit(99)
        pids.append(pid)
    os.close(gate_r)
    os.close(gate_w)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


@test(smoke=True)
def one_winner(t):
    """Of many processes that create the same name exclusively, exactly one succeeds: open, mkdir, link, symlink, rename."""
    import syscalls
    for i in range(8):
        write(os.path.join(t.mnt, f"mine{i}"))
    makers = {
        "open": lambda p, i: os.close(os.open(p, os.O_CREAT | os.O_EXCL | os.O_RDWR)),
        "mkdir": lambda p, i: os.mkdir(p),
        "symlink": lambda p, i: os.symlink("x", p),
        "link": lambda p, i: os.link(os.path.join(t.mnt, f"mine{i}"), p),
        "rename": lambda p, i: syscalls.renameat2(os.path.join(t.mnt, f"mine{i}"), p, syscalls.RENAME_NOREPLACE),
    }
    for kind, make in makers.items():
        for i in range(10):
            if kind == "rename":
                for k in range(8):
                    write(os.path.join(t.mnt, f"mine{k}"))
            p = os.path.join(t.mnt, f"{kind}{i}")
            results = together(8, lambda who: {None: 1, "EEXIST": 0}.get(attempt(make, p, who), 7))
            t.eq(sorted(results), [0] * 7 + [1], f"winners of {kind}")


@test()
def replacing_is_atomic(t):
    """A reader of a file that is replaced by rename sees the old or the new content, never nothing and never half of it."""
    p = write(os.path.join(t.mnt, "f"), b"0" * 5000)

    def work(i):
        for k in range(200):
            if i < 2:
                write(p + f".new{i}", b"%d" % (k % 10) * 5000)
                os.rename(p + f".new{i}", p)
            else:
                data = read(p)
                if len(data) != 5000 or len(set(data)) != 1:
                    return 1
        return 0

    t.eq(together(4, work), [0] * 4, "readers and writers")
    t.same_trees()


@test()
def appends_do_not_overlap(t):
    """Records appended by several processes all arrive whole."""
    p = write(os.path.join(t.mnt, "log"))

    def work(i):
        fd = os.open(p, os.O_WRONLY | os.O_APPEND)
        for k in range(300):
            os.write(fd, f"{i}:{k}:{'x' * (k % 50)}\n".encode())
        return 0

    t.eq(together(4, work), [0] * 4, "writers")
    lines = read(p).decode().splitlines()
    t.eq(sorted(lines), sorted(f"{i}:{k}:{'x' * (k % 50)}" for i in range(4) for k in range(300)), "records")
    t.same_trees()


@test()
def listing_while_names_change(t):
    """A listing shows every name that is there all the time, exactly once, while others come and go."""
    fixed = {f"fixed-{i}" for i in range(400)}
    for n in fixed:
        write(os.path.join(t.mnt, n))

    def work(i):
        rng = random.Random(i)
        for k in range(40 if i < 2 else 400):
            if i < 2:
                names = [n for n in os.listdir(t.mnt) if n.startswith("fixed-")]
                if len(names) != len(fixed) or set(names) != fixed:
                    return 1
            else:
                p = os.path.join(t.mnt, f"moving-{i}-{rng.randrange(50)}")
                attempt(rng.choice((os.unlink, write, lambda p: os.rename(p, p + "x"))), p)
        return 0

    t.eq(together(4, work), [0] * 4, "listings")
    t.same_trees()


@test()
def working_directory_follows_renames(t):
    """getcwd and relative names go on working when a directory above is renamed through the mount."""
    os.makedirs(os.path.join(t.mnt, "a/b/c"))
    os.chdir(os.path.join(t.mnt, "a/b/c"))
    try:
        os.rename(os.path.join(t.mnt, "a"), os.path.join(t.mnt, "z"))
        os.rename(os.path.join(t.mnt, "z/b"), os.path.join(t.mnt, "y"))
        t.eq(os.getcwd(), os.path.join(t.mnt, "y/c"), "getcwd")
        write("here", "x")
        t.eq(read(os.path.join(t.src, "y/c/here")), b"x", "a relative name")
        t.eq(sorted(os.listdir("..")), ["c"], "dot dot")
    finally:
        os.chdir("/")


@test()
def running_programs(t):
    """Programs run from the mount, may be replaced while they run, and are busy as on the host."""

    def steps(d):
        p = os.path.join(d, "cat")
        shutil.copy("/bin/cat", p)
        child = subprocess.Popen([p], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        out = [attempt(os.open, p, os.O_RDWR) if isinstance(attempt(os.open, p, os.O_RDWR), Err) else "opened"]
        shutil.copy("/bin/true", p + ".new")
        out.append(attempt(os.rename, p + ".new", p))
        out.append(subprocess.run([p]).returncode)
        out.append(child.communicate(b"still runs")[0])
        os.chmod(p, 0o644)
        out.append(attempt(subprocess.run, [p]))
        return out

    t.same(steps)


@test()
def sendfile_and_splice(t):
    """sendfile and splice move the right bytes from and to files of the mount."""
    data = random.Random(t.run.seed).randbytes(200000)
    p = write(os.path.join(t.mnt, "from"), data)
    src, dst = os.open(p, os.O_RDONLY), os.open(os.path.join(t.mnt, "to"), os.O_RDWR | os.O_CREAT)
    at = 0
    while n := os.sendfile(dst, src, at, 1 << 20):
        at += n
    t.check(read(os.path.join(t.src, "to")) == data, "sendfile")
    r, w = os.pipe()
    spliced = os.open(os.path.join(t.mnt, "spliced"), os.O_RDWR | os.O_CREAT)
    at = 0
    while n := os.splice(src, w, 65536, offset_src=at):
        left = n
        while left:
            left -= os.splice(r, spliced, left, offset_dst=at + n - left)
        at += n
    t.check(read(os.path.join(t.src, "spliced")) == data, "splice")


@test(smoke=True)
def changes_take_effect_at_once(t):
    """What one user of the mount changes, every other user of the mount sees at once: modes, owners, ACLs, names."""
    p = write(os.path.join(t.mnt, "f"), "x")
    who = (3601, 3601, ())
    for _ in range(10):
        os.chmod(p, 0o600)
        t.eq(run_as(*who, attempt, read, p), "EACCES", "after chmod 600")
        os.chmod(p, 0o644)
        t.eq(run_as(*who, attempt, read, p), b"x", "after chmod 644")
        os.chmod(t.mnt, 0o700)
        t.eq(run_as(*who, attempt, read, p), "EACCES", "after chmod 700 of the directory")
        os.chmod(t.mnt, 0o755)
        os.chmod(p, 0o600)
        os.chown(p, 3601, -1)
        t.eq(run_as(*who, attempt, read, p), b"x", "after chown")
        os.chown(p, 0, -1)
        os.rename(p, p + "2")
        t.eq(run_as(*who, attempt, os.stat, p), "ENOENT", "after a rename")
        os.rename(p + "2", p)
        t.eq(run_as(*who, lambda: os.stat(p).st_size), 1, "after a rename back")
