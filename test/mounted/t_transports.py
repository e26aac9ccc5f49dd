"""The two transports: what is carried, and what happens where io_uring cannot be had."""

import fcntl
import mmap
import os
import re
import stat
import subprocess
import sys

import harness
import syscalls
from procs import attempt, until
from registry import test
from trees import read, write

PARAMETER = "/sys/module/fuse/parameters/enable_uring"
OURS = "it is about handlefs' transports"
# They come when the kernel finds time, or differ by design.
ASIDE = {2, 18, 26, 29, 36, 41, 42}  # FORGET RELEASE INIT RELEASEDIR INTERRUPT NOTIFY_REPLY BATCH_FORGET
# Where a process or the connection is named: bytes of a request's body, by opcode.
PRIVATE = {15: [(24, 32)], 25: [(16, 24)], 31: [(8, 16)], 39: [(16, 24)]}  # READ, FLUSH, GETLK: owner; IOCTL: address
OPENS = {14: 0, 27: 0, 35: 128, 51: 128}  # where the fh stands in the answer


class Uring:
    """The kernel's switch, on for a while and then as it was."""

    def __init__(self, t):
        if not os.path.exists(PARAMETER):
            t.skip(f"this kernel has no FUSE over io_uring ({PARAMETER})")

    def __enter__(self):
        self.before = read(PARAMETER).strip()
        write(PARAMETER, "Y")

    def __exit__(self, *_):
        write(PARAMETER, self.before)


def work_in(t, transport, source, steps):
    """Does the steps on a mount of `source`; returns its trace."""
    served = t.serve(source, trace=True, transport=transport, cache="none", timeout=None, passthrough="off", log_level="debug")
    try:
        wanted = "over io_uring" if transport == "uring" else "over /dev/fuse"
        t.check(wanted in served.log_text(), f"transport={transport}: {served.log_text()[-300:]}")
        begin = len(served.log_text())
        steps(served.path)
        mark = "the-end"
        attempt(os.stat, os.path.join(served.path, mark))
        until(lambda: re.search(rf'LOOKUP n1 "{mark}"\n', served.log_text()), "the trace shows the end")
        return served.log_text()[begin:]
    finally:
        t.end(served)


def masked(message, spans):
    out = bytearray(message)
    for first, last in spans:
        out[first:last] = bytes(last - first)
    return bytes(out)


def exchanges(log):
    """[(opcode, request, answer)] in order, without the parts that name processes and this start of the daemon."""
    open_files, found, answers = {}, [], {}
    for way, text in re.findall(r"^(rx|tx) ([0-9a-f]{32,})$", log, re.M):
        message = bytes.fromhex(text)
        if way == "tx":
            answers[message[8:16]] = message
        else:
            found.append(message)
    out = []
    for request in found:
        opcode, answer = int.from_bytes(request[4:8], "little"), answers.get(request[8:16])
        if opcode in ASIDE:
            continue
        if answer is not None and opcode in OPENS and len(answer) > 16:
            at = 16 + OPENS[opcode]
            open_files[answer[at:at + 8]] = b"file%04d" % len(open_files)
        spans = [(8, 16), (32, 36), *((40 + a, 40 + b) for a, b in PRIVATE.get(opcode, []))]
        request = masked(request, spans)
        answer = None if answer is None else masked(answer, [(8, 16)])
        for fh, name in open_files.items():
            request = request[:40] + request[40:].replace(fh, name)
            answer = answer and answer.replace(fh, name)
        out.append((opcode, request, answer))
    return out


