"""Reading, writing, mapping, allocating: the bytes, and the times and sizes that go with them."""

import ctypes
import errno
import fcntl
import mmap
import os
import random
import signal

import syscalls
from procs import Actor, Err, attempt, until
from registry import test
from syscalls import FALLOC_COLLAPSE, FALLOC_INSERT, FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE, libc
from trees import read, write


def times(p):
    st = os.stat(p)
    return st.st_mtime_ns, st.st_ctime_ns


@test(smoke=True)
def mapped_writes_move_times(t):
    """Writing through a shared mapping moves mtime and ctime, and everybody sees the data."""
    p = write(os.path.join(t.mnt, "f"), b"0" * 8192)
    os.utime(p, ns=(10**9, 10**9))
    before = times(p)
    fd = os.open(p, os.O_RDWR)
    m = mmap.mmap(fd, 8192)
    m[4096:4101] = b"store"
    m.flush()
    os.fsync(fd)
    t.check(times(p)[0] != before[0], "mtime did not move after a store and fsync")
    t.check(times(p)[1] != before[1], "ctime did not move after a store and fsync")
    os.utime(p, ns=(10**9, 10**9))
    m[0:1] = b"1"
    m.flush()
    m.close()
    os.close(fd)
    t.check(times(p)[0] != 10**9, "mtime did not move after a store and close")
    host = os.path.join(t.src, "f")
    t.eq(times(p), times(host), "times on the mount and on the host")
    t.eq(read(p), read(host), "content")
    t.eq(read(p)[4096:4101], b"store", "content")


@test()
def mapping_and_write_agree(t):
    """A mapping, a descriptor and a second descriptor of one file always show the same bytes."""

    def steps(d):
        p = write(os.path.join(d, "f"), b"a" * 20000)
        fd, other = os.open(p, os.O_RDWR), os.open(p, os.O_RDWR)
        m = mmap.mmap(fd, 20000)
        out = []
        os.pwrite(other, b"written", 5000)
        out.append(m[5000:5007])
        m[9000:9006] = b"stored"
        out.append(os.pread(other, 6, 9000))
        os.ftruncate(other, 30000)
        out.append(os.fstat(fd).st_size)
        os.pwrite(fd, b"end", 29997)
        out.append(os.pread(other, 10, 29995))
        m.resize(30000)
        out.append(m[29990:])
        private = mmap.mmap(fd, 100, flags=mmap.MAP_PRIVATE)
        private[0:3] = b"mine"[:3]
        out.append(os.pread(fd, 3, 0))
        os.close(fd)
        m[1:2] = b"Z"
        m.flush()
        out.append(os.pread(other, 2, 0))
        m.close()
        os.close(other)
        out.append(read(p) == read(p))
        return out

    t.same(steps)
    t.same_trees()


@test()
def mapping_of_an_unlinked_file(t):
    """A mapping lives on after close and unlink."""

    def steps(d):
        p = write(os.path.join(d, "f"), b"a" * 10000)
        fd = os.open(p, os.O_RDWR)
        m = mmap.mmap(fd, 10000)
        os.close(fd)
        os.unlink(p)
        m[9999:] = b"!"
        m.flush()
        return m[9998:], os.listdir(d)

    t.same(steps)


