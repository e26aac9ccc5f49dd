"""Names: links, renames, removal, long paths, special files."""

import os
import shutil
import stat
import subprocess

import syscalls
from harness import shell
from procs import attempt, until
from registry import test
from syscalls import RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT
from trees import read, write


@test(smoke=True)
def hard_links_are_one_file(t):
    """All names of a file show one inode, and attributes never go stale when another name changes."""

    def steps(d):
        out = []
        a, b, c = (os.path.join(d, n) for n in "abc")
        write(a, "x")
        os.link(a, b)
        out.append([os.stat(p).st_nlink for p in (a, b)])
        out.append(os.path.samefile(a, b))
        os.link(b, c)
        out.append([os.stat(p).st_nlink for p in (a, b, c)])
        os.unlink(a)
        out.append([os.stat(p).st_nlink for p in (b, c)])
        os.chmod(c, 0o600)
        out.append(oct(os.stat(b).st_mode))
        write(b, "longer")
        out.append(os.stat(c).st_size)
        os.rename(b, os.path.join(d, "e"))
        os.mkdir(os.path.join(d, "sub"))
        os.rename(c, os.path.join(d, "sub/f"))
        out.append([os.stat(os.path.join(d, n)).st_nlink for n in ("e", "sub/f")])
        out.append(os.path.samefile(os.path.join(d, "e"), os.path.join(d, "sub/f")))
        write(os.path.join(d, "over"), "")
        os.rename(os.path.join(d, "over"), os.path.join(d, "e"))
        out.append(os.stat(os.path.join(d, "sub/f")).st_nlink)
        return out

    t.same(steps)
    t.same_trees()


@test()
def link_count_of_unlinked_file(t):
    """An open file whose last name goes keeps its data and shows link count 0."""

    def steps(d):
        p = os.path.join(d, "f")
        fd = os.open(p, os.O_RDWR | os.O_CREAT, 0o640)
        os.write(fd, b"kept")
        os.unlink(p)
        out = [os.fstat(fd).st_nlink, os.pread(fd, 9, 0), os.pwrite(fd, b"more", 4), os.fstat(fd).st_size]
        os.fchmod(fd, 0o600)
        os.ftruncate(fd, 2)
        out += [oct(os.fstat(fd).st_mode), os.pread(fd, 9, 0)]
        out.append(attempt(os.listxattr, fd))
        again = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
        out.append(os.read(again, 9))
        out.append(attempt(syscalls.link_open_file, fd, p))
        os.close(again)
        os.close(fd)
        return out

    t.same(steps)


@test(smoke=True)
def fstat_after_rename_over(t):
    """A descriptor goes on working after its file was replaced by a rename."""

    def steps(d):
        a, b = os.path.join(d, "a"), os.path.join(d, "b")
        write(a, "old")
        write(b, "new!")
        fd = os.open(a, os.O_RDWR)
        os.rename(b, a)
        st = os.fstat(fd)
        os.fchmod(fd, 0o400)
        os.utime(fd, ns=(10**9, 2 * 10**9))
        return [st.st_nlink, st.st_size, os.read(fd, 9), read(a), os.fstat(fd).st_mtime, attempt(os.fsync, fd)]

    t.same(steps)


@test(smoke=True)
def rename_flags(t):
    """RENAME_NOREPLACE, RENAME_EXCHANGE and RENAME_WHITEOUT do what the host does, for files and directories."""

    def steps(d):
        out = []
        a, b, none = (os.path.join(d, n) for n in ("a", "b", "none"))
        write(a, "a")
        os.mkdir(b)
        write(os.path.join(b, "in"), "in")
        out.append(attempt(syscalls.renameat2, a, b, RENAME_NOREPLACE))
        out.append(attempt(syscalls.renameat2, a, b, RENAME_EXCHANGE))
        out.append((os.path.isdir(a), read(b), os.listdir(a), os.stat(d).st_nlink))
        out.append(attempt(syscalls.renameat2, a, none, RENAME_EXCHANGE))
        out.append(attempt(syscalls.renameat2, b, none, RENAME_NOREPLACE))
        out.append(attempt(syscalls.renameat2, none, b, RENAME_NOREPLACE | RENAME_EXCHANGE))
        out.append(attempt(syscalls.renameat2, none, os.path.join(d, "w"), RENAME_WHITEOUT))
        out.append(sorted((n, stat.S_IFMT(os.lstat(os.path.join(d, n)).st_mode)) for n in os.listdir(d)))
        out.append(attempt(syscalls.renameat2, a, b, 64))
        return out

    t.same(steps)
    t.same_trees()