def look(d):
    """Reads all there is, and what is not there."""
    for where, dirs, files in os.walk(d):
        dirs.sort()
        for name in sorted(dirs + files):
            p = os.path.join(where, name)
            st = os.lstat(p)
            for attribute in attempt(os.listxattr, p, follow_symlinks=False) or []:
                attempt(os.getxattr, p, attribute, follow_symlinks=False)
            attempt(os.getxattr, p, "user.none", follow_symlinks=False)
            if stat.S_ISLNK(st.st_mode):
                os.readlink(p)
            if not stat.S_ISREG(st.st_mode):
                continue
            fd = os.open(p, os.O_RDONLY)
            os.pread(fd, 1000, 0)
            os.pread(fd, 10, 1 << 40)
            attempt(os.lseek, fd, 0, os.SEEK_DATA)
            attempt(os.lseek, fd, 0, os.SEEK_HOLE)
            attempt(syscalls.posix_test, fd, fcntl.F_RDLCK)
            attempt(syscalls.get_flags, fd)
            os.close(fd)
    fd = os.open(os.path.join(d, "big"), os.O_RDONLY | os.O_DIRECT)
    os.preadv(fd, [mmap.mmap(-1, 1 << 20)], 4096)
    os.close(fd)
    for name in ("none", "n" * 255, "big/x"):
        attempt(os.lstat, os.path.join(d, name))


