"""What programs hold of a mount, and have still after its server was killed, restarted or upgraded."""

import fcntl
import mmap
import os
import shutil

import syscalls
from procs import Actor, a_close, a_flock, a_open, a_posix, a_test, attempt
from registry import test

WAYS = ("crash", "restart", "upgrade")


def away(t, daemon, way):
    """The server goes and another comes."""
    if way == "crash":
        daemon.kill_server()
        return
    before = daemon.ask("status")["generation"]
    words = ["restart"]
    if way == "upgrade":
        program = os.path.join(t.work, "another handlefs")
        if not os.path.exists(program):
            shutil.copy(t.program, program)
        words = ["upgrade", program]
    answer = daemon.ask(*words)
    t.check(answer["ok"], f"{way}: {answer}")
    t.eq(answer["generation"], before + 1, f"generation after {way}")
    t.check(answer["pause_ms"] > 0, f"the pause of {way}: {answer}")


def each_way(t, daemon, check):
    """All ways twice: what was taken over must be taken over again."""
    for way in WAYS + WAYS:
        away(t, daemon, way)
        check(way)


def cwd_of(path, names):
    """What a process sees that stands in a directory that is removed."""
    out = [os.stat(".").st_nlink, attempt(os.listdir, "."), attempt(os.mkdir, "new")]
    fd = attempt(os.open, ".", os.O_RDONLY | os.O_DIRECTORY)
    out.append("opened" if isinstance(fd, int) else fd)
    if isinstance(fd, int):
        os.close(fd)
    return out


def stand_in(path):
    os.chdir(path)
    os.rmdir(path)
    return True


@test(smoke=True)
def unlinked_files_live_on(t):
    """Open files without a name keep content, size and attributes, can be written on, and get a name if they may."""
    daemon = t.serve()
    path = os.path.join(t.mnt, "f")
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
    os.write(fd, b"content")
    os.unlink(path)
    unnamed = os.open(t.mnt, os.O_RDWR | os.O_TMPFILE, 0o600)
    os.write(unnamed, b"unnamed")
    inode = os.fstat(fd).st_ino
    wanted = b"content"

    def check(way):
        nonlocal wanted
        t.eq(os.pread(fd, 100, 0), wanted, f"content after {way}")
        st = os.fstat(fd)
        t.eq((st.st_ino, st.st_nlink, st.st_mode & 0o777, st.st_size), (inode, 0, 0o640, len(wanted)), f"attributes after {way}")
        os.pwrite(fd, b"+", len(wanted))
        wanted += b"+"
        os.ftruncate(unnamed, 7)
        t.eq(os.pread(unnamed, 100, 0), b"unnamed", f"O_TMPFILE after {way}")

    each_way(t, daemon, check)
    syscalls.link_open_file(unnamed, path)
    t.eq(os.stat(path).st_ino, os.fstat(unnamed).st_ino, "the name of the O_TMPFILE")
    os.close(fd)
    os.close(unnamed)
    with open(os.path.join(t.src, "f"), "rb") as f:
        t.eq(f.read(), b"unnamed", "what the host has")
    daemon.rest()
    daemon.kill_server()
    t.eq(daemon.ask("status")["kept_descriptors"], 0, "descriptors that nobody needs any more")


@test()
def removed_working_directory(t):
    """A process in a directory that was removed sees what it would see on the host."""
    daemon = t.serve()
    twin = os.path.join(t.work, "twin")
    for place in (os.path.join(t.mnt, "d"), twin):
        os.mkdir(place)
    with Actor() as host, Actor() as client:
        host.call(stand_in, twin)
        client.call(stand_in, os.path.join(t.mnt, "d"))
        wanted = host.call(cwd_of, "", "")

        def check(way):
            t.eq(client.call(cwd_of, "", ""), wanted, f"the removed directory after {way}")

        check("nothing")
        each_way(t, daemon, check)


@test()
def mappings_live_on(t):
    """A mapped file is read and written on, whoever serves, and what was stored is on the host in the end."""
    daemon = t.serve()
    path = os.path.join(t.mnt, "f")
    size = 1 << 20
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.truncate(fd, size)
    area = mmap.mmap(fd, size)
    os.close(fd)
    step = 0

    def check(way):
        nonlocal step
        t.eq(area[step * 5000:step * 5000 + 5], bytes(5), f"a page that nobody read yet, after {way}")
        area[step * 5000:step * 5000 + 5] = b"12345"
        step += 1
        t.eq(area[0:5], b"12345" if step else bytes(5), f"a page that was written, after {way}")

    check("nothing")
    each_way(t, daemon, check)
    area.flush()
    area.close()
    with open(os.path.join(t.src, "f"), "rb") as f:
        data = f.read()
    t.eq([data[i * 5000:i * 5000 + 5] for i in range(step)], [b"12345"] * step, "what the host has")


