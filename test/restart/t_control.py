"""handlefsctl: what it shows, and what it says when something is wrong."""

import json
import os
import signal
import subprocess

import harness
from daemon import control_path
from procs import Actor, attempt, until
from registry import test


def ctl(t, *words, cwd="/", limit=60):
    done = subprocess.run([t.run.ctl, *words], capture_output=True, text=True, timeout=limit, cwd=cwd, check=False)
    return done.returncode, done.stdout, done.stderr


def says(t, code, part, *words, cwd="/"):
    """One line on stderr, nothing on stdout."""
    got, out, err = ctl(t, *words, cwd=cwd)
    t.eq((got, out), (code, ""), f"{words}: {err}")
    t.check(len(err.splitlines()) == 1 and part in err and err.startswith("handlefsctl: "), f"{words}: {err!r} has no {part!r}")


@test(smoke=True, scope="fs")
def ctl_shows_the_mount(t):
    """handlefsctl status names processes, generation and requests; --json gives the daemon's line; names of all kinds work."""
    for name in ("mnt", "a-b c\\d", "ä"):
        daemon = t.serve(mount=os.path.join(t.work, name))
        code, out, err = ctl(t, daemon.mount, "status")
        t.eq((code, err), (0, ""), "status")
        lines = dict(line.split(":", 1) for line in out.splitlines())
        starts = {len(line) - len(line.split(":", 1)[1].lstrip()) for line in out.splitlines() if line.split(":", 1)[1].strip()}
        t.eq(len(starts), 1, f"values stand below each other: {out}")
        t.eq(lines["keeper"].strip(), str(daemon.keeper), "keeper")
        t.eq(lines["server"].strip(), str(daemon.server()), "server")
        t.eq(lines["mount point"].strip(), daemon.mount, "mount point")
        code, out, _ = ctl(t, "--json", daemon.mount + "/", "status")
        t.eq((code, len(out.splitlines())), (0, 1), "--json")
        status = json.loads(out)
        t.eq((status["ok"], status["generation"], status["serving"], status["crashes"]), (True, 1, True, 0), "status as JSON")
        code, out, _ = ctl(t, os.path.basename(daemon.mount), "restart", cwd=t.work)
        t.check(code == 0 and "generation: 2" in out, f"restart: {out}")
        code, out, err = ctl(t, control_path(daemon.mount), "upgrade", t.program)
        t.check(code == 0 and "generation: 3" in out, f"upgrade: {out} {err}")
        daemon.kill_server()
        status = json.loads(ctl(t, daemon.mount, "status", "--json")[1])
        t.eq((status["generation"], status["crashes"]), (4, 1), "after a crash")
        says(t, 1, "it is not handlefs", daemon.mount, "upgrade", "/bin/true")
        code, out, err = ctl(t, "--json", daemon.mount, "upgrade", "/bin/true")
        t.check(code == 1 and not err and json.loads(out)["ok"] is False, f"refused with --json: {code} {out} {err}")
        t.end(daemon)
        t.check(not os.path.exists(control_path(daemon.mount)), "the control socket is left")


@test(scope="fs")
def ctl_explains_mistakes(t):
    """What is wrong is said in one line, with the cure and the documented status."""
    plain = os.path.join(t.work, "plain")
    os.mkdir(plain)
    says(t, 2, "--help", )
    says(t, 2, "sing", plain, "sing")
    says(t, 2, "/nowhere", plain, "upgrade", "/nowhere/handlefs")
    says(t, 3, "nothing is mounted", plain, "status")
    says(t, 3, "no mount at", os.path.join(t.work, "none/at/all"), "status")
    says(t, 3, "not fuse.handlefs", "/proc", "status")
    says(t, 3, "no daemon listens", "/run/handlefs/none.sock", "status")
    daemon = t.serve(mount=plain, restart="off")
    says(t, 1, "restart=off", plain, "restart")
    os.symlink(plain, os.path.join(t.work, "link"))
    says(t, 1, "restart=off", os.path.join(t.work, "link"), "upgrade", "/bin/true")
    t.end(daemon)


@test(smoke=True, scope="fs")
def ctl_does_not_hang(t):
    """While the server or the whole daemon hangs, status answers or says so, and abort ends the mount."""
    daemon = t.serve()
    server = daemon.server()
    os.kill(server, signal.SIGSTOP)
    with Actor() as a:
        a.start(os.stat, os.path.join(t.mnt, "x"))
        until(lambda: daemon.waiting() > 0, "the request waits")
        code, out, _ = ctl(t, "--json", daemon.mount, "status")
        t.check(code == 0 and json.loads(out)["in_flight"] == 1, f"status: {out}")
        os.kill(daemon.keeper, signal.SIGSTOP)
        says(t, 3, f"handlefsctl {daemon.mount} abort", daemon.mount, "status")
        code, out, err = ctl(t, daemon.mount, "abort")
        t.check(code == 0 and f"umount {daemon.mount}" in out, f"abort: {code} {out} {err}")
        t.check(a.result() in ("ECONNABORTED", "ENOTCONN"), "who waited is freed")
    for pid in (daemon.keeper, server):
        attempt(os.kill, pid, signal.SIGCONT)
    t.eq(daemon.ended(), 7, "exit status")
    t.daemons.remove(daemon)
    t.check(not harness.mounted_at(t.mnt), "still mounted")


@test(smoke=True, scope="fs")
def ctl_aborts(t):
    """abort ends a mount in use: open files are lost, the daemon ends with status 7, nothing stays mounted."""
    daemon = t.serve()
    other = t.serve(mount=os.path.join(t.work, "other"))
    fd = os.open(os.path.join(t.mnt, "f"), os.O_RDWR | os.O_CREAT)
    code, out, err = ctl(t, daemon.mount, "abort")
    t.check(code == 0 and "kernel" in out, f"abort: {out} {err}")
    t.eq(daemon.ended(), 7, "exit status")
    t.daemons.remove(daemon)
    t.check(not harness.mounted_at(t.mnt), "still mounted")
    t.check(attempt(os.fsync, fd) in ("ENOTCONN", "ECONNABORTED"), "the open file is lost")
    attempt(os.close, fd)
    os.stat(os.path.join(other.mount, "f"))
    says(t, 3, "nothing is mounted", daemon.mount, "abort")