@test()
def sizes_after_every_kind_of_write(t):
    """stat shows the right size and a moved mtime at once after write, append, truncate, pwrite, fallocate."""
    p = os.path.join(t.mnt, "f")
    fd = os.open(p, os.O_RDWR | os.O_CREAT)
    app = os.open(p, os.O_WRONLY | os.O_APPEND)
    steps = [(lambda: os.write(fd, b"x" * 100), 100), (lambda: os.write(app, b"y" * 10), 110),
             (lambda: os.pwrite(fd, b"z", 5000), 5001), (lambda: os.ftruncate(fd, 7), 7),
             (lambda: os.write(app, b"12"), 9), (lambda: os.truncate(p, 3), 3),
             (lambda: os.writev(app, [b"1", b"23"]), 6)]
    for i, (step, size) in enumerate(steps):
        os.utime(p, ns=(10**9, 10**9))
        step()
        for who, st in (("fstat", os.fstat(fd)), ("stat", os.stat(p)), ("host", os.stat(os.path.join(t.src, "f")))):
            t.eq(st.st_size, size, f"{who} size after step {i}")
            t.check(st.st_mtime_ns != 10**9, f"{who}: mtime moved after step {i}")
        t.eq(os.lseek(fd, 0, os.SEEK_END), size, "SEEK_END")
        os.lseek(fd, 0, os.SEEK_SET)
    os.close(fd)
    os.close(app)
    t.same_trees()


@test(smoke=True)
def fallocate_modes(t):
    """fallocate allocates, punches, zeroes, collapses and inserts as the host does."""

    def steps(d):
        fd = os.open(os.path.join(d, "f"), os.O_RDWR | os.O_CREAT)
        out = []
        os.pwrite(fd, bytes(range(256)) * 256, 0)
        for mode, offset, length in ((0, 0, 100000), (FALLOC_KEEP_SIZE, 0, 300000), (0, -1, 5), (0, 0, 0),
                                     (FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 4096, 8192), (FALLOC_PUNCH_HOLE, 0, 4096),
                                     (FALLOC_ZERO_RANGE, 20000, 5000), (1 << 20, 0, 1)):
            out.append((mode, attempt(syscalls.fallocate, fd, mode, offset, length)))
            st = os.fstat(fd)
            out.append((st.st_size, hash(os.pread(fd, 1 << 20, 0)) & 0xFFFF))
        os.posix_fallocate(fd, 0, 400000)
        out.append(os.fstat(fd).st_size)
        os.close(fd)
        reader = os.open(os.path.join(d, "f"), os.O_RDONLY)
        out.append(attempt(syscalls.fallocate, reader, 0, 0, 10))
        os.close(reader)
        return out

    t.same(steps)
    t.same_trees()


@test()
def collapse_and_insert(t):
    """fallocate collapses and inserts ranges as the host does, or says EOPNOTSUPP (Linux FUSE does) and changes nothing."""
    data = random.Random(t.run.seed).randbytes(65536)
    for mode in (FALLOC_COLLAPSE, FALLOC_INSERT):
        outcome = []
        for d in (t.twin, t.mnt):
            p = write(os.path.join(d, f"f{mode}"), data)
            fd = os.open(p, os.O_RDWR)
            outcome.append((attempt(syscalls.fallocate, fd, mode, 8192, 4096), read(p)))
            os.close(fd)
        on_host, on_mount = outcome
        t.check(on_mount == on_host or on_mount == ("EOPNOTSUPP", data), f"mode {mode}: {on_host[0]} {on_mount[0]}")


@test(smoke=True)
def holes_and_seek(t):
    """SEEK_DATA and SEEK_HOLE find the holes that the host has; st_blocks shows them."""

    def steps(d):
        fd = os.open(os.path.join(d, "f"), os.O_RDWR | os.O_CREAT)
        os.ftruncate(fd, 1 << 20)
        os.pwrite(fd, b"d" * 4096, 256 << 10)
        os.pwrite(fd, b"d" * 4096, 512 << 10)
        os.fsync(fd)
        out = []
        for whence in (os.SEEK_DATA, os.SEEK_HOLE):
            for offset in (0, 256 << 10, (256 << 10) + 1, 300 << 10, 600 << 10, (1 << 20) - 1, 1 << 20, -1):
                out.append(attempt(os.lseek, fd, offset, whence))
        out.append(os.fstat(fd).st_blocks)
        out.append(attempt(os.lseek, fd, -5, os.SEEK_SET))
        out.append(os.lseek(fd, -5, os.SEEK_END))
        os.close(fd)
        return out

    t.same(steps)


