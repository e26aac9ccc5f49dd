"""POSIX, open-file-description and BSD locks, between users of the mount and with the host."""

import fcntl
import os
import signal

import procs
from procs import Actor, until
from registry import test
from trees import write

R, W, U = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK
BUSY = ("EAGAIN", "EACCES")


def two(t, path_a, path_b):
    a, b = Actor(), Actor()
    a.call(procs.a_open, "f", path_a)
    b.call(procs.a_open, "f", path_b)
    return a, b


def posix_story(t, a, b, ofd):
    """Conflicts, ranges and upgrades between two processes."""
    lock = lambda who, kind, start=0, length=0: who.call(procs.a_posix, "f", kind, start, length, False, ofd)
    probe = lambda who, kind, start=0, length=0: who.call(procs.a_test, "f", kind, start, length, ofd)
    t.eq(lock(a, W, 0, 10), True, "first lock")
    t.check(lock(b, W, 0, 10) in BUSY, "a second writer is refused")
    t.check(lock(b, R, 9, 1) in BUSY, "a reader in the range is refused")
    t.eq(lock(b, W, 10, 10), True, "beside the range")
    t.eq(probe(b, W, 0, 100), (W, 0, 10), "F_GETLK names the lock in the way")
    t.eq(probe(a, W, 0, 10), None, "one's own lock is not in the way")
    t.eq(lock(a, R, 0, 10), True, "downgrade")
    t.eq(lock(b, R, 0, 5), True, "shared")
    t.check(lock(a, W, 0, 10) in BUSY, "no upgrade while shared")
    t.eq(lock(b, U, 0, 0), True, "unlock everything")
    t.eq(lock(a, W, 0, 10), True, "upgrade")
    t.eq(lock(a, U, 4, 2), True, "a hole in the range")
    t.eq(lock(b, W, 4, 2), True, "the hole is free")
    t.check(lock(b, W, 3, 1) in BUSY, "beside the hole is not")


@test(smoke=True)
def posix_locks(t):
    """fcntl locks exclude processes of the mount from each other, range by range."""
    p = write(os.path.join(t.mnt, "f"), "x" * 100)
    posix_story(t, *two(t, p, p), ofd=False)


@test()
def ofd_locks(t):
    """Open-file-description locks work, also between two descriptors of one process."""
    p = write(os.path.join(t.mnt, "f"), "x" * 100)
    posix_story(t, *two(t, p, p), ofd=True)
    with Actor() as one:
        one.call(procs.a_open, "a", p)
        one.call(procs.a_open, "b", p)
        one.call(procs.a_posix, "a", W, 50, 1, False, True)
        t.check(one.call(procs.a_posix, "b", W, 50, 1, False, True) in BUSY, "two descriptors of one process")


@test(smoke=True, needs={"locks": (None, "host")})
def posix_locks_with_the_host(t):
    """A lock taken on the mount is seen by a process on the host, and the other way round."""
    p, host = write(os.path.join(t.mnt, "f"), "x" * 100), os.path.join(t.src, "f")
    posix_story(t, *two(t, p, host), ofd=False)
    os.unlink(p)
    write(p, "x" * 100)
    posix_story(t, *two(t, host, p), ofd=False)


@test(smoke=True)
def flock_locks(t):
    """flock excludes, is shared, is kept by a dup and released at the last close; the host sees it too."""
    for where in (t.mnt, t.src):
        p = write(os.path.join(t.mnt, "f" + os.path.basename(os.path.dirname(where))), "x")
        a, b = two(t, p, os.path.join(where, os.path.basename(p)))
        t.eq(a.call(procs.a_flock, "f", fcntl.LOCK_EX), True, "exclusive")
        t.eq(b.call(procs.a_flock, "f", fcntl.LOCK_EX | fcntl.LOCK_NB), "EAGAIN", "the second is refused")
        t.eq(b.call(procs.a_flock, "f", fcntl.LOCK_SH | fcntl.LOCK_NB), "EAGAIN", "shared is refused")
        a.call(procs.a_flock, "f", fcntl.LOCK_SH)
        t.eq(b.call(procs.a_flock, "f", fcntl.LOCK_SH | fcntl.LOCK_NB), True, "both shared")
        b.call(procs.a_flock, "f", fcntl.LOCK_UN)
        a.call(procs.a_flock, "f", fcntl.LOCK_EX)
        a.call(procs.a_dup, "f", "g")
        a.call(procs.a_close, "f")
        t.eq(b.call(procs.a_flock, "f", fcntl.LOCK_EX | fcntl.LOCK_NB), "EAGAIN", "the dup keeps it")
        a.call(procs.a_close, "g")
        until(lambda: b.call(procs.a_flock, "f", fcntl.LOCK_EX | fcntl.LOCK_NB) is True, "free after the last close")


