"""Forked helpers: a function run as somebody else, and long-lived actors for locks."""

import errno
import os
import pickle
import select
import signal
import struct
import time
import traceback

import syscalls

PATIENCE = 30.0  # after this long a state that should come is declared missing


class Err(str):
    """The name of an errno as a result, so that results can be compared."""


_NAMES = {**errno.errorcode, errno.EOPNOTSUPP: "EOPNOTSUPP", errno.EDEADLK: "EDEADLK", errno.EAGAIN: "EAGAIN"}


def error_name(e):
    return Err(_NAMES.get(e.errno, str(e)))


def attempt(fn, *args, **kwargs):
    """The value of fn, or the name of the errno that it raised."""
    try:
        return fn(*args, **kwargs)
    except OSError as e:
        return error_name(e)


def until(condition, what, patience=PATIENCE):
    """Waits for a state; the pause only keeps the waiting cheap."""
    end = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"never happened: {what}")
        time.sleep(0.01)


def become(uid, gid, groups):
    if gid is not None:
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
    if uid is not None:
        os.setresuid(uid, uid, uid)


def _send(fd, obj):
    raw = pickle.dumps(obj)
    raw = struct.pack("<I", len(raw)) + raw
    while raw:
        raw = raw[os.write(fd, raw):]


def _read(fd, n):
    out = b""
    while len(out) < n:
        part = os.read(fd, n - len(out))
        if not part:
            raise EOFError
        out += part
    return out


def _receive(fd):
    return pickle.loads(_read(fd, struct.unpack("<I", _read(fd, 4))[0]))


def _outcome(fn, args):
    try:
        return ("ok", fn(*args))
    except OSError as e:
        return ("ok", error_name(e))
    except BaseException:  # the parent shows it
        return ("broken", traceback.format_exc())


class Actor:
    """A process that does one call after the other; several of them play users of one file."""

    def __init__(self, uid=None, gid=None, groups=()):
        down_r, down_w = os.pipe()
        up_r, up_w = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(down_w)
            os.close(up_r)
            try:
                become(uid, gid, list(groups))
                while True:
                    fn, args = _receive(down_r)
                    _send(up_w, _outcome(fn, args))
            except EOFError:
                pass
            finally:
                os._exit(0)
        os.close(down_r)
        os.close(up_w)
        self._down, self._up = down_w, up_r

    def start(self, fn, *args):
        _send(self._down, (fn, args))

    def ready(self):
        return bool(select.select([self._up], [], [], 0)[0])

    def result(self, patience=PATIENCE):
        if not select.select([self._up], [], [], patience)[0]:
            raise AssertionError(f"no answer from a helper: in system call {self.blocked_in()}")
        state, value = _receive(self._up)
        if state == "broken":
            raise AssertionError(value)
        return value

    def call(self, fn, *args):
        self.start(fn, *args)
        return self.result()

    def blocked_in(self):
        """The number of the system call that it sleeps in, or None."""
        with open(f"/proc/{self.pid}/syscall") as f:
            word = f.read().split()[0]
        return None if word in ("running", "-1") else int(word)

    def await_block(self, *numbers):
        numbers = numbers or (syscalls.NR_FCNTL, syscalls.NR_FLOCK)
        until(lambda: self.blocked_in() in numbers or self.ready(), "a waiter blocks")

    def kill(self, sig=signal.SIGKILL):
        os.kill(self.pid, sig)

    def reap(self):
        for fd in (self._down, self._up):
            try:
                os.close(fd)
            except OSError:
                pass
        os.waitpid(self.pid, 0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            os.kill(self.pid, signal.SIGKILL)
            self.reap()
        except (ProcessLookupError, ChildProcessError):
            pass


def run_as(uid, gid, groups, fn, *args):
    """The outcome of fn in a process with these credentials: a value, or Err."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(r)
        try:
            become(uid, gid, list(groups))
            _send(w, _outcome(fn, args))
        finally:
            os._exit(0)
    os.close(w)
    try:
        state, value = _receive(r)
    except EOFError:
        state, value = "broken", "a helper process died"
    finally:
        os.close(r)
        os.waitpid(pid, 0)
    if state == "broken":
        raise AssertionError(value)
    return value


def with_umask(mask, fn, *args):
    old = os.umask(mask)
    try:
        return fn(*args)
    finally:
        os.umask(old)


# Calls for actors: descriptors live in the actor's own table.
_fds = {}


def a_open(key, path, flags=os.O_RDWR | os.O_CREAT, mode=0o644):
    _fds[key] = os.open(path, flags, mode)
    return True


def a_close(key):
    os.close(_fds.pop(key))
    return True


def a_dup(key, new):
    _fds[new] = os.dup(_fds[key])
    return True


def a_posix(key, kind, start=0, length=0, wait=False, ofd=False):
    syscalls.posix_lock(_fds[key], kind, start, length, wait, ofd)
    return True


def a_test(key, kind, start=0, length=0, ofd=False):
    return syscalls.posix_test(_fds[key], kind, start, length, ofd)


def a_flock(key, operation):
    import fcntl
    fcntl.flock(_fds[key], operation)
    return True


def a_handle_signal(number):
    """Makes a signal interrupt system calls instead of restarting them."""

    def handler(*_):
        raise InterruptedError(errno.EINTR, "interrupted")

    signal.signal(number, handler)
    return True


def a_read(key, n, offset):
    return os.pread(_fds[key], n, offset)


def a_write(key, data, offset):
    return os.pwrite(_fds[key], data, offset)