@test(smoke=True)
def copy_file_range_works(t):
    """copy_file_range copies between files of the mount with the host's results, also within one file."""

    def steps(d):
        data = random.Random(t.run.seed).randbytes(300000)
        write(os.path.join(d, "a"), data)
        a = os.open(os.path.join(d, "a"), os.O_RDWR)
        b = os.open(os.path.join(d, "b"), os.O_RDWR | os.O_CREAT)
        out = []
        done = 0
        while n := os.copy_file_range(a, b, 1 << 20, done, done):
            done += n
        out.append(done)
        out.append(read(os.path.join(d, "b")) == data)
        out.append(attempt(os.copy_file_range, a, a, 1000, 0, 200000))
        out.append(attempt(os.copy_file_range, a, a, 1000, 0, 500))
        out.append(attempt(os.copy_file_range, a, b, 10, 1 << 20, 0))
        reader = os.open(os.path.join(d, "b"), os.O_RDONLY)
        out.append(attempt(os.copy_file_range, a, reader, 10, 0, 0))
        out.append(read(os.path.join(d, "a"))[200000:201000] == data[:1000])
        out.append(os.fstat(b).st_size)
        return out

    t.same(steps)
    t.same_trees()


@test(smoke=True)
def nameless_files(t):
    """O_TMPFILE makes a file without a name that can be given one later, with the right link counts; O_EXCL forbids that."""

    def steps(d):
        out = []
        fd = os.open(d, os.O_TMPFILE | os.O_RDWR, 0o640)
        os.write(fd, b"nameless")
        st = os.fstat(fd)
        out.append((st.st_nlink, st.st_size, oct(st.st_mode), os.listdir(d)))
        os.setxattr(fd, "user.a", b"1")
        out.append(attempt(syscalls.link_open_file, fd, os.path.join(d, "named")))
        out.append((os.fstat(fd).st_nlink, read(os.path.join(d, "named")), os.getxattr(os.path.join(d, "named"), "user.a")))
        os.close(fd)
        fd = os.open(d, os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o640)
        out.append(attempt(syscalls.link_open_file, fd, os.path.join(d, "never")))
        os.close(fd)
        out.append(attempt(os.open, d, os.O_TMPFILE | os.O_RDONLY))
        out.append(attempt(os.open, os.path.join(d, "none"), os.O_TMPFILE | os.O_RDWR))
        return out

    t.same(steps)
    t.same_trees()


@test(smoke=True)
def birth_time_and_syncfs(t):
    """statx shows the birth time that the host has, and syncfs works."""
    p = write(os.path.join(t.mnt, "f"), "x")
    mine, host = syscalls.statx(p), syscalls.statx(os.path.join(t.src, "f"))
    t.eq(mine.mask & 0x800, host.mask & 0x800, "birth time is offered")
    if host.mask & 0x800:
        t.eq(mine.btime, host.btime, "birth time")
    t.eq(mine.size, host.size, "size")
    fd = os.open(p, os.O_RDWR)
    t.eq(attempt(syscalls.syncfs, fd), None, "syncfs")
    t.eq(attempt(os.fsync, fd), None, "fsync")
    t.eq(attempt(os.fdatasync, fd), None, "fdatasync")
    os.close(fd)
    d = os.open(t.mnt, os.O_RDONLY)
    t.eq(attempt(os.fsync, d), None, "fsync of a directory")
    os.close(d)


