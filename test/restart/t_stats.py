"""What handlefsctl tells of requests, and what it has the server do: stats, metrics, trace, path, drop-caches, drain."""

import fcntl
import json
import mmap
import os
import random
import re
import signal
import socket
import subprocess
import sys

import harness
import prometheus
import syscalls
from daemon import control_path
from procs import Actor, attempt, until
from registry import test
from t_control import ctl, says
from t_failures import new_keeper

HUNG = os.path.join(os.path.dirname(os.path.realpath(harness.__file__)), "hung.py")


def ask(t, daemon, *words):
    code, out, err = ctl(t, "--json", daemon.mount, *words)
    t.eq((code, err), (0, ""), f"{words}: {out}")
    return json.loads(out)


def ops(t, daemon):
    """{op: its entry}"""
    return {op["op"]: op for op in ask(t, daemon, "stats")["ops"]}


def count(t, daemon, op):
    return ops(t, daemon).get(op, {"count": 0})["count"]


def both(t, **options):
    """One daemon with a keeper, one without, each at a mount point of its own."""
    for restart in ("best", "off"):
        yield t.serve(mount=os.path.join(t.work, f"mnt-{restart}"), restart=restart, **options)


class Hung:
    """A mount whose names hang*, when asked for, are never answered."""

    def __init__(self, place):
        self.place = place
        os.makedirs(place, exist_ok=True)
        self.server = subprocess.Popen([sys.executable, HUNG, place], stdin=subprocess.DEVNULL)
        until(lambda: os.path.exists(os.path.join(place, "file")), "the other file system answers")

    def end(self):
        self.server.kill()
        self.server.wait()
        attempt(syscalls.umount2, self.place, syscalls.MNT_DETACH)