@test(smoke=True)
def close_releases_posix_locks(t):
    """Closing any descriptor of a file drops the process's POSIX locks on it, as POSIX says; OFD locks stay."""
    p = write(os.path.join(t.mnt, "f"), "x" * 10)
    a, b = two(t, p, p)
    a.call(procs.a_open, "second", p)
    a.call(procs.a_posix, "f", W, 0, 1)
    a.call(procs.a_posix, "f", W, 5, 1, False, True)
    t.check(b.call(procs.a_posix, "f", W, 0, 1) in BUSY, "held")
    a.call(procs.a_close, "second")
    t.eq(b.call(procs.a_posix, "f", W, 0, 1), True, "free at once after close of another descriptor")
    t.check(b.call(procs.a_posix, "f", W, 5, 1) in BUSY, "the OFD lock stays")
    a.call(procs.a_close, "f")
    until(lambda: b.call(procs.a_posix, "f", W, 5, 1) is True, "the OFD lock goes with the last close")


@test(smoke=True)
def death_releases_locks(t):
    """When a lock holder is killed, its locks are free for others."""
    p = write(os.path.join(t.mnt, "f"), "x" * 10)
    for kind in ("posix", "ofd", "flock"):
        a, b = two(t, p, p)

        def take(who):
            if kind == "flock":
                return who.call(procs.a_flock, "f", fcntl.LOCK_EX | fcntl.LOCK_NB)
            return who.call(procs.a_posix, "f", W, 0, 0, False, kind == "ofd")

        t.eq(take(a), True, "held")
        t.check(take(b) is not True, "refused while held")
        a.kill(signal.SIGKILL)
        a.reap()
        until(lambda: take(b) is True, f"the {kind} lock of a killed process is free")
        b.kill()
        b.reap()


@test(smoke=True)
def blocked_locks_wake_up(t):
    """A process that waits for a lock gets it when it becomes free, whoever held it: mount or host."""
    places = [t.mnt] + ([t.src] if t.config.get("locks") in (None, "host") else [])
    for where in places:
        for kind in ("posix", "ofd", "flock"):
            p = write(os.path.join(t.mnt, f"{kind}-{os.path.basename(os.path.dirname(where))}"), "x" * 10)
            holder, waiter = two(t, os.path.join(where, os.path.basename(p)), p)
            if kind == "flock":
                holder.call(procs.a_flock, "f", fcntl.LOCK_EX)
                waiter.start(procs.a_flock, "f", fcntl.LOCK_EX)
            else:
                holder.call(procs.a_posix, "f", W, 0, 0, False, kind == "ofd")
                waiter.start(procs.a_posix, "f", W, 0, 0, True, kind == "ofd")
            waiter.await_block()
            os.listdir(t.mnt)
            t.check(not waiter.ready(), f"{kind}: the waiter waits")
            if kind == "flock":
                holder.call(procs.a_flock, "f", fcntl.LOCK_UN)
            else:
                holder.call(procs.a_posix, "f", U, 0, 0, False, kind == "ofd")
            t.eq(waiter.result(), True, f"{kind}: the waiter gets it")


@test(smoke=True)
def signals_end_lock_waits(t):
    """A signal ends a wait for a lock with EINTR, SIGKILL ends the waiter, and neither leaves a lock behind."""
    for kind in ("posix", "ofd", "flock"):
        p = write(os.path.join(t.mnt, kind), "x" * 10)
        a, b = two(t, p, p)

        def wait_for(who):
            if kind == "flock":
                who.start(procs.a_flock, "f", fcntl.LOCK_EX)
            else:
                who.start(procs.a_posix, "f", W, 0, 0, True, kind == "ofd")
            who.await_block()

        def take(who):
            if kind == "flock":
                return who.call(procs.a_flock, "f", fcntl.LOCK_EX | fcntl.LOCK_NB)
            return who.call(procs.a_posix, "f", W, 0, 0, False, kind == "ofd")

        t.eq(take(a), True, "held")
        b.call(procs.a_handle_signal, signal.SIGUSR1)
        wait_for(b)
        b.kill(signal.SIGUSR1)
        t.eq(b.result(), "EINTR", f"{kind}: a signal")
        wait_for(b)
        b.kill(signal.SIGKILL)
        b.reap()
        a.call(procs.a_close, "f")
        with Actor() as c:
            c.call(procs.a_open, "f", p)
            until(lambda: take(c) is True, f"{kind}: free after the holder closed and the waiter was killed")