@test(smoke=True)
def file_flags(t):
    """chattr and lsattr (FS_IOC_GETFLAGS, SETFLAGS, FSGETXATTR) work as on the host, and the flags have effect."""

    def steps(d):
        p = write(os.path.join(d, "f"), "x")
        fd = os.open(p, os.O_RDONLY)
        out = []
        first = attempt(syscalls.get_flags, fd)
        out.append(first)
        if isinstance(first, Err):
            return out
        for flag in (0x20, 0x10, 0x80, 0x40):  # append only, immutable, noatime, nodump
            out.append((flag, attempt(syscalls.set_flags, fd, first | flag), attempt(syscalls.get_flags, fd)))
            out.append((attempt(os.truncate, p, 0), attempt(os.unlink, p), attempt(os.chmod, p, 0o600)))
            out.append(attempt(syscalls.set_flags, fd, first))
            write(p, "x")
        out.append(attempt(fcntl.ioctl, fd, syscalls.FS_IOC_FSGETXATTR, b"\0" * 28))
        os.close(fd)
        dfd = os.open(d, os.O_RDONLY)
        out.append(attempt(syscalls.get_flags, dfd))
        out.append(attempt(fcntl.ioctl, dfd, 0x12345678, b"\0" * 8) and "refused")
        return out

    t.same(steps)


@test()
def offsets_and_flags(t):
    """O_APPEND, O_TRUNC, O_EXCL, O_DIRECT, O_SYNC, vectored and positioned I/O behave as on the host."""

    def steps(d):
        p = os.path.join(d, "f")
        out = []
        a = os.open(p, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_SYNC)
        b = os.open(p, os.O_RDWR | os.O_APPEND)
        for i in range(10):
            os.write(a, b"a%d" % i)
            os.write(b, b"b%d" % i)
            os.pwrite(b, b"p", 0)
        out.append(os.pread(b, 999, 0))
        out.append(attempt(os.read, a, 1))
        # With FUSE passthrough the kernel writes through a file that keeps the flags of the open (README, what differs).
        if t.config.get("passthrough") == "off" or t.mode != "handlefs":
            fcntl.fcntl(b, fcntl.F_SETFL, 0)
            os.pwrite(b, b"START", 0)
        out.append(os.preadv(b, [bytearray(3), bytearray(9)], 0))
        out.append(os.pread(b, 5, 0))
        out.append(os.pread(b, 5, 1 << 40))
        out.append(os.read(os.open(p, os.O_RDONLY | os.O_TRUNC), 9))
        os.write(b, b"after")
        out.append(os.stat(p).st_size)
        fcntl.fcntl(a, fcntl.F_SETFL, os.O_APPEND)
        os.pwrite(a, b"set", 0)
        c = os.open(p, os.O_RDWR)
        fcntl.fcntl(c, fcntl.F_SETFL, os.O_APPEND)
        os.pwrite(c, b"later", 0)
        out.append(read(p))
        out.append(attempt(os.write, os.open(p, os.O_RDONLY), b"x"))
        for fd in (a, b):
            os.close(fd)
        return out

    t.same(steps)
    t.same_trees()


@test()
def mapping_of_an_appending_file(t):
    """Pages changed through a mapping of a file opened with O_APPEND go where they belong, not to its end."""

    def steps(d):
        p = write(os.path.join(d, "f"), b"x" * 10000)
        fd = os.open(p, os.O_RDWR | os.O_APPEND)
        with mmap.mmap(fd, 8192) as m:
            os.write(fd, b"tail")
            m[100:104] = b"head"
            m.flush()
        os.fsync(fd)
        os.close(fd)
        return read(p)

    t.same(steps)
    t.same_trees()


@test()
def direct_io(t):
    """O_DIRECT reads and writes the same bytes as buffered I/O beside it."""
    p = write(os.path.join(t.mnt, "f"), b"x" * 65536)
    fd = attempt(os.open, p, os.O_RDWR | os.O_DIRECT)
    if isinstance(fd, Err):
        t.skip(f"{t.fs} refuses O_DIRECT: {fd}")
    buf = mmap.mmap(-1, 8192)
    buf[:] = b"d" * 8192
    t.eq(os.pwritev(fd, [buf], 4096), 8192, "direct write")
    want = b"x" * 4096 + b"d" * 8192 + b"x" * (65536 - 12288)
    t.eq(read(p), want, "buffered read after a direct write")
    t.eq(read(os.path.join(t.src, "f")), want, "on the host")
    with open(p, "r+b") as f:
        f.write(b"B" * 4096)
    got = mmap.mmap(-1, 4096)
    t.eq(os.preadv(fd, [got], 0), 4096, "direct read")
    t.eq(got[:], b"B" * 4096, "direct read after a buffered write")
    t.eq(os.fstat(fd).st_size, 65536, "size")
    os.close(fd)


