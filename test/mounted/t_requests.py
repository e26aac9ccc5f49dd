"""How many requests everyday work costs, counted in the daemon's trace."""

import os
import re
import subprocess

from harness import shell
from procs import attempt, until
from registry import test
from syscalls import kept_in_memory
from trees import read, write

TRACE = "it counts requests in handlefs' trace"


def count_requests(log, operation):
    """The number of requests of one kind in a trace: lines like `rx 12 LOOKUP n1 "a"`."""
    return len(re.findall(rf"\brx \d+ {operation}\b", log))


class Counter:
    """Counts what was asked since the last reading; a lookup of a marker shows that the trace is complete."""

    def __init__(self, t, served):
        self.t, self.served, self.at, self.marks = t, served, 0, 0
        self.since()

    def since(self):
        self.marks += 1
        mark = f"marker-{self.marks}"
        attempt(os.stat, os.path.join(self.served.path, mark))
        until(lambda: mark in self.served.log_text(), "the trace shows the marker")
        text = self.served.log_text()
        part, self.at = text[self.at:], len(text)
        return part


def traced(t, **options):
    source = os.path.join(t.src, "source")
    os.makedirs(source, exist_ok=True)
    served = t.serve(source, trace=True, **options)
    return served, Counter(t, served)


@test(only=TRACE)
def writes_cost_one_request(t):
    """Small writes are one request each (none with passthrough), without a GETXATTR of security.capability for each."""
    served, counter = traced(t)
    fd = os.open(os.path.join(served.path, "f"), os.O_RDWR | os.O_CREAT)
    os.write(fd, b"first")
    counter.since()
    for i in range(100):
        os.pwrite(fd, b"x", i)
    log = counter.since()
    t.check(count_requests(log, "GETXATTR") <= 5, f"{count_requests(log, 'GETXATTR')} GETXATTR for 100 writes")
    t.check(count_requests(log, "WRITE") <= 100, f"{count_requests(log, 'WRITE')} WRITE for 100 writes")
    t.check(count_requests(log, "SETATTR") <= 5, f"{count_requests(log, 'SETATTR')} SETATTR for 100 writes")
    if t.config.get("passthrough") == "on":
        t.eq(count_requests(log, "WRITE"), 0, "WRITE with passthrough")
    os.close(fd)


@test(only=TRACE)
def listing_does_not_ask_twice(t):
    """ls -l gets attributes with the listing; a second ls -l asks for none."""
    served, counter = traced(t, cache="always", timeout=None)
    for i in range(1000):
        write(os.path.join(t.src, "source", f"f{i}"))
    counter.since()
    asked = []
    for _ in range(2):
        shell("ls", "-l", served.path)
        log = counter.since()
        operations = ("GETXATTR", "LISTXATTR", "LOOKUP", "GETATTR", "READDIRPLUS", "READDIR")
        asked.append({op: count_requests(log, op) for op in operations})
    t.note(f"ls -l of 1000 files: first {asked[0]} second {asked[1]}")
    t.check(asked[0]["LOOKUP"] + asked[0]["GETATTR"] <= 100, f"first: {asked[0]}")
    t.check(asked[0]["GETXATTR"] <= 2010, f"first: {asked[0]}")
    # The kernel keeps no security.selinux, and drops ACLs with each READDIRPLUS: these come again.
    t.check(asked[1]["GETXATTR"] <= asked[0]["GETXATTR"], f"second: {asked[1]}")
    t.check(asked[1]["LOOKUP"] + asked[1]["GETATTR"] <= 20, f"second: {asked[1]}")


@test(only=TRACE)
def cached_listing_is_free(t):
    """With cache=always a directory that was listed is listed again without any request, and completely."""
    served, counter = traced(t, cache="always", timeout=None)
    names = sorted(f"{i}-" + "n" * 100 for i in range(3000))
    for name in names:
        write(os.path.join(served.path, name))
    t.eq(sorted(os.listdir(served.path)), names, "first listing")
    # A position in a directory of overlayfs means nothing to another descriptor: these are opened each time.
    free = ["READDIR", "READDIRPLUS"]
    if t.fs != "overlay":
        free += ["OPENDIR", "RELEASEDIR"]
    # The kernel may take the pages of a listing back at any time: one round of a few must find them all.
    for _ in range(5):
        counter.since()
        t.eq(sorted(os.listdir(served.path)), names, "second listing")
        log = counter.since()
        asked = {op: count_requests(log, op) for op in free}
        if not any(asked.values()):
            break
    t.eq(asked, dict.fromkeys(free, 0), "requests of a second listing")