def change(d):
    """One of each operation that changes something, and its refusals."""
    a, b, c = (os.path.join(d, n) for n in "abc")
    fd = os.open(a, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
    os.write(fd, b"x" * 5000)
    os.pwrite(fd, b"y" * 70000, 100000)
    syscalls.fallocate(fd, 0, 0, 200000)
    attempt(syscalls.fallocate, fd, syscalls.FALLOC_PUNCH_HOLE | syscalls.FALLOC_KEEP_SIZE, 4096, 8192)
    os.ftruncate(fd, 150000)
    os.fsync(fd)
    syscalls.posix_lock(fd, fcntl.F_WRLCK, 10, 20)
    syscalls.posix_lock(fd, fcntl.F_UNLCK, 10, 20)
    fcntl.flock(fd, fcntl.LOCK_EX)
    out = os.open(b, os.O_RDWR | os.O_CREAT, 0o4755)
    attempt(os.copy_file_range, fd, out, 6000, 0, 0)
    os.close(out)
    os.close(fd)
    attempt(os.open, a, os.O_CREAT | os.O_EXCL | os.O_RDWR)
    os.setxattr(b, "user.short", b"v")
    os.setxattr(b, "user.long", b"v" * 3000)
    attempt(os.setxattr, b, "user.short", b"w", os.XATTR_CREATE)
    os.removexattr(b, "user.long")
    attempt(os.removexattr, b, "user.long")
    os.chmod(b, 0o2751)
    os.chown(b, 1234, 4321)
    os.utime(b, ns=(10**18, 10**18 + 1))
    os.link(b, c)
    os.symlink("t" * 1000, os.path.join(d, "link"))
    os.mkdir(os.path.join(d, "dir"), 0o3777)
    os.mknod(os.path.join(d, "fifo"), 0o600 | stat.S_IFIFO)
    os.rename(c, os.path.join(d, "dir/moved"))
    attempt(syscalls.renameat2, a, b, syscalls.RENAME_NOREPLACE)
    attempt(syscalls.renameat2, a, b, syscalls.RENAME_EXCHANGE)
    attempt(os.rmdir, os.path.join(d, "dir"))
    os.unlink(os.path.join(d, "dir/moved"))
    os.rmdir(os.path.join(d, "dir"))
    attempt(os.mkdir, os.path.join(d, "gone/x"))
    os.truncate(b, 0)
    os.unlink(a)


def readable(log):
    """The lines of the trace, with ids that differ between twins by order of appearance."""
    names, requests, out = {}, {}, {}
    pattern = re.compile(r"\b(n0x[0-9a-f]+|fh0x[0-9a-f]+|ino \d+|owner 0x[0-9a-f]+|arg 0x[0-9a-f]+|p\d+|gen \d+)\b")

    def known(match):
        kind = re.match(r"[a-z]+", match[0])[0]
        return names.setdefault(match[0], f"{kind}#{sum(v.startswith(kind + '#') for v in names.values())}")

    for way, unique, rest in re.findall(r"^(rx|tx) (\d+) (.*)$", log, re.M):
        operation = rest.split()[0]
        if operation in ("FORGET", "BATCH_FORGET", "RELEASE", "RELEASEDIR", "INTERRUPT", "NOTIFY_REPLY", "INIT"):
            continue
        if way == "rx":
            requests[unique] = None
        out.setdefault(unique, []).append(rest)
    return [pattern.sub(known, line) for unique in requests for line in out[unique]]


@test(scope="fs", only=OURS, limit=180)
def transports_carry_the_same(t):
    """The same work makes the same requests and the same answers over /dev/fuse and over io_uring, byte for byte."""
    # Ids of files that are known by descriptor are new ones at each start.
    compared = exchanges if t.config.get("identity") == "handle" else readable
    source = os.path.join(t.src, "source")
    os.makedirs(os.path.join(source, "dir/deep"))
    write(os.path.join(source, "big"), b"0123456789abcdef" * (1 << 17))
    for i in range(100):
        write(os.path.join(source, "dir", f"{i}-" + "n" * 240), "")
    p = write(os.path.join(source, "dir/deep/file"), "content")
    os.setxattr(p, "user.a", b"v" * 2000)
    os.symlink("s" * 900, os.path.join(source, "link"))
    os.mkfifo(os.path.join(source, "fifo"))
    with open(os.path.join(source, "holes"), "wb") as f:
        f.seek(1 << 20)
        f.write(b"end")
    # What is read now will not be so later because of relatime.
    for where, dirs, files in os.walk(source, topdown=False):
        for name in dirs + files + ["."]:
            os.utime(os.path.join(where, name), (4 * 10**9, 10**9), follow_symlinks=False)
    with Uring(t):
        # The kernel may forget something of one of the two: some round must be equal.
        for _ in range(4):
            one, other = (compared(work_in(t, transport, source, look)) for transport in ("dev", "uring"))
            differ = [(a, b) for a, b in zip(one, other) if a != b]
            if not differ and len(one) == len(other):
                break
        t.eq(len(other), len(one), "requests")
        t.check(not differ, f"{len(differ)} differ: {differ[:1]}")
        t.check(len(one) > 1000, f"{len(one)} requests")
        if compared == exchanges:
            t.check(all(answer for _, _, answer in one), "each has its answer")
            t.note(f"{len(one)} requests of {len({opcode for opcode, *_ in one})} kinds, equal byte for byte")
        texts = []
        for transport in ("dev", "uring"):
            twin = os.path.join(t.src, transport)
            os.mkdir(twin)
            texts.append(readable(work_in(t, transport, twin, change)))
        t.eq(texts[1], texts[0], "what changes")
        t.check(len(texts[0]) > 100, f"{len(texts[0])} lines")


LIMITED = ["prlimit", "--memlock=0:0", "setpriv", "--bounding-set=-ipc_lock,-sys_resource"]
FORBIDDEN = [sys.executable, os.path.join(os.path.dirname(os.path.realpath(__file__)), "without_uring.py")]


def without_rings(t, prefix, says):
    """transport=auto serves by /dev/fuse and says why; transport=uring ends with one line."""
    write(os.path.join(t.src, "f"), "content")
    with Uring(t):
        served = t.serve(t.src, prefix=prefix, transport="auto")
        said = served.log_text()
        t.eq(read(os.path.join(served.path, "f")), b"content", "content")
        t.end(served)
        target = t.place("target")
        done = subprocess.run([*prefix, t.run.mode[1], "-f", "-o", "transport=uring", t.src, target],
                              capture_output=True, check=False, timeout=60)
        lines = done.stderr.decode().splitlines()
        t.check("over /dev/fuse" in said and says in said, said)
        t.eq(done.returncode, 6, f"exit status: {lines}")
        t.check(len(lines) == 1 and says in lines[0], f"one line with the reason: {lines}")
        t.check(not harness.mounted_at(target), "a mount is left")


@test(scope="fs", only=OURS)
def no_locked_memory(t):
    """Where no memory may be locked for rings, transport=auto serves by /dev/fuse and says why; transport=uring ends with the cure."""
    t.need("setpriv", "prlimit")
    without_rings(t, LIMITED, "ulimit -l")


@test(scope="fs", only=OURS)
def io_uring_is_forbidden(t):
    """Where a seccomp filter forbids io_uring, transport=auto serves by /dev/fuse and says so; transport=uring ends with one line."""
    without_rings(t, FORBIDDEN, "io_uring_setup: Operation not permitted")