@test()
def big_files_and_offsets(t):
    """Sparse files beyond 4 GiB keep every byte where it was written."""
    p = os.path.join(t.mnt, "big")
    rng = random.Random(t.run.seed)
    fd = os.open(p, os.O_RDWR | os.O_CREAT)
    places = [rng.randrange(0, 6 << 30) for _ in range(30)]
    for i, at in enumerate(places):
        os.pwrite(fd, b"mark%04d" % i, at)
    for i, at in enumerate(places):
        t.eq(os.pread(fd, 8, at), b"mark%04d" % i, f"at {at}")
    host = os.open(os.path.join(t.src, "big"), os.O_RDONLY)
    for i, at in enumerate(places):
        t.eq(os.pread(host, 8, at), b"mark%04d" % i, f"host at {at}")
    t.eq(os.fstat(fd).st_size, os.fstat(host).st_size, "size")


@test()
def big_requests(t):
    """Reads and writes of many megabytes in one call arrive whole."""
    data = random.Random(t.run.seed).randbytes(9 << 20)
    p = os.path.join(t.mnt, "f")
    fd = os.open(p, os.O_RDWR | os.O_CREAT)
    t.eq(os.pwrite(fd, data, 3), len(data), "write")
    t.check(os.pread(fd, len(data) + 99, 3) == data, "read back")
    t.check(read(os.path.join(t.src, "f"))[3:] == data, "on the host")


@test(smoke=True)
def read_your_writes_on_the_host(t):
    """What is written on the host shows on the mount, and the other way round, at the latest after the cache timeout."""
    t.sees_host_changes("changes on the host")
    p, host = os.path.join(t.mnt, "f"), os.path.join(t.src, "f")
    write(host, "first")
    until(lambda: attempt(read, p) == b"first", "the mount shows a new file of the host")
    for i in range(3):
        text = (b"%d" % i) * (10 + i)
        write(host, text)
        until(lambda: read(p) == text and os.stat(p).st_size == len(text), "the mount shows new content")
        write(p, text + b"back")
        t.eq(read(host), text + b"back", "the host shows what the mount wrote")
    os.rename(host, host + "2")
    until(lambda: attempt(os.stat, p) == "ENOENT" and read(p + "2"), "the mount shows a rename of the host")
    os.unlink(host + "2")
    until(lambda: os.listdir(t.mnt) == [], "the mount shows a removal of the host")
    os.mkdir(host)
    until(lambda: os.path.isdir(p), "the mount shows a directory in place of a file")


@test()
def chmod_by_another_mount(t):
    """A mode changed through another mount of the same tree takes effect here: no wrong EACCES, no wrong permission."""
    t.sees_host_changes("modes changed elsewhere")
    from procs import run_as
    other = t.serve(t.src)
    p, q = write(os.path.join(t.mnt, "f"), "x"), os.path.join(other.path, "f")
    reading = lambda: run_as(3201, 3201, (), read, p)
    for _ in range(3):
        os.chmod(q, 0o600)
        until(lambda: reading() == "EACCES", "the user may not read any more")
        os.chmod(q, 0o644)
        until(lambda: reading() == b"x", "the user may read again")


@test()
def reflinks_as_on_the_host(t):
    """FICLONE makes a reflink or fails as the host file system does, or fails with EOPNOTSUPP, never with wrong data."""
    a = write(os.path.join(t.mnt, "a"), b"r" * 100000)
    src, dst = os.open(a, os.O_RDONLY), os.open(os.path.join(t.mnt, "b"), os.O_RDWR | os.O_CREAT)
    result = attempt(fcntl.ioctl, dst, syscalls.FICLONE, src)
    t.check(result in (0, "EOPNOTSUPP", "ENOTTY", "EINVAL", "EXDEV"), f"FICLONE: {result}")
    t.eq(os.fstat(dst).st_size, 100000 if result == 0 else 0, "size")