@test(only=TRACE)
def absent_acls_are_remembered(t):
    """Asking again for an ACL that a file does not have costs no request while attributes are cached."""
    served, counter = traced(t, cache="always", timeout=None)
    p = write(os.path.join(served.path, "f"), "x")
    name = "system.posix_acl_access"
    first = attempt(os.getxattr, p, name)
    if first == "EOPNOTSUPP":
        t.skip(f"{t.fs} has no ACLs here")
    counter.since()
    for _ in range(50):
        t.eq(attempt(os.getxattr, p, name), "ENODATA", "no ACL")
    t.check(count_requests(counter.since(), "GETXATTR") <= 1, "GETXATTR again")


@test(only=TRACE)
def cached_stat_is_free(t):
    """With cache=always a second stat, open-less read of the tree and a missing name cost no request."""
    served, counter = traced(t, cache="always", timeout=None)
    p = write(os.path.join(served.path, "f"), "x")
    os.stat(p)
    attempt(os.stat, p + "missing")
    counter.since()
    for _ in range(50):
        os.stat(p)
        attempt(os.stat, p + "missing")
    log = counter.since()
    t.check(count_requests(log, "LOOKUP") <= 2, f"{count_requests(log, 'LOOKUP')} LOOKUP")
    t.eq(count_requests(log, "GETATTR"), 0, "GETATTR")


@test(only=TRACE)
def reads_are_big(t):
    """A big file is read with few requests (none with passthrough); cache=always reads it from the page cache next time."""
    served, counter = traced(t, cache="always", timeout=None)
    p = write(os.path.join(t.src, "source", "big"), os.urandom(8 << 20))
    counter.since()
    read(os.path.join(served.path, "big"))
    first = count_requests(counter.since(), "READ")
    t.check(first <= 130, f"{first} READ for 8 MiB")
    # Page cache is the kernel's to take back, also without pressure (DAMON's pageout): what counts is that nobody drops it for an open.
    with kept_in_memory(os.path.join(served.path, "big")):
        counter.since()
        t.eq(read(os.path.join(served.path, "big")), read(p), "content")
        second = count_requests(counter.since(), "READ")
    t.eq(second, 0, "READ for 8 MiB the second time")


@test(only=TRACE)
def trace_shows_requests(t):
    """-d shows each request and each answer with the name that it is about."""
    served, counter = traced(t)
    write(os.path.join(served.path, "a file"), "x")
    os.rename(os.path.join(served.path, "a file"), os.path.join(served.path, "new"))
    log = counter.since()
    t.check(count_requests(log, "CREATE") == 1, "CREATE")
    t.check(count_requests(log, "RENAME2?") == 1, "RENAME")
    t.check('"a file"' in log and '"new"' in log, "names")
    t.check(len(re.findall(r"\btx \d+", log)) > 2, "answers")


@test(only="it sets a limit on the daemon's queue", scope="fs")
def slow_readers_stop_nobody(t):
    """A process that waits on a FIFO, a lock and a big copy at once does not stop the others."""
    source = t.place("source")
    served = t.serve(source, threads=1)
    write(os.path.join(source, "big"), os.urandom(64 << 20))
    copy = subprocess.Popen(["cp", os.path.join(served.path, "big"), os.path.join(served.path, "copy")])
    for i in range(300):
        p = write(os.path.join(served.path, f"f{i}"), "x")
        t.eq(read(p), b"x", "content")
    t.eq(copy.wait(60), 0, "the copy")
    t.eq(os.stat(os.path.join(source, "copy")).st_size, 64 << 20, "size of the copy")
