"""When something runs out: space, quota, descriptors; and how much a big tree costs the daemon."""

import os
import random
import shutil
import subprocess

import harness
import trees
from harness import shell
from procs import Err, attempt, error_name, run_as
from registry import test
from trees import read, write


@test(smoke=True, scope="fs")
def full_file_system(t):
    """A full file system gives ENOSPC as on the host, keeps what was written, and works again after a removal."""
    for kind, size in (("tmpfs", 1 << 20), ("ext4", 8 << 20)):
        small = harness.FileSystem(kind, t.place("small-" + kind), size=size, mkfs=("-N", "64") if kind == "ext4" else ())
        served = t.serve(small.path)
        p = os.path.join(served.path, "f")
        fd = os.open(p, os.O_RDWR | os.O_CREAT)
        total, error = 0, None
        while error is None:
            n = attempt(os.write, fd, b"x" * 65536)
            if isinstance(n, str):
                error = n
            else:
                total += n
        t.eq(error, "ENOSPC", f"{kind}: write")
        os.fsync(fd)
        t.eq(os.fstat(fd).st_size, total, f"{kind}: size")
        t.eq(attempt(os.posix_fallocate, fd, 0, size * 4), "ENOSPC", f"{kind}: fallocate")
        t.eq(os.stat(os.path.join(small.path, "f")).st_size >= total, True, f"{kind}: size on the host")
        os.close(fd)
        t.eq(read(p)[:total], b"x" * total, f"{kind}: content")
        os.unlink(p)
        # RELEASE is sent and not waited for: the space comes back a moment after close.
        t.until(lambda: not isinstance(attempt(write, p, b"again" * 1000), Err), f"{kind}: room again after the removal")
        t.eq(read(os.path.join(small.path, "f")), b"again" * 1000, f"{kind}: works again")
        made = 0
        if kind == "ext4":
            while not attempt(os.mkdir, os.path.join(served.path, f"d{made}")):
                made += 1
            t.eq(attempt(os.mkdir, os.path.join(served.path, "more")), "ENOSPC", "out of inodes")
        t.end(served)
        small.close()


@test(scope="fs")
def quotas_hold(t):
    """A user's disk quota holds for what he writes through the mount: EDQUOT, also for files and with passthrough."""
    t.need("setquota", "mkfs.ext4")
    image = harness.FileSystem
    try:
        small = image("ext4", t.place("quota"), options="usrquota", size=64 << 20,
                      mkfs=("-O", "quota", "-E", "quotatype=usrquota", "-N", "512"))
    except AssertionError:
        t.skip("the kernel has no user quotas (CONFIG_QUOTA): mount -o usrquota fails")
    code, text = shell("setquota", "-u", "3501", "0", "512", "0", "10", small.path, check=False)
    if code:
        small.close()
        t.skip(f"quotas do not work here: {text.strip()[-200:]}")
    os.mkdir(os.path.join(small.path, "home"), 0o777)
    os.chmod(os.path.join(small.path, "home"), 0o777)
    served = t.serve(small.path)

    def fill(d):
        fd = os.open(os.path.join(d, "big"), os.O_RDWR | os.O_CREAT)
        total = 0
        try:
            for _ in range(64):
                total += os.write(fd, b"q" * 65536)
                os.fsync(fd)
        except OSError as e:
            return e.errno, total <= 512 << 10
        finally:
            os.close(fd)
        return "no limit", total

    def files(d):
        for i in range(64):
            error = attempt(write, os.path.join(d, f"n{i}"))
            if isinstance(error, str) and error.startswith("E"):
                return error, i <= 10
        return "no limit"

    both = lambda d: (run_as(3501, 3501, (), fill, d), run_as(3501, 3501, (), files, d))
    home = os.path.join(small.path, "home")
    on_host = both(home)
    for name in os.listdir(home):
        os.unlink(os.path.join(home, name))
    home = os.path.join(served.path, "home")
    on_mount = both(home)
    t.eq(on_mount, on_host, "what the quota allows")
    write(os.path.join(home, "root"), b"r" * (1 << 20))
    t.end(served)
    small.close()