@test()
def rename_cases(t):
    """rename gives the same errors and results as on the host, directories included."""

    def steps(d):
        out = []
        p = lambda *n: os.path.join(d, *n)
        os.makedirs(p("x/y/z"))
        write(p("f"), "f")
        os.symlink("f", p("s"))
        pairs = [("x", "x/y/q"), ("f", "x"), ("x", "f"), ("f", "f"), ("x/y", "top"), ("top", "x"), ("top/z", "x/y"),
                 ("missing", "n"), ("s", "t"), ("f", "t"), ("x", "top/x"), ("f/", "n"), ("t", "top/" + "n" * 255),
                 ("top/" + "n" * 255, "top/" + "n" * 256)]
        for old, new in pairs:
            out.append((old[:9], new[:9], attempt(os.rename, p(old), p(new))))
        out.append(sorted(os.path.relpath(os.path.join(w, n), d) for w, ds, fs in os.walk(d) for n in ds + fs))
        return out

    t.same(steps)
    t.same_trees()


@test()
def name_errors(t):
    """Wrong names and wrong kinds of files give the errno that the host gives."""

    def steps(d):
        p = lambda n: os.path.join(d, n)
        write(p("f"))
        os.mkdir(p("d"))
        os.symlink("loop", p("loop"))
        os.symlink("nowhere", p("dangling"))
        out = []
        calls = [(os.open, "n" * 256, os.O_CREAT), (os.open, "n" * 255, os.O_CREAT), (os.open, "f/x", os.O_RDONLY),
                 (os.open, "loop", os.O_RDONLY), (os.open, "f", os.O_DIRECTORY), (os.open, "d", os.O_RDWR),
                 (os.open, "dangling", os.O_RDONLY), (os.open, "f", os.O_CREAT | os.O_EXCL),
                 (os.open, "dangling", os.O_CREAT | os.O_EXCL), (os.open, "f", os.O_RDONLY | os.O_NOFOLLOW),
                 (os.open, "loop", os.O_RDONLY | os.O_NOFOLLOW), (os.mkdir, "f"), (os.mkdir, "d"), (os.rmdir, "f"),
                 (os.mkdir, "f/x"), (os.unlink, "d"), (os.rmdir, "d/."), (os.unlink, "none"), (os.readlink, "f"),
                 (os.truncate, "d", 0), (os.truncate, "f", -1), (os.truncate, "f", 1 << 62),
                 (os.mkfifo, "f"), (os.listdir, "f"), (os.stat, "f/"), (os.rmdir, "d"), (os.rmdir, "d")]
        for fn, name, *args in calls:
            value = attempt(fn, p(name), *args)
            out.append((fn.__name__, name[:9], value if isinstance(value, str) else "ok"))
        out.append(attempt(os.link, p("dangling"), p("l2"), follow_symlinks=False))
        out.append(attempt(os.link, d, p("l3")))
        out.append(attempt(os.symlink, "t" * 4095, p("s4095")))
        out.append(len(attempt(os.readlink, p("s4095"))))
        return out

    t.same(steps)


@test(scope="fs")
def longest_paths(t):
    """The longest path that a program may pass works, however long the path of the source is."""
    deep = t.src
    for _ in range(8):
        deep = os.path.join(deep, "p" * 200)
        os.mkdir(deep)
    served = t.serve(deep)
    path = served.path
    while len(path) + 101 < 3900:
        path += "/" + "q" * 100
        os.mkdir(path)
    path += "/" + "r" * (4095 - len(path) - 1)
    t.eq(len(path), 4095, "length")
    write(path, "end")
    t.eq(read(path), b"end", "read back")
    os.chmod(path, 0o600)
    os.setxattr(path, "user.x", b"y")
    other = path[:-1] + "s"
    os.rename(path, other)
    os.link(other, path)
    t.eq(os.stat(path).st_nlink, 2, "links")
    os.truncate(path, 1)
    os.unlink(path)
    os.unlink(other)


