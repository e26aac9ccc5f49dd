"""Programs that people run on their files."""

import os
import random
import shutil
import sqlite3
import struct
import subprocess

import syscalls
import trees
from harness import shell
from procs import attempt, until
from registry import test
from syscalls import ACL_GROUP, ACL_GROUP_OBJ, ACL_MASK, ACL_OTHER, ACL_USER, ACL_USER_OBJ, acl
from trees import read, write

GIT = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "GIT_OPTIONAL_LOCKS": "0",
       "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@a", "GIT_COMMITTER_NAME": "c", "GIT_COMMITTER_EMAIL": "c@c", "GIT_AUTHOR_DATE": "1700000000 +0000",
       "GIT_COMMITTER_DATE": "1700000000 +0000"}


def git(at, *args):
    return shell("git", "-C", at, *args, env={**os.environ, **GIT})


@test(limit=300)
def git_repository(t):
    """git clones, commits, checks out, packs and verifies on the mount, and sees no changes where there are none."""
    t.need("git")
    rng = random.Random(t.run.seed)
    origin = os.path.join(t.twin, "origin")
    places = trees.make_tree(origin, 20, 300, rng)
    git(origin, "init", "-q", "-b", "main")
    git(origin, "add", "-A")
    git(origin, "commit", "-q", "-m", "first")
    for i in range(12):
        write(os.path.join(rng.choice(places), f"new{i}.txt"), rng.randbytes(500))
        git(origin, "add", "-A")
        git(origin, "commit", "-q", "-m", f"commit {i}")
    clone = os.path.join(t.mnt, "clone")
    git(t.mnt, "clone", "-q", "--no-hardlinks", origin, clone)
    git(clone, "fsck", "--strict", "--no-progress")
    t.eq(git(clone, "status", "--porcelain"), "", "status after clone")
    git(clone, "checkout", "-q", "HEAD~8")
    git(clone, "checkout", "-q", "main")
    write(os.path.join(clone, "mine"), "mine")
    git(clone, "add", "mine")
    git(clone, "commit", "-q", "-m", "mine")
    git(clone, "gc", "-q")
    git(clone, "fsck", "--strict", "--no-progress")
    t.eq(git(clone, "status", "--porcelain"), "", "status after gc")
    t.eq(git(os.path.join(t.src, "clone"), "status", "--porcelain"), "", "status on the host")
    git(t.mnt, "clone", "-q", clone, os.path.join(t.mnt, "linked"))
    git(os.path.join(t.mnt, "linked"), "fsck", "--no-progress")
    t.same_trees()


