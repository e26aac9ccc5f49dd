"""PostgreSQL with its data directory on the mount."""

import glob
import os
import pwd
import re
import signal
import subprocess

from procs import run_as, until
from registry import test


def programs():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda p: int(re.findall(r"/(\d+)/", p)[0]))
    return found[-1] if found else None


class Cluster:
    def __init__(self, t):
        self.t, self.bin = t, programs()
        if not self.bin:
            t.skip("PostgreSQL is not installed")
        user = pwd.getpwnam("postgres")
        self.who = (user.pw_uid, user.pw_gid, ())
        self.data = os.path.join(t.mnt, "data")
        self.run_dir = t.place("run")
        os.chown(self.run_dir, *self.who[:2])
        os.mkdir(self.data)
        os.chown(self.data, *self.who[:2])
        os.chmod(self.data, 0o700)

    def call(self, program, *args, check=True):
        argv = [os.path.join(self.bin, program), *args]
        log = os.path.join(self.run_dir, "out")

        def go():
            with open(log, "ab") as out:
                return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.run_dir).returncode

        code = run_as(*self.who, go)
        if check and code != 0:
            with open(log, errors="replace") as f:
                tail = f.read()[-600:]
            raise AssertionError(f"{program} {args[:1]}: {code}: {self.complaints()} {tail}")
        return code == 0

    def complaints(self):
        """What the server's log says about the trouble."""
        log = os.path.join(self.run_dir, "log")
        if not os.path.exists(log):
            return ""
        with open(log, errors="replace") as f:
            return " ".join(line.strip() for line in f if re.search("PANIC|FATAL|ERROR|WARNING", line))[:500]

    def start(self):
        options = f"-k {self.run_dir} -c listen_addresses= -c max_connections=20 -c shared_buffers=16MB"
        return self.call("pg_ctl", "-D", self.data, "-w", "-t", "60", "-o", options, "-l", os.path.join(self.run_dir, "log"),
                         "start", check=False)

    def query(self, text):
        argv = [os.path.join(self.bin, "psql"), "-h", self.run_dir, "-d", "postgres", "-Atc", text]
        ask = lambda: subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=self.run_dir).stdout
        return run_as(*self.who, ask).decode().strip()

    def postmaster(self):
        with open(os.path.join(self.data, "postmaster.pid")) as f:
            return int(f.readline())


@test(full=True, limit=900)
def postgresql(t):
    """PostgreSQL creates, fills and changes a database on the mount, and recovers every committed row after kill -9."""
    cluster = Cluster(t)
    cluster.call("initdb", "-D", cluster.data, "-A", "trust", "--data-checksums", "--locale=C")
    t.check(cluster.start(), "it starts")
    host = ("-h", cluster.run_dir, "postgres")
    cluster.call("pgbench", "-i", "-q", "-s", "2", *host)
    cluster.call("pgbench", "-n", "-c", "4", "-t", "200", *host)
    t.eq(cluster.query("SELECT count(*) FROM pgbench_history"), "800", "transactions")
    balance = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(tbalance) FROM pgbench_tellers)"
    t.eq(cluster.query(balance), "t", "balances")
    cluster.call("pg_ctl", "-D", cluster.data, "-m", "fast", "-w", "stop")
    t.check(cluster.start(), "it starts again")
    cluster.call("pgbench", "-n", "-c", "4", "-t", "100", *host)
    pid = cluster.postmaster()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    until(cluster.start, "it recovers", 120)
    t.eq(cluster.query("SELECT count(*) FROM pgbench_history"), "1200", "no committed row is lost by kill -9")
    t.eq(cluster.query(balance), "t", "balances after recovery")
    for work in ("VACUUM FULL", "REINDEX DATABASE postgres", "CHECKPOINT"):
        cluster.query(work)
    cluster.call("pg_ctl", "-D", cluster.data, "-m", "fast", "-w", "stop")
    cluster.call("pg_checksums", "--check", "-D", cluster.data)
    t.same_trees()