@test()
def many_waiters_do_not_stop_others(t):
    """A hundred processes waiting for one lock stop nobody else; they all get it in the end."""
    p = write(os.path.join(t.mnt, "f"), "x" * 10)
    waiters = []
    with Actor() as holder:
        holder.call(procs.a_open, "f", p)
        holder.call(procs.a_posix, "f", W)
        for i in range(100):
            w = Actor()
            w.call(procs.a_open, "f", p)
            w.start(procs.a_posix, "f", W, 0, 0, True, i % 2 == 1)
            waiters.append(w)
        for w in waiters:
            w.await_block()
        for i in range(200):
            q = write(os.path.join(t.mnt, f"g{i}"), b"data")
            os.stat(q)
            os.fsync(fd := os.open(q, os.O_RDWR))
            os.close(fd)
        t.eq(len(os.listdir(t.mnt)), 201, "others work")
        t.check(not any(w.ready() for w in waiters), "all wait")
        for w in waiters[::2]:
            w.kill()
            w.reap()
        holder.call(procs.a_posix, "f", U)
    left = waiters[1::2]
    while left:
        until(lambda: any(w.ready() for w in left), "a waiter gets the lock")
        for w in [w for w in left if w.ready()]:
            t.eq(w.result(), True, "lock")
            w.kill()
            w.reap()
            left.remove(w)


@test()
def umount_with_killed_waiters(t):
    """After killing everybody who waits for a lock, umount works at once and the daemon ends."""
    source = t.place("source")
    served = t.serve(source)
    p = write(os.path.join(served.path, "f"), "x")
    holder = Actor()
    holder.call(procs.a_open, "f", p)
    holder.call(procs.a_posix, "f", W)
    waiters = []
    for i in range(10):
        w = Actor()
        w.call(procs.a_open, "f", p)
        w.start(procs.a_posix, "f", W, 0, 0, True)
        w.await_block()
        waiters.append(w)
    for w in [*waiters, holder]:
        w.kill()
        w.reap()
    t.end(served)


@test()
def posix_deadlock_is_found(t):
    """Two processes that wait for each other: one gets EDEADLK as on a local file system, or can at least be interrupted."""
    p = write(os.path.join(t.mnt, "f"), "x" * 10)
    a, b = two(t, p, p)
    a.call(procs.a_handle_signal, signal.SIGUSR1)
    b.call(procs.a_handle_signal, signal.SIGUSR1)
    a.call(procs.a_posix, "f", W, 0, 1)
    b.call(procs.a_posix, "f", W, 1, 1)
    a.start(procs.a_posix, "f", W, 1, 1, True)
    a.await_block()
    b.start(procs.a_posix, "f", W, 0, 1, True)
    b.await_block()
    if b.ready():
        t.eq(b.result(), "EDEADLK", "deadlock")
    else:
        b.kill(signal.SIGUSR1)
        t.eq(b.result(), "EINTR", "interrupted")
    b.call(procs.a_close, "f")
    t.eq(a.result(), True, "the other one gets its lock")


@test()
def fork_does_not_inherit_posix_locks(t):
    """A child does not inherit POSIX locks, and its exit does not release those of the parent; flock is shared by both."""
    p = write(os.path.join(t.mnt, "f"), "x" * 10)
    fd = os.open(p, os.O_RDWR)
    import syscalls
    syscalls.posix_lock(fd, W)
    pid = os.fork()
    if pid == 0:
        try:
            syscalls.posix_lock(fd, W)
            os._exit(1)
        except OSError:
            os._exit(0)
    t.eq(os.waitpid(pid, 0)[1], 0, "the child is refused")
    with Actor() as b:
        b.call(procs.a_open, "f", p)
        t.check(b.call(procs.a_posix, "f", W) in BUSY, "still held after the child's exit")
        os.close(fd)
        t.eq(b.call(procs.a_posix, "f", W), True, "free")