def rich_tree(root, seed):
    """Owners, modes, xattrs, ACLs, hard links, sparse files, odd names: what an archive has to keep."""
    rng = random.Random(seed)
    places = trees.make_tree(root, 8, 60, rng)
    names = [os.path.join(w, f) for w, _, fs in os.walk(root) for f in sorted(fs)]
    for i, name in enumerate(names):
        os.chown(name, 2000 + i % 5, 2100 + i % 3)
        os.chmod(name, rng.choice((0o644, 0o600, 0o755, 0o4755, 0o2711, 0o400)))
        if i % 3 == 0:
            os.setxattr(name, "user.note", rng.randbytes(40))
        if i % 7 == 0:
            os.link(name, name + ".link")
        os.utime(name, ns=(10**9, 10**18 + i * 1234567))
    os.symlink("f1.txt", os.path.join(root, "sym"))
    os.lchown(os.path.join(root, "sym"), 2001, 2101)
    os.mkfifo(os.path.join(root, "fifo"), 0o620)
    os.mknod(os.path.join(root, "dev"), 0o600 | 0o020000, os.makedev(1, 7))
    with open(os.path.join(root, "sparse"), "wb") as f:
        f.truncate(3 << 20)
        f.seek(1 << 20)
        f.write(b"middle")
    write(os.path.join(root, "with cap"), "x")
    os.setxattr(os.path.join(root, "with cap"), "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0))
    rule = acl((ACL_USER_OBJ, 7), (ACL_USER, 6, 2002), (ACL_GROUP_OBJ, 5), (ACL_GROUP, 4, 2102), (ACL_MASK, 7), (ACL_OTHER, 1))
    for i, place in enumerate(places):
        attempt(os.setxattr, place, "system.posix_acl_default" if i % 2 else "system.posix_acl_access", rule)
    for i, place in enumerate(reversed(places)):
        os.utime(place, ns=(10**9, 10**18 + i))


def plain(root):
    """A listing without what no archive can keep: ctime, and link counts of directories."""
    out = {}
    for name, row in trees.listing(root, times=False).items():
        path = os.path.join(root, name)
        out[name] = row + [os.lstat(path).st_mtime_ns]
        if os.path.isdir(path) and not os.path.islink(path):
            del out[name][4]
    return out


def same_listing(t, left, right, what):
    wrong = trees.differences(plain(left), plain(right), ("before", "after"))
    t.check(not wrong, f"{what}: " + "; ".join(wrong))
    t.eq(trees.link_groups(right), trees.link_groups(left), f"{what}: hard links")


@test(smoke=True, limit=300)
def tar_round_trip(t):
    """tar keeps owners, modes, times, xattrs, ACLs, capabilities and hard links, packing and unpacking on the mount."""
    t.need("tar")
    tree, archive = os.path.join(t.twin, "tree"), os.path.join(t.work, "a.tar")
    rich_tree(tree, t.run.seed)
    flags = ["--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "--sparse"]
    shell("tar", "-C", tree, *flags, "-cf", archive, ".")
    out = os.path.join(t.mnt, "out")
    os.mkdir(out)
    shell("tar", "-C", out, *flags, "-xpf", archive)
    same_listing(t, tree, out, "unpacked on the mount")
    again = os.path.join(t.work, "b.tar")
    shell("tar", "-C", out, *flags, "-cf", again, ".")
    back = os.path.join(t.twin, "back")
    os.mkdir(back)
    shell("tar", "-C", back, *flags, "-xpf", again)
    same_listing(t, tree, back, "packed on the mount")
    t.same_trees()


@test()
def cp_keeps_everything(t):
    """cp -a to, on and from the mount keeps everything, with --reflink=auto and with sparse files."""
    tree = os.path.join(t.twin, "tree")
    rich_tree(tree, t.run.seed + 1)
    one, two, back = os.path.join(t.mnt, "one"), os.path.join(t.mnt, "two"), os.path.join(t.twin, "back")
    for source, target in ((tree, one), (one, two), (two, back)):
        shell("cp", "-a", "--reflink=auto", source, target)
        same_listing(t, tree, target, f"copy to {os.path.basename(target)}")
    shell("diff", "-r", "--no-dereference", os.path.join(one, "d0"), os.path.join(two, "d0"))
    t.same_trees()


@test()
def rsync_sees_no_difference(t):
    """rsync -aHAX copies to the mount and then finds nothing left to do, in both directions."""
    t.need("rsync")
    tree = os.path.join(t.twin, "tree")
    rich_tree(tree, t.run.seed + 2)
    flags = ["-aHAX", "--numeric-ids"]
    shell("rsync", *flags, tree + "/", os.path.join(t.mnt, "to") + "/")
    for a, b in ((tree, os.path.join(t.mnt, "to")), (os.path.join(t.mnt, "to"), tree),
                 (os.path.join(t.mnt, "to"), os.path.join(t.src, "to"))):
        t.eq(shell("rsync", *flags, "-n", "-i", "--delete", "-c", a + "/", b + "/"), "", f"dry run {a} to {b}")


@test(smoke=True)
def find_and_ls_agree_with_host(t):
    """find, ls -laR, du and stat print the same for the mount as for the host."""
    rich_tree(os.path.join(t.src, "tree"), t.run.seed + 3)
    host, mount = os.path.join(t.src, "tree"), os.path.join(t.mnt, "tree")
    programs = [["find", ".", "-printf", "%p %y %m %U %G %n %s %T@ %l\\n"], ["ls", "-lanR", "--time-style=full-iso"],
                ["du", "-a", "--apparent-size", "-b"], ["find", ".", "-links", "+1", "-type", "f"],
                ["tar", "--numeric-owner", "--sort=name", "-cf", "-", "."], ["du", "-sk"]]
    for argv in programs:
        a, b = shell(*argv, cwd=host), shell(*argv, cwd=mount)
        t.check(sorted(a.splitlines()) == sorted(b.splitlines()), f"{' '.join(argv)} differs: "
                + "; ".join(sorted(set(a.splitlines()) ^ set(b.splitlines()))[:4]))
    t.same_trees()


def _insert(path, who, count):
    db = sqlite3.connect(path, timeout=100, isolation_level=None)
    for i in range(count):
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO t VALUES (?, ?)", (who, i))
        db.execute("UPDATE total SET n = n + 1")
        db.execute("COMMIT")
    db.close()


def sqlite_story(t, journal, where):
    path = os.path.join(t.mnt, f"{journal}.db")
    db = sqlite3.connect(path, isolation_level=None)
    t.eq(db.execute(f"PRAGMA journal_mode={journal}").fetchone()[0], journal, "journal mode")
    db.execute("CREATE TABLE t (who INTEGER, i INTEGER)")
    db.execute("CREATE TABLE total (n INTEGER)")
    db.execute("INSERT INTO total VALUES (0)")
    db.close()
    pids = []
    for who in range(3):
        pid = os.fork()
        if pid == 0:
            try:
                _insert(os.path.join(where(who), f"{journal}.db"), who, 60)
                os._exit(0)
            except BaseException as e:
                os.write(2, f"sqlite: {e}\n".encode())
                os._exit(1)
        pids.append(pid)
    t.eq([os.waitpid(pid, 0)[1] for pid in pids], [0, 0, 0], "writers")
    for place in (path, os.path.join(t.src, f"{journal}.db")):
        db = sqlite3.connect(place)
        t.eq(db.execute("SELECT n FROM total").fetchone()[0], 180, "no update is lost")
        t.eq(db.execute("SELECT count(*) FROM t").fetchone()[0], 180, "no row is lost")
        t.eq(db.execute("PRAGMA integrity_check").fetchone()[0], "ok", "integrity")
        db.close()


@test(limit=300)
def sqlite_rollback_journal(t):
    """SQLite with a rollback journal loses nothing with several processes writing on the mount."""
    sqlite_story(t, "delete", lambda who: t.mnt)


@test(limit=300)
def sqlite_write_ahead_log(t):
    """SQLite in WAL mode (shared memory through mmap) loses nothing with several processes writing on the mount."""
    sqlite_story(t, "wal", lambda who: t.mnt)


@test(limit=300, needs={"locks": (None, "host"), "cache": (None, "none")})
def sqlite_with_the_host(t):
    """SQLite on the mount and SQLite on the host exclude each other with the rollback journal."""
    sqlite_story(t, "delete", lambda who: t.src if who else t.mnt)


@test(limit=600)
def c_build(t):
    """make and cc build a project on the mount; make then finds nothing to do, and everything again after a touch."""
    t.need("make", "cc")
    n = 50
    for i in range(n):
        write(os.path.join(t.mnt, f"m{i}.c"), f'#include "all.h"\nint f{i}(int x) {{ return x * {i} + 1; }}\n')
    write(os.path.join(t.mnt, "all.h"), "".join(f"int f{i}(int);\n" for i in range(n)))
    body = " + ".join(f"f{i}(1)" for i in range(n))
    write(os.path.join(t.mnt, "main.c"), f'#include <stdio.h>\n#include "all.h"\nint main(void) {{ printf("%d\\n", {body}); }}\n')
    objects = " ".join(f"m{i}.o" for i in range(n)) + " main.o"
    write(os.path.join(t.mnt, "Makefile"),
          f"program: libm.a main.o\n\tcc -o $@ main.o -L. -lm\nlibm.a: {objects}\n\tar rcs $@ $^\n%.o: %.c all.h\n\tcc -c -o $@ $<\n")
    shell("make", "-s", "-j2", cwd=t.mnt)
    wanted = str(sum(i + 1 for i in range(n)))
    t.eq(shell(os.path.join(t.mnt, "program")).strip(), wanted, "the program")
    t.check(subprocess.run(["make", "-q"], cwd=t.mnt).returncode == 0, "make finds nothing to do")
    os.utime(os.path.join(t.mnt, "all.h"))
    t.check(subprocess.run(["make", "-q"], cwd=t.mnt).returncode == 1, "make sees a newer header")
    shell("make", "-s", "-j2", cwd=t.mnt)
    t.eq(shell(os.path.join(t.src, "program")).strip(), wanted, "the program on the host")
    t.same_trees()


@test(smoke=True)
def editors_save(t):
    """The ways in which editors save a file keep content, owner and mode: write over, temporary and rename, backup."""

    def steps(d):
        out = []
        p = write(os.path.join(d, "text"), "version 1")
        os.chown(p, 1234, 2345)
        os.chmod(p, 0o640)
        st = os.stat(p)
        for i in range(2, 6):
            temporary = os.path.join(d, f".text.{i}.swp")
            fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(fd, b"version %d" % i)
            os.fchown(fd, st.st_uid, st.st_gid)
            os.fchmod(fd, st.st_mode & 0o7777)
            os.fsync(fd)
            os.close(fd)
            if i % 2:
                os.rename(p, p + "~")
            elif i == 4:
                attempt(os.unlink, p + "~")
                os.link(p, p + "~")
            os.rename(temporary, p)
            dfd = os.open(d, os.O_RDONLY)
            os.fsync(dfd)
            os.close(dfd)
            now = os.stat(p)
            out.append((read(p), now.st_uid, now.st_gid, oct(now.st_mode), now.st_nlink, sorted(os.listdir(d)),
                        attempt(read, p + "~")))
        with open(p, "r+b") as f:
            f.write(b"over")
            f.truncate()
            f.flush()
            os.fsync(f.fileno())
        out.append(read(p))
        return out

    t.same(steps)
    t.same_trees()


@test()
def inotify_through_the_mount(t):
    """Programs that watch a directory of the mount see what happens through the mount."""
    libc = syscalls.libc
    fd = libc.inotify_init1(os.O_NONBLOCK)
    libc.inotify_add_watch(fd, os.fsencode(t.mnt), 0x3CE)
    p = write(os.path.join(t.mnt, "f"), "x")
    os.chmod(p, 0o600)
    os.rename(p, p + "2")
    os.unlink(p + "2")
    os.mkdir(p)
    seen = []

    def collect():
        try:
            raw = os.read(fd, 65536)
        except BlockingIOError:
            raw = b""
        at = 0
        while at < len(raw):
            _, mask, _, n = struct.unpack_from("iIII", raw, at)
            seen.append((mask & 0xFFF, raw[at + 16:at + 16 + n].rstrip(b"\0")))
            at += 16 + n
        return all(w in seen for w in wanted)

    wanted = [(0x100, b"f"), (0x2, b"f"), (0x8, b"f"), (0x4, b"f"), (0x40, b"f"), (0x80, b"f2"), (0x200, b"f2"), (0x100, b"f")]
    until(collect, "all events")


@test(full=True, limit=600)
def fio_verifies(t):
    """fio writes random blocks by every engine and finds every checksum again."""
    t.need("fio")
    for engine, direct in (("sync", 0), ("psync", 1), ("mmap", 0), ("libaio", 1), ("io_uring", 0)):
        if direct and isinstance(attempt(os.open, write(os.path.join(t.mnt, "probe"), "x"), os.O_RDWR | os.O_DIRECT), str):
            continue
        code, text = shell("fio", "--name=v", f"--filename={t.mnt}/{engine}", "--size=24m", "--rw=randrw", "--bsrange=4k-64k",
                           "--verify=crc32c", "--verify_fatal=1", f"--ioengine={engine}", f"--direct={direct}", "--iodepth=8",
                           "--blockalign=4k", f"--randseed={t.run.seed}", "--fallocate=none", check=False, cwd=t.work)
        t.check(code == 0, f"fio {engine}: {text[-500:]}")
        host, mount = os.path.join(t.src, engine), os.path.join(t.mnt, engine)
        t.eq(shell("cmp", host, mount), "", f"{engine}: host and mount")


@test()
def python_programs(t):
    """A program with its modules runs from the mount, byte code caches included."""
    package = os.path.join(t.mnt, "package")
    os.mkdir(package)
    for i in range(30):
        write(os.path.join(package, f"m{i}.py"), f"value = {i}\n")
    write(os.path.join(t.mnt, "main.py"), "import importlib\n"
          "print(sum(importlib.import_module(f'package.m{i}').value for i in range(30)))\n")
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    for _ in range(2):
        t.eq(shell("python3", os.path.join(t.mnt, "main.py"), cwd=t.work, env=env).strip(), "435", "the program")
    t.check(os.path.isdir(os.path.join(package, "__pycache__")), "byte code is cached")
    shutil.rmtree(package)
    t.same_trees()