@test()
def files_open_again_beside(t):
    """A file that stays open is opened and written a second time after each restart (in passthrough: by the same backing)."""
    daemon = t.serve()
    path = os.path.join(t.mnt, "f")
    first = os.open(path, os.O_RDWR | os.O_CREAT)
    at = 0

    def check(way):
        nonlocal at
        second = os.open(path, os.O_RDWR)
        os.pwrite(second, b"s", at)
        os.pwrite(first, b"f", at + 1)
        at += 2
        t.eq(os.pread(second, 100, 0), b"sf" * (at // 2), f"by the second after {way}")
        t.eq(os.pread(first, 100, 0), b"sf" * (at // 2), f"by the first after {way}")
        os.close(second)

    check("nothing")
    each_way(t, daemon, check)
    for _ in range(20):
        daemon.kill_server()
        check("a crash")
    os.close(first)


@test(smoke=True)
def locks_live_on(t):
    """POSIX, flock and OFD locks are held on, are seen by host processes, and whoever waits gets them when they are let go."""
    daemon = t.serve()
    path, host = os.path.join(t.mnt, "f"), os.path.join(t.src, "f")
    read, write, none = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK
    with Actor() as a, Actor() as b, Actor() as c, Actor() as h:
        for actor in (a, b, c):
            actor.call(a_open, "f", path)
        h.call(a_open, "f", host)

        def check(way):
            a.call(a_posix, "f", write, 0, 10)
            a.call(a_posix, "f", read, 20, 10)
            a.call(a_flock, "f", fcntl.LOCK_EX)
            b.call(a_posix, "f", write, 100, 10, False, True)
            b.start(a_posix, "f", write, 0, 5, True)
            c.start(a_flock, "f", fcntl.LOCK_SH)
            for waiter in (b, c):
                waiter.await_block()
            away(t, daemon, way)
            t.check(not b.ready() and not c.ready(), f"nobody has what is held, after {way}")
            t.eq(h.call(a_test, "f", write, 0, 1), (write, 0, 10), f"POSIX lock as the host sees it, after {way}")
            t.eq(h.call(a_test, "f", write, 20, 1), (read, 20, 10), f"read lock after {way}")
            t.eq(h.call(a_test, "f", read, 100, 1, True), (write, 100, 10), f"OFD lock after {way}")
            # The read lock becomes a write lock on the other side.
            a.call(a_posix, "f", write, 20, 10)
            t.eq(h.call(a_test, "f", read, 20, 1), (write, 20, 10), f"upgraded lock after {way}")
            a.call(a_posix, "f", none, 0, 0)
            t.check(b.result(), f"the waiter gets the POSIX lock, after {way}")
            a.call(a_flock, "f", fcntl.LOCK_UN)
            t.check(c.result(), f"the waiter gets the flock, after {way}")
            for actor in (b, c):
                actor.call(a_posix, "f", none, 0, 0)
                actor.call(a_posix, "f", none, 0, 0, False, True)
                actor.call(a_flock, "f", fcntl.LOCK_UN)
            t.eq(h.call(a_test, "f", write), None, f"nothing is left, after {way}")

        for way in WAYS + WAYS:
            check(way)
        # A lock goes with its owner, also if a server that is gone gave it.
        a.call(a_posix, "f", write, 0, 10)
        daemon.kill_server()
        a.call(a_close, "f")
        t.eq(h.call(a_test, "f", write), None, "after close")


@test()
def names_live_on(t):
    """Names that are known not to be there, and those that are, are right after the server is gone."""
    daemon = t.serve(cache="always")
    os.mkdir(os.path.join(t.mnt, "d"))
    names = [os.path.join(t.mnt, "d", f"n{i}") for i in range(20)]
    for name in names[::2]:
        os.mknod(name)

    def check(way):
        got = [attempt(os.stat, name) for name in names]
        t.eq([g == "ENOENT" for g in got], [i % 2 == 1 for i in range(20)], f"names after {way}")

    check("nothing")
    each_way(t, daemon, check)
    os.mknod(names[1])
    os.unlink(names[0])
    t.eq((attempt(os.stat, names[0]), os.path.exists(names[1])), ("ENOENT", True), "changes afterwards")


@test()
def listings_go_on(t):
    """A directory that is being listed is listed on: each name once, none missing."""
    daemon = t.serve()
    place = os.path.join(t.mnt, "d")
    os.mkdir(place)
    wanted = {f"name-{i:05}-{'x' * 80}" for i in range(3000)}
    for name in wanted:
        os.mknod(os.path.join(t.src, "d", name))
    got = []
    ways = iter(WAYS + WAYS + WAYS)
    with os.scandir(place) as entries:
        for i, entry in enumerate(entries):
            got.append(entry.name)
            if i % 400 == 399:
                away(t, daemon, next(ways, "crash"))
    t.eq(len(got), len(set(got)), "no name comes twice")
    t.eq(set(got), wanted, "all names come")