@test()
def statfs_as_on_the_host(t):
    """df shows the sizes of the host file system."""
    a, b = os.statvfs(t.mnt), os.statvfs(t.src)
    for name in ("f_frsize", "f_blocks", "f_files", "f_namemax"):
        t.eq(getattr(a, name), getattr(b, name), name)


@test()
def limits_of_the_process(t):
    """RLIMIT_FSIZE holds through the mount: EFBIG as on the host."""

    def steps(d):
        import resource
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        old = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10000, old[1]))
        fd = os.open(os.path.join(d, "f"), os.O_RDWR | os.O_CREAT)
        try:
            return [os.pwrite(fd, b"x" * 100, 9990), attempt(os.pwrite, fd, b"x", 10000),
                    attempt(os.ftruncate, fd, 10001), attempt(os.posix_fallocate, fd, 0, 20000), os.fstat(fd).st_size]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)

    t.same(steps)


@test()
def access_times(t):
    """Reading moves the access time at the latest after close as the host does it; utime to a fixed time holds."""
    p = write(os.path.join(t.mnt, "f"), "x")
    os.utime(p, ns=(10**9, 2 * 10**9))
    t.eq(os.stat(p).st_atime_ns, 10**9, "atime as set")
    t.eq(os.stat(os.path.join(t.src, "f")).st_atime_ns, 10**9, "atime as set on the host")


@test()
def errors_of_bad_descriptors(t):
    """EISDIR, EBADF and ESPIPE come as on the host."""

    def steps(d):
        write(os.path.join(d, "f"), "x")
        dfd = os.open(d, os.O_RDONLY)
        path_only = os.open(os.path.join(d, "f"), os.O_PATH)
        out = [attempt(os.read, dfd, 1), attempt(os.open, d, os.O_WRONLY), attempt(os.read, path_only, 1),
               attempt(os.fchmod, path_only, 0o600), attempt(os.ftruncate, dfd, 0), attempt(os.lseek, path_only, 0, os.SEEK_SET)]
        st = os.fstat(path_only)
        out.append(st.st_size)
        return out

    t.same(steps)


def under_signals(p, rounds):
    """Writes, syncs and reads while a timer's signal comes every half a millisecond; the errnos that it saw."""
    signal.signal(signal.SIGALRM, lambda *_: None)
    fd = os.open(p, os.O_RDWR | os.O_CREAT)
    seen = set()
    buffer = ctypes.create_string_buffer(8192)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    for i in range(rounds):
        # Not Python's own calls, which try again after EINTR.
        for call in (lambda: libc.pwrite(fd, buffer, 8192, ctypes.c_int64(i % 100 * 8192)), lambda: libc.fdatasync(fd),
                     lambda: libc.pread(fd, buffer, 8192, ctypes.c_int64(i % 100 * 8192))):
            if call() < 0:
                seen.add(errno.errorcode[ctypes.get_errno()])
    signal.setitimer(signal.ITIMER_REAL, 0)
    os.close(fd)
    return seen


@test()
def signals_fail_no_sync(t):
    """A program that gets signals all the time never sees a write, sync or read of a file fail for that (databases give up then)."""
    source = os.path.join(t.src, "source")
    os.makedirs(source, exist_ok=True)
    # One thread for all: requests wait in its queue when the signals come.
    served = t.serve(source, **({"offload": "always", "threads": 1} if t.mode == "handlefs" else {}))
    programs = [Actor() for _ in range(4)]
    for i, program in enumerate(programs):
        program.start(under_signals, os.path.join(served.path, f"f{i}"), 200)
    for program in programs:
        t.eq(program.result(), set(), "errors")
        program.kill()