@test(scope="fs", fs=("btrfs",))
def subvolume_limits_hold(t):
    """The limit of a btrfs subvolume holds for what is written through the mount: EDQUOT, also with passthrough."""
    small = harness.FileSystem("btrfs", t.place("limit"), size=256 << 20)
    shell("btrfs", "quota", "enable", small.path)
    for name in ("host", "served"):
        shell("btrfs", "subvolume", "create", os.path.join(small.path, name))
        shell("btrfs", "qgroup", "limit", "2M", os.path.join(small.path, name))
    served = t.serve(os.path.join(small.path, "served"))

    def fill(d):
        fd = os.open(os.path.join(d, "big"), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            for i in range(64):
                os.pwrite(fd, os.urandom(65536), i << 16)
                os.fsync(fd)
        except OSError as e:
            return error_name(e), i < 40
        finally:
            os.close(fd)
        return "no limit", True

    on_host = fill(os.path.join(small.path, "host"))
    t.eq(on_host, ("EDQUOT", True), "the limit on the host")
    t.eq(fill(served.path), on_host, "the limit on the mount")
    t.end(served)
    small.close()


@test(scope="fs", unless_restarts="nodes that are known by a descriptor die with the daemon")
def few_descriptors(t):
    """With a small descriptor limit a big tree is still listed and read completely, whatever the identity mode."""
    source = os.path.join(t.src, "source")
    names = [f"f{i:04}" for i in range(5000)]
    for i, n in enumerate(names):
        place = os.path.join(source, f"d{i % 50}")
        os.makedirs(place, exist_ok=True)
        write(os.path.join(place, n), n)
    for identity in ("fd", "handle"):
        if t.mode == "handlefs" and t.fs == "overlay" and identity == "handle":
            continue
        served = t.serve(source, identity=identity, nofile=256)
        seen = []
        for where, _, files in os.walk(served.path):
            for n in files:
                st = os.lstat(os.path.join(where, n))
                t.eq(st.st_size, 5, f"{identity}: size of {n}")
                seen.append(n)
        t.eq(sorted(seen), names, f"{identity}: every name is listed")
        for i, n in enumerate(names):
            t.eq(attempt(read, os.path.join(served.path, f"d{i % 50}", n)), n.encode(), f"{identity}: {n}")
        fds = [attempt(os.open, os.path.join(served.path, f"d{i % 50}", names[i]), os.O_RDONLY) for i in range(100)]
        t.check(all(isinstance(fd, int) for fd in fds), f"{identity}: a hundred open files: {fds[-1]}")
        for fd in fds:
            os.close(fd)
        more = [attempt(os.open, os.path.join(served.path, f"d{i % 50}", names[i]), os.O_RDONLY) for i in range(600)]
        odd = {e for e in more if isinstance(e, str)} - {"EMFILE", "ENFILE"}
        t.check(not odd, f"{identity}: too many open files gives {odd}")
        for fd in more:
            if isinstance(fd, int):
                os.close(fd)
        t.eq(attempt(read, os.path.join(served.path, "d7/f0007")), b"f0007", f"{identity}: works afterwards")
        t.end(served)


def memory(pid):
    with open(f"/proc/{pid}/status") as f:
        kib = next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))
    return kib * 1024, len(os.listdir(f"/proc/{pid}/fd"))


def walk(t, count):
    source = os.path.join(t.src, "big")
    for i in range(count):
        if i % 500 == 0:
            place = os.path.join(source, f"{i // 50000}/{i // 500}")
            os.makedirs(place)
        os.close(os.open(f"{place}/file-{i}", os.O_CREAT | os.O_WRONLY, 0o644))
    served = t.serve(source)
    os.listdir(served.path)
    pid = served.pid if served.process else os.getpid()
    rss, fds = memory(pid)
    seen = 0
    for where, _, files in os.walk(served.path):
        for n in files:
            os.lstat(os.path.join(where, n))
            seen += 1
    rss_after, fds_after = memory(pid)
    t.eq(seen, count, "files seen")
    t.note(f"walk: fs={t.fs} files={count} rss_growth={(rss_after - rss) / count:.1f} bytes/file fds={fds_after - fds}")
    if t.mode == "handlefs" and t.config.get("identity") == "handle":
        t.check(fds_after - fds < 64, f"{fds_after - fds} descriptors stay open after a walk")
    t.end(served)
    shutil.rmtree(source)


@test(limit=300)
def walk_a_tree(t):
    """Walking a big tree keeps no descriptor per file open, and little memory."""
    walk(t, 20000)


@test(full=True, scope="fs", limit=900)
def walk_a_huge_tree(t):
    """Walking a huge tree keeps no descriptor per file open, and little memory."""
    walk(t, 300000)


def _storm(root, seed, steps):
    rng = random.Random(seed)
    names = [f"{d}/n{i}" for d in ("a", "b", "c") for i in range(12)]
    for _ in range(steps):
        p, q = (os.path.join(root, rng.choice(names)) for _ in range(2))
        kind = rng.randrange(12)
        if kind < 3:
            attempt(write, p, rng.randbytes(rng.randrange(0, 20000)))
        elif kind == 3:
            attempt(os.rename, p, q)
        elif kind == 4:
            attempt(os.unlink, p)
        elif kind == 5:
            attempt(os.mkdir, p)
        elif kind == 6:
            attempt(os.rmdir, p)
        elif kind == 7:
            attempt(os.link, p, q)
        elif kind == 8:
            attempt(os.symlink, "a/n1", p)
        elif kind == 9:
            attempt(os.truncate, p, rng.randrange(0, 30000))
        elif kind == 10:
            attempt(os.listdir, os.path.dirname(p))
            attempt(read, q)
        else:
            attempt(os.chmod, p, rng.choice((0o644, 0o600, 0o755)))
            attempt(os.setxattr, q, "user.storm", rng.randbytes(8))


@test(smoke=True)
def storm(t):
    """Several processes that create, rename, link, change and remove the same names at once leave mount and host equal."""
    for d in "abc":
        os.mkdir(os.path.join(t.mnt, d))
    pids = []
    for i in range(4):
        pid = os.fork()
        if pid == 0:
            try:
                _storm(t.mnt, t.run.seed * 100 + i, 5000)
                os._exit(0)
            except BaseException as e:
                os.write(2, f"storm: {type(e).__name__}: {e}\n".encode())
                os._exit(1)
        pids.append(pid)
    t.eq([os.waitpid(pid, 0)[1] for pid in pids], [0] * 4, "all of them end well")
    t.same_trees()
    code = subprocess.run(["rm", "-rf", *(os.path.join(t.mnt, d) for d in "abc")]).returncode
    t.eq((code, os.listdir(t.mnt), os.listdir(t.src)), (0, [], []), "everything can be removed")
    t.eq(trees.listing(t.mnt).keys(), {"."}, "nothing is left")
