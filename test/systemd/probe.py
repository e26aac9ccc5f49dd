"""probe.py DIRECTORY: does what users of a file system do and prints what came of it. Runs on the booted machine, on the
host's directory and through the mount; what is printed must be equal."""

import errno
import fcntl
import os
import stat
import sys

os.umask(0)
top = os.path.join(sys.argv[1], "probe")
os.mkdir(top, 0o777)
os.chdir(top)


def tell(what, fn, *args):
    try:
        result = fn(*args)
    except OSError as e:
        result = errno.errorcode.get(e.errno, e.errno)
    print(f"{what}: {result}")


def make(path, mode=0o644):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    return path


def look(path):
    st = os.lstat(path)
    return f"{st.st_mode:o} {st.st_uid}:{st.st_gid} {st.st_nlink} {st.st_size} {st.st_rdev:x}"


def as_user(what, fn):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.setgroups([2000])
        os.setresgid(1000, 1000, 1000)
        os.setresuid(1000, 1000, 1000)
        tell(what, fn)
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(pid, 0)


def set_id(path, mode):
    make(path)
    os.chmod(path, mode)
    return look(path)


def born_set_id():
    make("born", 0o6755)
    return look("born")


def node(path, kind, device=0):
    os.mknod(path, kind | 0o666, device)
    return look(path)


def attribute(name, value=b"x"):
    make(name)
    os.setxattr(name, name, value)
    return os.getxattr(name, name)


def unlinked():
    fd = os.open("gone", os.O_CREAT | os.O_RDWR, 0o600)
    os.write(fd, b"still here")
    os.unlink("gone")
    return os.pread(fd, 100, 0), os.fstat(fd).st_nlink


def tmpfile():
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(fd, b"x" * 100000)
    os.link(f"/proc/self/fd/{fd}", "linked")
    return look("linked")


def locks():
    fd = os.open("lock", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.lockf(fd, fcntl.LOCK_EX)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return "locked"


def big():
    with open("big", "wb") as f:
        for i in range(64):
            f.write(bytes([i]) * 65536)
        f.flush()
        os.fsync(f.fileno())
        os.posix_fallocate(f.fileno(), 1 << 24, 4096)
    with open("big", "rb") as f:
        f.seek(63 * 65536)
        return f.read(1), look("big")


def user_write():
    make("written", 0o644)
    with open("written", "wb") as f:
        f.write(b"x")
    os.chmod("written", 0o4755)
    with open("written", "ab") as f:
        f.write(b"y")
    return look("written")


def owned(path):
    os.mkdir(path)
    os.chown(path, 1000, 2000)
    return look(path)


def flags(path):
    get, put, immutable = 0x80086601, 0x40086602, 0x10
    fd = os.open(make(path), os.O_RDONLY)
    word = bytearray(8)
    fcntl.ioctl(fd, get, word)
    word[0] |= immutable
    fcntl.ioctl(fd, put, bytes(word))
    try:
        os.unlink(path)
        return "an immutable file is gone"
    except PermissionError:
        word[0] &= ~immutable
        fcntl.ioctl(fd, put, bytes(word))
        return "immutable"


tell("set-user-id", set_id, "suid", 0o4755)
tell("set-group-id", set_id, "sgid", 0o2755)
tell("born with set-id bits", born_set_id)
tell("device", node, "null", stat.S_IFCHR, os.makedev(1, 3))
tell("disk", node, "loop", stat.S_IFBLK, os.makedev(7, 200))
tell("whiteout", node, "whiteout", stat.S_IFCHR, os.makedev(0, 0))
tell("fifo", node, "fifo", stat.S_IFIFO)
for name, value in (("user.x", b"x"), ("trusted.x", b"x"),
                    ("security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))):
    tell(name, attribute, name, value)
tell("chown", owned, "owned")
tell("flags", flags, "immutable")
tell("unlinked", unlinked)
tell("tmpfile", tmpfile)
tell("locks", locks)
tell("big", big)
os.mkdir("shared", 0o777)
os.chown("shared", 0, 2000)
os.chmod("shared", 0o2777)
as_user("a user's directory", lambda: (os.mkdir("shared/dir"), look("shared/dir")))
as_user("a user's file", lambda: (make("shared/file", 0o2775), look("shared/file")))
as_user("a user's write", user_write)
as_user("not a user's", lambda: os.chmod("suid", 0o777))
