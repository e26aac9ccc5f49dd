"""A daemon under test: its keeper, its servers, its control socket, and killing of each."""

import json
import os
import re
import signal
import socket
import subprocess

import harness
import procs
import syscalls
from procs import attempt, until


def control_path(mount_point):
    """As daemon/control/socket.h says."""
    name = "".join(f"\\x{ord(c):02x}" if c in "-\\" else "-" if c == "/" else c for c in mount_point[1:])
    return f"/run/handlefs/{name or '-'}.sock"


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(word) for word in f.read().split()]
    except OSError:
        return []


def status_of(pid):
    """{field: text} of /proc/PID/status; empty if there is no such process."""
    try:
        with open(f"/proc/{pid}/status") as f:
            return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    except OSError:
        return {}


def runs(pid):
    return status_of(pid).get("State", "Z")[0] not in "ZX"


def waiting(mount):
    """How many requests of a FUSE mount wait for an answer."""
    with open("/proc/self/mountinfo") as f:
        minor = next((w[2].split(":")[1] for w in map(str.split, f) if harness._unescape(w[4]) == mount), None)
    if minor is None:
        raise AssertionError(f"nothing is mounted at {mount}")
    control = f"/sys/fs/fuse/connections/{minor}/waiting"
    if not os.path.exists(control):
        syscalls.mount("fusectl", "/sys/fs/fuse/connections", "fusectl", 0)
    with open(control) as f:
        return int(f.read())


class Daemon:
    """handlefs -f on a mount point. `keeper` is the pid of who keeps the mount now."""

    def __init__(self, program, source, mount, options, log, env=None):
        self.program, self.source, self.mount, self.options, self.log = program, source, mount, options, log
        if not harness.mounted_at(mount):
            os.makedirs(mount, exist_ok=True)
        argv = [program, "-f", "-o", harness.option_text(options), source, mount]
        with open(log, "ab") as out:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/",
                                            env={**os.environ, **(env or {})}, preexec_fn=harness.die_with_parent)
        self.keeper = self.process.pid
        until(lambda: self.alive() and harness.mounted_at(mount) and not isinstance(attempt(os.stat, mount), procs.Err), "the mount")

    def text(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def said(self, text):
        return sum(text in line for line in self.text().splitlines())

    def alive(self):
        if self.keeper == self.process.pid:
            code = self.process.poll()
            if code is not None:
                raise AssertionError(f"the daemon ended with {code}: {self.text()[-600:]}")
        elif not runs(self.keeper):
            raise AssertionError(f"the keeper is gone: {self.text()[-600:]}")
        return True

    def server(self):
        """The pid of the server, once there is one."""
        return until(lambda: self.alive() and next(iter(children(self.keeper)), None), "a server")

    def kill_server(self):
        """Kills it, and returns when another answers."""
        attempt(os.kill, self.server(), signal.SIGKILL)
        os.statvfs(self.mount)

    def ask(self, *words):
        """The answer of the control socket."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(60)
            s.connect(control_path(self.mount))
            s.sendall(" ".join(w.replace(" ", "\0") for w in words).encode() + b"\n")
            raw = b""
            while part := s.recv(65536):
                raw += part
        return json.loads(raw)

    def crashes(self):
        """How many servers died. (Of messages that come again and again the log has the first.)"""
        return self.ask("status")["crashes"]

    def answers(self):
        return not isinstance(attempt(self.ask, "status"), procs.Err)

    def waiting(self):
        return waiting(self.mount)

    def rest(self):
        """Nothing waits for an answer any more."""
        until(lambda: self.waiting() == 0, "nothing waits any more", 10)

    def ended(self, patience=60):
        """The exit status of the process that was started."""
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError("the daemon does not end") from None

    def stop(self):
        """Unmounts as a user would; returns what was not right about it."""
        complaints = []
        mine = self.keeper == self.process.pid
        try:
            self.rest()
            until(lambda: subprocess.run(["umount", "--", self.mount], stderr=subprocess.DEVNULL).returncode == 0, "umount", 10)
            if mine:
                code = self.ended()
                if code:
                    complaints.append(f"exit status {code} after umount")
            else:
                until(lambda: not runs(self.keeper), "the keeper's end")
        except AssertionError as e:
            complaints.append(str(e))
        complaints += [f"in the log: {line}" for line in self.text().splitlines()
                       if re.search(r"Sanitizer|assert|terminate called|signal (6|11|7|4)\b", line)][:3]
        self.clear()
        return complaints

    def clear(self):
        """Whatever happened: nothing of it stays."""
        if harness.mounted_at(self.mount):
            attempt(harness.abort_connection, self.mount)
            harness.detach(self.mount)
        for pid in {self.keeper, self.process.pid}:
            if pid != self.process.pid or self.process.poll() is None:
                attempt(os.kill, pid, signal.SIGCONT)
                attempt(os.kill, pid, signal.SIGKILL)
        self.process.poll()


class Case:
    """What a test works with."""

    def __init__(self, run, test, fs, config, work):
        self.run, self.test, self.fs, self.config, self.work = run, test, fs, config, work
        self.program = run.program
        self.src = os.path.join(fs.path, test.name)
        self.mnt = os.path.join(work, "mnt")
        self.daemons, self.served = [], 0
        self.note = print
        os.mkdir(self.src)

    def check(self, condition, text):
        if not condition:
            raise AssertionError(text)

    def eq(self, got, wanted, what):
        if got != wanted:
            raise AssertionError(f"{what}: got {got!r}, wanted {wanted!r}")

    def serve(self, source=None, mount=None, env=None, program=None, **options):
        """Starts the daemon with the row's options and these on top."""
        self.served += 1  # each has a log of its own
        merged = {"restart": "best", "transport": "dev", "passthrough": self.config["passthrough"], **options}
        daemon = Daemon(program or self.program, source or self.src, mount or self.mnt, merged,
                        os.path.join(self.work, f"log{self.served}"), env)
        self.daemons.append(daemon)
        return daemon

    def need_failpoints(self):
        with open(self.program, "rb") as f:
            if b"HANDLEFS_FAILPOINT" not in f.read():
                raise AssertionError("this daemon has no failpoints: build it with meson -Dfailpoints=true")

    def script(self, name, text):
        path = os.path.join(self.work, name)
        with open(path, "w") as f:
            f.write("#!/bin/sh\n" + text)
        os.chmod(path, 0o755)
        return path

    def end(self, daemon):
        self.daemons.remove(daemon)
        complaints = daemon.stop()
        self.check(not complaints, "; ".join(complaints))

    def finish(self):
        for daemon in list(reversed(self.daemons)):
            self.end(daemon)

    def give_up(self):
        for daemon in reversed(self.daemons):
            daemon.clear()