@test()
def deeper_than_path_max(t):
    """Trees deeper than PATH_MAX can be made, walked and removed step by step."""

    def steps(d):
        at = os.open(d, os.O_RDONLY)
        for i in range(60):
            os.mkdir("n" * 200, dir_fd=at)
            step = os.open("n" * 200, os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
            os.close(at)
            at = step
        fd = os.open("leaf", os.O_CREAT | os.O_RDWR, 0o600, dir_fd=at)
        os.write(fd, b"deep")
        size = os.fstat(fd).st_size
        os.close(fd)
        fresh = os.open(".", os.O_RDONLY, dir_fd=at)  # btrfs lists what was there at open
        names = os.listdir(fresh)
        os.close(fresh)
        os.close(at)
        return size, names

    t.same(steps)


@test(smoke=True)
def removed_directory(t):
    """A process whose working directory was removed gets what the host gives: stat(".") works, creating fails."""

    def steps(d):
        gone = os.path.join(d, "gone")
        os.mkdir(gone)
        os.chdir(gone)
        try:
            os.rmdir(gone)
            st = attempt(os.stat, ".")
            out = [(st.st_nlink, oct(st.st_mode)) if not isinstance(st, str) else st]
            out.append(attempt(os.listdir, "."))
            fd = attempt(os.open, ".", os.O_RDONLY)
            out.append("open" if isinstance(fd, int) else fd)
            out.append(attempt(os.mkdir, "new"))
            out.append(attempt(os.open, "new", os.O_CREAT))
            out.append(attempt(os.chmod, ".", 0o700))
            return out
        finally:
            os.chdir("/")

    t.same(steps)


@test(smoke=True)
def special_files(t):
    """FIFOs, sockets and device nodes behave as on the host and never hang the mount."""

    def steps(d):
        out = []
        p = lambda n: os.path.join(d, n)
        os.mkfifo(p("fifo"), 0o640)
        os.mknod(p("null"), 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(p("sock"), 0o600 | stat.S_IFSOCK)
        os.mknod(p("plain"), 0o600 | stat.S_IFREG)
        os.mknod(p("blk"), 0o600 | stat.S_IFBLK, os.makedev(240, 99))
        for n in sorted(os.listdir(d)):
            st = os.lstat(p(n))
            out.append((n, oct(st.st_mode), st.st_rdev, st.st_nlink))
        reader = os.open(p("fifo"), os.O_RDONLY | os.O_NONBLOCK)
        writer = os.open(p("fifo"), os.O_WRONLY)
        os.write(writer, b"through")
        out.append(os.read(reader, 99))
        out.append(attempt(os.open, p("sock"), os.O_RDONLY))
        null = os.open(p("null"), os.O_RDWR)
        out.append((os.write(null, b"gone"), os.read(null, 5)))
        out.append(attempt(os.open, p("blk"), os.O_RDONLY))
        for n in sorted(os.listdir(d)):
            out.append(attempt(os.chmod, p(n), 0o600))
            out.append(attempt(os.chown, p(n), 1, 2))
            out.append(attempt(os.utime, p(n), ns=(5, 7)))
            out.append(attempt(os.setxattr, p(n), "user.x", b"1"))
            out.append(os.lstat(p(n)).st_mtime_ns)
        return out

    t.same(steps)


@test()
def host_swaps_a_file_for_a_fifo(t):
    """A file that the host replaces by a FIFO never makes the daemon open that FIFO and hang."""
    for i in range(5):
        path = os.path.join(t.mnt, f"f{i}")
        write(path, "x")
        os.stat(path)
        host = os.path.join(t.src, f"f{i}")
        os.unlink(host)
        os.mkfifo(host)
        for flags in (os.O_RDONLY | os.O_NONBLOCK, os.O_RDWR | os.O_NONBLOCK):
            fd = attempt(os.open, path, flags)
            if isinstance(fd, int):
                os.close(fd)
    write(os.path.join(t.mnt, "still"), "works")
    t.eq(read(os.path.join(t.src, "still")), b"works", "the mount answers")


@test()
def unix_sockets(t):
    """A Unix socket bound through the mount accepts connections through the mount."""
    import socket
    path = os.path.join(t.mnt, "s")
    os.chdir(t.mnt)
    server, client = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    server.bind("s")
    server.listen()
    client.connect("s")
    peer, _ = server.accept()
    peer.send(b"hello")
    t.eq(client.recv(9), b"hello", "data")
    t.check(stat.S_ISSOCK(os.lstat(path).st_mode), "it is a socket")
    os.chdir("/")


@test(only="a bind mount joins them")
def host_and_mount_are_not_joined(t):
    """Sockets and FIFOs do not lead from the mount to the host, and the host may write to what runs from the mount: README says so."""
    import socket
    server = socket.socket(socket.AF_UNIX)
    os.chdir(t.src)
    server.bind("joined")
    server.listen()
    os.mkfifo("fifo")
    shell("cp", shutil.which("sleep"), "program")
    reader = os.open("fifo", os.O_RDONLY | os.O_NONBLOCK)
    os.chdir(t.mnt)
    t.sees_host_changes("new names")
    t.eq(attempt(socket.socket(socket.AF_UNIX).connect, "joined"), "ECONNREFUSED", "connect")
    t.eq(attempt(os.open, "fifo", os.O_WRONLY | os.O_NONBLOCK), "ENXIO", "the FIFO")
    with subprocess.Popen([os.path.join(t.mnt, "program"), "100"]) as running:
        until(lambda: os.readlink(f"/proc/{running.pid}/exe").startswith(t.mnt), "it runs from the mount")
        t.eq(attempt(os.open, "program", os.O_WRONLY), "ETXTBSY", "writing to it through the mount")
        os.close(os.open(os.path.join(t.src, "program"), os.O_WRONLY))
        running.kill()
    os.chdir("/")
    os.close(reader)
    server.close()


@test()
def symbolic_links(t):
    """Symbolic links keep their target, owner and times, and nobody follows them by mistake."""

    def steps(d):
        out = []
        p = lambda n: os.path.join(d, n)
        write(p("target"), "t")
        os.symlink("target", p("l"))
        os.lchown(p("l"), 5, 6)
        os.utime(p("l"), ns=(11, 13), follow_symlinks=False)
        st = os.lstat(p("l"))
        out.append((st.st_uid, st.st_gid, st.st_mtime_ns, st.st_size, oct(st.st_mode)))
        st = os.stat(p("l"))
        out.append((st.st_uid, st.st_size))
        out.append(attempt(os.setxattr, p("l"), "user.x", b"1", follow_symlinks=False))
        out.append(attempt(os.setxattr, p("l"), "trusted.x", b"1", follow_symlinks=False))
        out.append(attempt(os.listxattr, p("l"), follow_symlinks=False))
        os.symlink("x" * 1000, p("long"))
        out.append(len(os.readlink(p("long"))))
        os.unlink(p("l"))
        os.symlink("long", p("l"))
        out.append(os.readlink(p("l")))
        os.link(p("l"), p("hard"), follow_symlinks=False)
        out.append((os.lstat(p("hard")).st_nlink, os.readlink(p("hard"))))
        return out

    t.same(steps)
    t.same_trees()


@test()
def many_names_in_a_directory(t):
    """A directory of thousands of names lists each exactly once, also while names go and come."""
    d = os.path.join(t.mnt, "many")
    os.mkdir(d)
    names = {f"name-{i:05}" for i in range(3000)}
    for n in names:
        write(os.path.join(d, n))
    t.eq(sorted(os.listdir(d)), sorted(names), "first listing")
    seen = []
    with os.scandir(d) as it:
        for i, e in enumerate(it):
            seen.append(e.name)
            if e.name.startswith("name-") and i % 7 == 0:
                os.unlink(e.path)
    t.check(names <= set(seen) and len(seen) == len(set(seen)), "a name was lost or doubled while others went")
    t.eq(sorted(os.listdir(d)), sorted(os.listdir(os.path.join(t.src, "many"))), "after removing")


@test()
def directory_types_and_numbers(t):
    """d_type and inode number of a listing agree with lstat, for every kind of file."""
    d = t.mnt
    write(os.path.join(d, "f"))
    os.mkdir(os.path.join(d, "d"))
    os.symlink("f", os.path.join(d, "s"))
    os.mkfifo(os.path.join(d, "p"))
    os.mknod(os.path.join(d, "c"), 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    for e in os.scandir(d):
        st = os.lstat(e.path)
        t.eq(e.inode(), st.st_ino, f"inode number of {e.name}")
        kinds = (e.is_dir(follow_symlinks=False), e.is_file(follow_symlinks=False), e.is_symlink())
        t.eq(kinds, (stat.S_ISDIR(st.st_mode), stat.S_ISREG(st.st_mode), stat.S_ISLNK(st.st_mode)), e.name)


@test()
def odd_names(t):
    """Names are bytes: newlines, invalid UTF-8, leading dashes and dots pass unchanged."""
    names = [b"new\nline", b"\xff\xfe", b"-rf", b"...", b" ", b"\x01\x7f", b"a\\b", b"caf\xc3\xa9", b"*", b"x" * 255]
    root, src = os.fsencode(t.mnt), os.fsencode(t.src)
    for n in names:
        with open(os.path.join(root, n), "wb") as f:
            f.write(n)
    t.eq(sorted(os.listdir(root)), sorted(names), "listing")
    t.eq(sorted(os.listdir(src)), sorted(names), "on the host")
    for n in names:
        with open(os.path.join(root, n), "rb") as f:
            t.eq(f.read(), n, "content")
    t.eq(attempt(os.open, os.path.join(root, b"not there"), os.O_RDONLY), "ENOENT", "a name that is not there")