class Follower:
    """handlefsctl trace follow, which writes to a file."""

    def __init__(self, t, daemon, name="follow"):
        self.path = os.path.join(t.work, name)
        with open(self.path, "wb") as out:
            self.process = subprocess.Popen([t.run.ctl, daemon.mount, "trace", "follow"], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        # It follows once it shows what is asked.
        until(lambda: attempt(os.stat, os.path.join(daemon.mount, "follows?")) and "follows?" in self.text(), "the follower's first line")

    def text(self):
        with open(self.path, errors="replace") as f:
            return f.read()


@test(smoke=True, scope="fs")
def stats_count_requests(t):
    """Each request is counted once, with its error and its time; bytes and open files too; with a keeper and without."""
    # Else a name that is not there is an answer, and no error.
    for daemon in both(t, cache="none"):
        daemon.rest()
        before = ops(t, daemon).get("LOOKUP", {"count": 0, "by_error": {}})
        for i in range(20):
            attempt(os.stat, os.path.join(daemon.mount, f"missing{i}"))
        after = ops(t, daemon)["LOOKUP"]
        t.eq(after["count"] - before["count"], 20, "LOOKUPs")
        t.eq(after["by_error"]["ENOENT"] - before["by_error"].get("ENOENT", 0), 20, "ENOENT")
        t.eq(sum(after["buckets"]), after["count"], "the histogram has all")
        t.check(0 < after["p50_us"] <= after["p99_us"], f"quantiles: {after}")
        fd = os.open(os.path.join(daemon.mount, "f"), os.O_RDWR | os.O_CREAT)
        os.pwrite(fd, b"x" * 5000, 0)
        stats = ask(t, daemon, "stats")
        if t.config["passthrough"] == "off":
            t.eq(stats["bytes_written"], 5000, "bytes written")
        until(lambda: ask(t, daemon, "stats")["open_files"] == 1, "the open file is seen")
        os.close(fd)
        until(lambda: ask(t, daemon, "stats")["open_files"] == 0, "and its end")
        t.check(stats["descriptors"] > 3 and stats["descriptor_limit"] >= stats["descriptors"], "descriptors")
        t.check(stats["memory_bytes"] > 1 << 20 and stats["waiting"] == 0 and stats["in_flight"] == [], "memory, waiting")
        code, out, err = ctl(t, daemon.mount, "stats")
        t.eq((code, err), (0, ""), "for people")
        t.check(re.search(r"^LOOKUP +\d+ +\d+ +\S+ us", out, re.M), f"the table: {out}")
        t.check(re.search(r"^requests: +\d+, \d+ with an error \(ENOENT \d+", out, re.M), f"the summary: {out}")
        t.end(daemon)
        t.check(not os.path.exists(control_path(daemon.mount)), "the control socket is left")


@test(scope="fs")
def stats_outlive_the_server(t):
    """Counters go on over handlefsctl restart, upgrade, a killed server and a killed keeper."""
    daemon = t.serve(cache="none")
    asked = 0

    def some():
        nonlocal asked
        for i in range(10):
            attempt(os.stat, os.path.join(t.mnt, f"missing{asked + i}"))
        asked += 10
        t.check(ops(t, daemon)["LOOKUP"]["by_error"]["ENOENT"] >= asked, "all of them are counted")

    some()
    ask(t, daemon, "restart")
    some()
    daemon.kill_server()
    some()
    ask(t, daemon, "upgrade", t.program)
    some()
    stats = ask(t, daemon, "stats")
    t.eq((stats["generation"], stats["crashes"]), (4, 1), "servers")
    t.check(stats["server"] == daemon.server(), "the present server")
    new_keeper(t, daemon)
    until(daemon.answers, "the new keeper answers")
    some()


@test(smoke=True, scope="fs")
def stats_name_what_hangs(t):
    """While requests hang on the host, or the server itself does, stats answers and names them with their ages."""
    for restart in ("best", "off"):
        place = os.path.join(t.work, f"hung-{restart}")
        hung = Hung(place)
        daemon = t.serve(source=place, mount=os.path.join(t.work, f"at-{restart}"), restart=restart, identity="fd", passthrough="off")
        stuck = subprocess.Popen(["stat", os.path.join(daemon.mount, "hang")], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: any(r["where"] == "pool" for r in ask(t, daemon, "stats")["in_flight"]), "the request is seen")
        first = ask(t, daemon, "stats")["in_flight"][0]
        t.eq((first["op"], first["node"], first["where"]), ("LOOKUP", 1, "pool"), "what hangs")
        later = until(lambda: next((r for r in ask(t, daemon, "stats")["in_flight"] if r["age_seconds"] > first["age_seconds"]), None), "it ages")
        t.eq(later["unique"], first["unique"], "it is the same")
        code, out, _ = ctl(t, daemon.mount, "stats")
        t.check(code == 0 and re.search(rf"^LOOKUP +\S+ m?s +pool +1 +{first['unique']}$", out, re.M), f"for people: {out}")
        # Commands of the server go past it; a drain says what it waits for.
        t.eq(ask(t, daemon, "path", "1")["path"], place, "path of the root")
        code, _, err = ctl(t, daemon.mount, "drain", "0")
        t.check(code == 1 and "LOOKUP of node 1" in err, f"drain: {code} {err}")
        hung.end()
        stuck.wait(30)
        until(lambda: not ask(t, daemon, "stats")["in_flight"], "nothing hangs any more")
        t.end(daemon)
    daemon = t.serve()
    server = daemon.server()
    os.kill(server, signal.SIGSTOP)
    with Actor() as a:
        a.start(os.stat, os.path.join(t.mnt, "x"))
        until(lambda: daemon.waiting() > 0, "the request waits")
        t.eq(ask(t, daemon, "stats")["waiting"], 1, "the kernel waits")
        says(t, 3, "does not answer", daemon.mount, "path", "1")
        os.kill(server, signal.SIGCONT)
        a.result()


@test(smoke=True, scope="fs")
def metrics_are_valid(t):
    """metrics_file has valid text for Prometheus, replaced whole, also in the end; metrics prints the same."""
    for restart in ("best", "off"):
        path = os.path.join(t.work, f"{restart}.prom")
        daemon = t.serve(restart=restart, metrics_file=path, cache="none")
        attempt(os.stat, os.path.join(t.mnt, "missing"))
        daemon.rest()
        for i in range(3):
            with open(os.path.join(t.mnt, "f"), "w", encoding="ascii") as f:
                f.write("x" * i)
        until(lambda: os.path.exists(path), "the first file")
        with open(path, encoding="utf-8") as f:
            t.check("handlefs_requests_total" in f.read(), "it has counters")
        code, text, err = ctl(t, daemon.mount, "metrics")
        t.eq((code, err), (0, ""), "metrics")
        samples = prometheus.parse(text)
        mount = ("mount", daemon.mount)
        missing = samples["handlefs_requests_total"][tuple(sorted((mount, ("op", "LOOKUP"), ("result", "ENOENT"))))]
        t.check(missing >= 1, "missing names")
        seconds = samples["handlefs_request_seconds_count"]
        t.check(seconds[tuple(sorted((mount, ("op", "LOOKUP"))))] >= missing, "times of LOOKUPs")
        for name in ("handlefs_in_flight", "handlefs_waiting", "handlefs_open_files", "handlefs_nodes", "handlefs_descriptors",
                     "handlefs_descriptor_limit", "handlefs_servers_total", "handlefs_crashes_total", "handlefs_resident_bytes"):
            t.check(name in samples, f"{name} is missing")
        t.end(daemon)
        with open(path, encoding="utf-8") as f:
            last = prometheus.parse(f.read())["handlefs_requests_total"]
        for key, value in samples["handlefs_requests_total"].items():
            t.check(last.get(key, -1) >= value, f"the last file has less of {key}")
        t.check(not os.path.exists(path + ".tmp"), "something is left")


@test(scope="fs")
def metrics_file_mistakes(t):
    """A metrics file that cannot be written is refused at the start with status 1; later it is said once."""
    done = subprocess.run([t.program, "-f", "-o", f"metrics_file={t.work}/none/x.prom", t.src, t.mnt], capture_output=True, text=True, check=False)
    t.eq(done.returncode, 1, "exit status")
    t.check(len(done.stderr.splitlines()) == 1 and f"metrics_file={t.work}/none/x.prom" in done.stderr, done.stderr)
    t.check(not harness.mounted_at(t.mnt), "it is mounted")
    place = os.path.join(t.work, "metrics")
    os.mkdir(place)
    daemon = t.serve(metrics_file=os.path.join(place, "x.prom"))
    until(lambda: os.path.exists(os.path.join(place, "x.prom")), "the first file")
    os.rename(place, place + ".away")
    os.stat(t.mnt)
    t.end(daemon)
    t.eq(daemon.said("cannot write the metrics"), 1, "the failure is said")


@test(smoke=True, scope="fs")
def trace_is_switched(t):
    """trace on and off act at once and in the next server; follow shows requests with host paths whether they are logged or not."""
    for daemon in both(t):
        sub = os.path.join(t.src, "sub")
        os.makedirs(sub, exist_ok=True)
        look = lambda name: attempt(os.stat, os.path.join(daemon.mount, "sub", name))
        look("before")
        t.eq(ask(t, daemon, "trace", "on")["was"], "off", "trace")
        look("while")
        until(lambda: 'LOOKUP' in daemon.text() and '"while"' in daemon.text(), "the log has it")
        line = next(line for line in daemon.text().splitlines() if '"while"' in line)
        t.check(re.fullmatch(r'.*rx \d+ LOOKUP n\w+ "while" @ /sub', line), f"with its path: {line}")
        if daemon.options["restart"] != "off":
            ask(t, daemon, "restart")
            look("after")
            until(lambda: '"after"' in daemon.text(), "the next server traces")
        t.eq(ask(t, daemon, "trace", "off")["was"], "on", "trace")
        look("then")
        t.check('"then"' not in daemon.text() and '"before"' not in daemon.text(), "it is off")
        follower = Follower(t, daemon)
        look("followed")
        until(lambda: '"followed" @ /sub' in follower.text(), "the follower has it")
        t.check('"followed"' not in daemon.text(), "the log has it, too")
        if daemon.options["restart"] != "off":
            ask(t, daemon, "restart")
            until(lambda: look("again") and '"again"' in follower.text(), "it follows the next server")
        # A reader that is stopped, and one that is killed.
        other = Follower(t, daemon, "other")
        os.kill(follower.process.pid, signal.SIGSTOP)
        other.process.kill()
        other.process.wait()
        for i in range(20000):
            look(f"{i}-" + "x" * 200)
        os.kill(follower.process.pid, signal.SIGCONT)
        until(lambda: look("more") and "dropped: the reader is too slow" in follower.text(), "what was dropped is said")
        t.end(daemon)
        t.eq(follower.process.wait(30), 0, "the follower's end")


@test(smoke=True, scope="fs")
def path_of_nodes(t):
    """path finds a node of the trace on the host, and tells of nodes without a path."""
    for daemon in both(t):
        os.makedirs(os.path.join(t.src, "a b/c"), exist_ok=True)
        with open(os.path.join(t.src, "a b/c/f"), "w", encoding="ascii"):
            pass
        follower = Follower(t, daemon)

        def node_of(name):
            os.stat(os.path.join(daemon.mount, name))
            base = os.path.basename(name)
            reply = until(lambda: re.search(rf'rx (\d+) LOOKUP n\w+ "{base}"[^\n]*\n(?:.*\n)*?.*tx \1 LOOKUP OK n(\w+)', follower.text()), f"the lookup of {name}")
            return reply[2]

        for name in ("a b", "a b/c", "a b/c/f"):
            node = node_of(name)
            code, out, err = ctl(t, daemon.mount, "path", node)
            t.eq((code, out, err), (0, os.path.join(t.src, name) + "\n", ""), name)
            t.eq(ask(t, daemon, "path", str(int(node, 0)))["path"], os.path.join(t.src, name), "as a number")
        os.rename(os.path.join(t.src, "a b/c/f"), os.path.join(t.src, "g"))
        t.eq(ask(t, daemon, "path", node)["path"], os.path.join(t.src, "g"), "after a rename")
        os.rename(os.path.join(t.src, "g"), os.path.join(t.src, "a b/c/f"))
        fd = os.open(os.path.join(daemon.mount, "a b/c/f"), os.O_RDONLY)
        os.unlink(os.path.join(daemon.mount, "a b/c/f"))
        says(t, 1, "was removed while it is in use", daemon.mount, "path", node)
        os.close(fd)
        until(lambda: "means no file" in ctl(t, daemon.mount, "path", node)[2], "it is gone")
        for wrong in ("2", str(1 << 63 | 5), str((1 << 62) + 12345)):
            t.eq(ctl(t, daemon.mount, "path", wrong)[0], 1, f"node {wrong}")
        says(t, 2, "nodeid", daemon.mount, "path", "here")
        t.end(daemon)
        follower.process.wait(30)


@test(smoke=True, scope="fs")
def caches_are_dropped(t):
    """After drop-caches the next stat asks the server, and the next read has what the host has now."""
    for restart in ("best", "off"):
        daemon = t.serve(restart=restart, cache="always", passthrough="off")
        for name in ("f", "open"):
            with open(os.path.join(t.src, name), "w", encoding="ascii") as f:
                f.write("old")
        held = os.open(os.path.join(t.mnt, "open"), os.O_RDONLY)
        path = os.path.join(t.mnt, "f")
        t.eq((os.stat(path).st_size, os.pread(held, 9, 0)), (3, b"old"), "before")
        for name in ("f", "open"):
            with open(os.path.join(t.src, name), "w", encoding="ascii") as f:
                f.write("newer")
        before = count(t, daemon, "LOOKUP")
        t.eq((os.stat(path).st_size, os.pread(held, 9, 0)), (3, b"old"), "it is cached")
        t.eq(count(t, daemon, "LOOKUP"), before, "it was asked for")
        answer = ask(t, daemon, "drop-caches")
        t.check(answer["open_files"] >= 1 and answer["names"], f"it says what it did: {answer}")
        t.eq(os.stat(path).st_size, 5, "size")
        t.check(count(t, daemon, "LOOKUP") > before, "the name was not asked for")
        with open(path, encoding="ascii") as f:
            t.eq(f.read(), "newer", "content")
        t.eq(os.pread(held, 9, 0), b"newer", "content of the open file")
        os.close(held)
        t.end(daemon)


@test(smoke=True, scope="fs")
def drain_finishes(t):
    """drain returns when nothing is under way and what was written through a mapping is on the host; the mount goes on."""
    for daemon in both(t):
        path = os.path.join(daemon.mount, "f")
        with open(path, "wb") as f:
            f.write(bytes(1 << 16))
        fd = os.open(path, os.O_RDWR)
        with mmap.mmap(fd, 1 << 16) as m:
            m[:5] = b"dirty"
            answer = ask(t, daemon, "drain")
            t.check(answer["seconds"] >= 0 and answer["waiting"] == 0, f"drained: {answer}")
            with open(os.path.join(t.src, "f"), "rb") as f:
                t.eq(f.read(5), b"dirty", "on the host")
        os.close(fd)
        # A lock that is waited for is under way.
        holder = os.open(os.path.join(t.src, "f"), os.O_RDWR)
        fcntl.flock(holder, fcntl.LOCK_EX)
        waiter = subprocess.Popen(["flock", path, "true"], stdin=subprocess.DEVNULL)
        until(lambda: any(r["where"] == "lock" for r in ask(t, daemon, "stats")["in_flight"]), "the lock is waited for")
        code, _, err = ctl(t, daemon.mount, "drain", "1")
        t.check(code == 1 and "not drained" in err and "SETLKW" in err, f"drain: {code} {err}")
        fcntl.flock(holder, fcntl.LOCK_UN)
        t.eq(waiter.wait(30), 0, "the waiter")
        os.close(holder)
        ask(t, daemon, "drain")
        t.end(daemon)


@test(scope="fs")
def ctl_without_a_keeper(t):
    """With restart=off status and abort work, and restart and upgrade say why not."""
    daemon = t.serve(restart="off")
    status = ask(t, daemon, "status")
    t.eq((status["restart"], status["server"], status["serving"], status["source"]), ("off", daemon.process.pid, True, t.src), "status")
    says(t, 1, "restart=off", daemon.mount, "restart")
    fd = os.open(os.path.join(t.mnt, "f"), os.O_RDWR | os.O_CREAT)
    t.eq(ask(t, daemon, "abort")["by"], "the kernel", "abort")
    t.eq(daemon.ended(), 7, "exit status")
    t.daemons.remove(daemon)
    attempt(os.close, fd)
    t.check(not harness.mounted_at(t.mnt) and not os.path.exists(control_path(t.mnt)), "something is left")


@test(scope="fs")
def junk_holds_nobody_up(t):
    """Clients that say nothing, or nonsense, or hang up do not keep others from being answered."""
    dice = random.Random(t.run.seed)
    for daemon in both(t):
        clients = []
        for i in range(200):
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            if attempt(client.connect, control_path(daemon.mount)) == "EAGAIN":
                until(lambda: attempt(client.connect, control_path(daemon.mount)) != "EAGAIN", "room")
            junk = dice.randbytes(dice.randrange(1, 6000))
            if i % 3:
                attempt(client.send, junk)
            if i % 3 == 2:
                attempt(client.send, b"\n")
            clients.append(client)
        t.check(ask(t, daemon, "stats")["ok"], "stats")
        for words in (("path", "0"), ("path", "-1"), ("trace", "off", "x"), ("drain", "99999999999"), ("upgrade",), (" ",), ("stats\0x",)):
            answer = daemon.ask(*words)
            t.check(answer["ok"] is False and answer["error"], f"{words}: {answer}")
        for client in clients:
            client.close()
        t.end(daemon)
