"""The mount outlives every process of its service: what is in the fd store goes on."""

import json
import os
import struct
import subprocess

from machine import HERE, until
from registry import test
from t_service import clones
from t_watchdog import fed

STOP = "/run/holder-stop"


def stored(t, unit):
    return int(t.m.show(unit, "NFileDescriptorStore")["NFileDescriptorStore"])


def holder(t, place):
    """A program that holds open and unlinked files, a removed directory and locks."""
    with open(os.path.join(HERE, "holder.py")) as f:
        t.m.write("/root/holder.py", f.read())
    t.m.run(f"rm -f {STOP}")
    process = t.m.start(f"exec python3 /root/holder.py {place} {STOP}")
    line = process.stdout.readline()
    t.check(line == "holding\n", f"the holder: {line}{process.stdout.read() if process.poll() is not None else ''}")
    return process


def still_well(t, process):
    t.m.must(f"touch {STOP}")
    out = process.communicate(timeout=120)[0]
    t.check(process.returncode == 0, f"the holder: {out[-1500:]}")
    return json.loads(out)


def kernel_side(t, place):
    """What the mount table has there: number and device. They stay while the mount is the same one."""
    found = None
    with open(f"/proc/{t.m.pid}/mountinfo") as f:
        for line in f:
            words = line.split()
            if words[4] == place:
                t.check(found is None, "mounts lie over each other")
                found = words[0], words[2]
    t.check(found is not None, "it is not mounted")
    return found


def state_of(t, unit):
    """The keeper's restart state, as a path on this machine."""
    inside = t.main_pid(unit)
    found = t.m.must(f"for fd in /proc/{inside}/fd/*; do case $(readlink $fd) in /memfd:handlefs-state*) echo $fd;; esac; done")
    return f"/proc/{t.m.pid}/root{found.split()[0]}"


def change_state(t, unit, at, text):
    with open(state_of(t, unit), "r+b", buffering=0) as f:
        f.seek(at)
        f.write(text)


def mounted_anew(t, unit, source, why):
    """After a restart that could not go on: one line says why, nothing old is left, and the mount works."""
    t.shows("/srv/data", source)
    now = f"handlefs[{t.main_pid(unit)}]"
    lines = [x for x in t.m.journal(unit).splitlines() if now in x and "cannot go on with the mount" in x]
    t.check(len(lines) == 1 and why in lines[0], f"the journal has: {lines}")
    until(lambda: stored(t, unit) == 5, "the fd store has the new mount alone")
    # And from here it is as ever.
    before = kernel_side(t, "/srv/data")
    t.m.must(f"systemctl restart {unit}")
    t.check(kernel_side(t, "/srv/data") == before, "a second restart mounted anew")
    t.m.must(f"systemctl stop {unit}")
    t.check(not t.mounted("/srv/data"), "it is still mounted")


@test()
def restart_keeps_everything(t):
    """Ten times `systemctl restart` under git and a holder of files, unlinked files, a removed directory and locks."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data")
    t.starts(unit)
    mount = kernel_side(t, "/srv/data")
    held = holder(t, "/srv/data/held")
    user = clones(t)
    restarts = 0
    while restarts < 10 or user.poll() is None:
        before = t.main_pid(unit)
        t.m.must(f"systemctl restart {unit}")
        t.check(t.main_pid(unit) != before and t.state(unit) == "active", "it did not restart")
        t.check(kernel_side(t, "/srv/data") == mount, "it is another mount")
        restarts += 1
    out = user.communicate()[0]
    t.check(user.returncode == 0 and out.strip() == "done", f"git after {restarts} restarts: {out[-800:]}")
    t.numbers = {"restarts": restarts, **still_well(t, held)}
    t.check(t.m.show(unit, "NRestarts")["NRestarts"] == "0", "something crashed")
    until(lambda: stored(t, unit) == 5, "the fd store has what the mount consists of, and nothing else")
    t.m.must(f"systemctl stop {unit}")
    t.check(not t.mounted("/srv/data"), "it is still mounted")
    t.check(t.m.run("ls /run/handlefs").out.strip() == "", "something is left in /run/handlefs")


@test()
def keeper_killed(t):
    """SIGKILL of the main process, again and again: the service starts again, and who uses the mount sees a pause."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data")
    t.starts(unit)
    mount = kernel_side(t, "/srv/data")
    reader = t.m.start("exec 3</srv/data/hello; touch /run/opened; until [ -e /run/go ]; do sleep 0.05; done; cat <&3")
    until(lambda: t.m.run("test -e /run/opened").code == 0, "the file is open")
    user = clones(t)
    kills = 0
    while user.poll() is None:
        before = t.main_pid(unit)
        t.m.must(f"systemctl kill -s KILL --kill-who=main {unit}")
        until(lambda: t.state(unit) == "active" and t.main_pid(unit) not in (0, before), "it is started again")
        t.check(kernel_side(t, "/srv/data") == mount, "it is another mount")
        kills += 1
    out = user.communicate()[0]
    t.check(user.returncode == 0 and out.strip() == "done", f"git after {kills} kills: {out[-800:]}")
    t.check(kills > 2, f"{kills} kills")
    t.m.must("touch /run/go")
    t.check(reader.communicate(timeout=60)[0] == f"hello from {source}\n", "an open file is lost")
    t.m.must("rm /run/go /run/opened")
    # A restart in good order after that keeps all again.
    held = holder(t, "/srv/data/held")
    t.m.must(f"systemctl restart {unit}")
    still_well(t, held)
    t.m.must(f"systemctl stop {unit}")
    t.check(not t.mounted("/srv/data"), "it is still mounted")


@test()
def a_pin_of_a_killed_keeper_is_not_trusted(t):
    """What was unlinked and is lost with the keeper gives an error, never another file; locks are gone, and can be had."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data", passthrough="off")
    t.starts(unit)
    t.m.must("echo other >/srv/source/other && touch /srv/source/locked")
    user = t.m.start("exec 3<>/srv/data/gone; echo lost >&3; rm /srv/data/gone; exec 4<>/srv/data/locked; flock -x 4; touch /run/opened; "
                     "until [ -e /run/go ]; do sleep 0.05; done; cat /proc/self/fd/3 2>&1; cat /srv/data/other")
    until(lambda: t.m.run("test -e /run/opened").code == 0, "the file is open")
    t.m.must(f"systemctl restart {unit}")  # so that pins were in the store once
    before = t.main_pid(unit)
    t.m.must(f"systemctl kill -s KILL --kill-who=main {unit}")
    until(lambda: t.state(unit) == "active" and t.main_pid(unit) not in (0, before), "it is started again")
    t.m.must("flock -n -x /srv/data/locked true")
    t.m.must("touch /run/go")
    out = user.communicate(timeout=60)[0]
    t.m.must("rm /run/go /run/opened")
    t.check("lost" not in out and out.endswith("other\n") and ("Stale" in out or "No such file" in out), f"the user read {out!r}")
    t.m.must(f"systemctl stop {unit}")
    t.check(not t.mounted("/srv/data"), "it is still mounted")


@test()
def state_of_another_version(t):
    """A state that the next program does not know: a fresh mount, and a line that says why."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data")
    t.starts(unit)
    change_state(t, unit, 8, struct.pack("<I", 9999))
    t.m.must(f"systemctl restart {unit}")
    mounted_anew(t, unit, source, "layout 9999")


@test()
def state_damaged(t):
    """A damaged state: a fresh mount, even under users; they get errors."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data")
    t.starts(unit)
    user = t.m.start("exec 3</srv/data/hello; touch /run/opened; until [ -e /run/go ]; do sleep 0.05; done; stat /proc/self/fd/3/. ; cat /srv/data/hello")
    until(lambda: t.m.run("test -e /run/opened").code == 0, "the file is open")
    change_state(t, unit, 24, b"x" * 16)
    t.m.must(f"systemctl restart {unit}")
    t.m.must("touch /run/go")
    out = user.communicate(timeout=60)[0]
    t.m.must("rm /run/go /run/opened")
    t.check(out.endswith(f"hello from {source}\n"), f"the user read {out!r}")
    mounted_anew(t, unit, source, "checksum")


@test()
def another_mount_point(t):
    """A restart after the configuration has another mount point: the old mount goes, the new one comes."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/old")
    t.starts(unit)
    t.service("data", source, "/srv/data")
    t.m.must(f"systemctl restart {unit}")
    t.check(not t.mounted("/srv/old"), "the old mount is there")
    mounted_anew(t, unit, source, "mount point")


@test()
def unmounted_meanwhile(t):
    """Who takes the mount away while nobody serves gets a fresh one with the next start."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data", lines=["ExecStopPost=umount -c -l /srv/data"])
    t.starts(unit)
    t.m.must(f"systemctl restart {unit}")
    t.drop_in(unit, "service.conf", "[Service]\n")
    t.m.must("systemctl daemon-reload")
    mounted_anew(t, unit, source, "unmounted")


@test()
def a_restart_that_fails_leaves_no_mount(t):
    """The next process cannot start: the service has failed, and no mount without a server stays."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data")
    t.starts(unit)
    conf = t.m.read("/etc/handlefs/data.conf")
    t.m.write("/etc/handlefs/data.conf", conf + "nonsense = 1\n")
    t.check(t.m.run(f"systemctl restart {unit}").code != 0, "it started")
    t.check(t.state(unit) == "failed" and not t.mounted("/srv/data"), f"{t.state(unit)}, mounted: {t.mounted('/srv/data')}")
    t.m.write("/etc/handlefs/data.conf", conf)
    t.starts(unit)
    t.shows("/srv/data", source)
    t.m.must(f"systemctl stop {unit}")


@test()
def stop_in_a_restart(t):
    """A stop that comes while the keeper leaves for a restart: nothing stays mounted."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data")
    # First the wait, then the unit's own line.
    own = t.m.must(f"systemctl cat {unit} | sed -n 's/^ExecStopPost=//p' | head -n 1").strip()
    wait = "/bin/sh -c 'touch /run/left; until [ -e /run/go ]; do sleep 0.05; done'"
    t.drop_in(unit, "service.conf", f"[Service]\nExecStopPost=\nExecStopPost={wait}\nExecStopPost={own}\n")
    t.m.must("systemctl daemon-reload")
    t.starts(unit)
    t.m.must(f"systemctl restart --no-block {unit}")
    until(lambda: t.m.run("test -e /run/left").code == 0, "the keeper has left")
    t.check(t.mounted("/srv/data") == "fuse.handlefs", "it unmounted in a restart")
    t.m.must(f"systemctl stop --no-block {unit}")
    t.m.must("touch /run/go")
    until(lambda: t.state(unit) == "inactive", "the service stops")
    t.check(not t.mounted("/srv/data"), "it is still mounted")
    t.m.must("rm /run/go /run/left")


@test()
def without_an_fd_store(t):
    """A unit without an fd store: a restart unmounts, and says that it has to."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data", lines=["FileDescriptorStoreMax=0"])
    t.starts(unit)
    t.m.must(f"systemctl restart {unit}")
    t.shows("/srv/data", source)
    t.check(kernel_side(t, "/srv/data"), "it is not mounted")
    t.check("FileDescriptorStoreMax=" in t.m.journal(unit), "the journal does not name the cure")
    t.m.must(f"systemctl stop {unit}")
    t.check(not t.mounted("/srv/data"), "it is still mounted")


@test()
def restart_off(t):
    """restart=off: a restart unmounts, as a stop does."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data")
    line = t.m.must(f"systemctl cat {unit} | grep ^ExecStart=. | tail -n 1").strip()
    t.drop_in(unit, "off.conf", f"[Service]\nExecStart=\n{line.replace('restart=lossless', 'restart=off')}\n")
    t.m.must("systemctl daemon-reload")
    t.starts(unit)
    t.m.must(f"systemctl restart {unit}")
    t.shows("/srv/data", source)
    t.m.must(f"systemctl stop {unit}")
    t.check(not t.mounted("/srv/data"), "it is still mounted")
    t.check(t.m.show(unit, "Result")["Result"] == "success", "the end counts as a failure")


def control(t, *words):
    """A command for the keeper of /srv/data, and its answer."""
    ask = ("import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect('/run/handlefs/srv-data.sock'); "
           "s.sendall(' '.join(sys.argv[1:]).encode() + b'\\n'); print(s.makefile().readline())")
    return json.loads(t.m.must(["python3", "-c", ask, *words]))


@test()
def upgrade_and_restart(t):
    """After an upgrade by the control socket the program still knows its service manager: watchdog, restart and SIGKILL."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data", lines=["WatchdogSec=2s"])
    t.starts(unit)
    mount, pid = kernel_side(t, "/srv/data"), t.main_pid(unit)
    held = holder(t, "/srv/data/held")
    for _ in range(2):
        answer = control(t, "upgrade", t.m.handlefs)
        t.check(answer["ok"], f"the upgrade: {answer}")
    t.check(t.main_pid(unit) == pid, "the upgrade made another process")
    for _ in range(3):
        last = fed(t, unit)
        until(lambda: fed(t, unit) > last, "the watchdog is fed")
    t.m.must(f"systemctl restart {unit}")
    still_well(t, held)
    t.check(control(t, "upgrade", t.m.handlefs)["ok"], "the upgrade after a restart")
    before = t.main_pid(unit)
    t.m.must(f"systemctl kill -s KILL --kill-who=main {unit}")
    until(lambda: t.state(unit) == "active" and t.main_pid(unit) not in (0, before), "it is started again")
    t.shows("/srv/data", source)
    t.check(kernel_side(t, "/srv/data") == mount, "it is another mount")
    until(lambda: stored(t, unit) == 5, "the fd store has what the mount consists of, and nothing else")
    t.m.must(f"systemctl stop {unit}")
    t.check(not t.mounted("/srv/data"), "it is still mounted")


@test()
def file_systems_below_the_source(t):
    """With submounts=cross, what shows from mounts below the source goes on after a restart and after SIGKILL."""
    source = t.tree("/srv/source")
    t.m.must(f"mkdir {source}/below && mount -t tmpfs below {source}/below && echo deep >{source}/below/file")
    t._paths.append(f"{source}/below")
    unit = t.service("data", source, "/srv/data", submounts="cross")
    t.starts(unit)
    user = t.m.start("cd /srv/data/below && exec 3<file && touch /run/opened; until [ -e /run/go ]; do sleep 0.05; done; cat <&3; cat file")
    until(lambda: t.m.run("test -e /run/opened").code == 0, "the file is open")
    for kill in (f"systemctl kill -s KILL --kill-who=main {unit}", f"systemctl restart {unit}", f"systemctl kill -s KILL --kill-who=main {unit}"):
        before = t.main_pid(unit)
        t.m.must(kill)
        until(lambda: t.state(unit) == "active" and t.main_pid(unit) not in (0, before), "it is started again")
        t.check(t.m.must("cat /srv/data/below/file") == "deep\n", "the file system below is not there")
    t.m.must("touch /run/go")
    out = user.communicate(timeout=60)[0]
    t.m.must("rm /run/go /run/opened")
    t.check(out == "deep\ndeep\n", f"the user read {out!r}")
    t.m.must(f"systemctl stop {unit}")


@test()
def more_than_the_store_takes(t):
    """A thousand unlinked files go through a restart; where the store has room for fewer, the others give errors and no more."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data", passthrough="off")
    script = ("import os, sys, time\n"
              "fds = []\n"
              "for i in range(1000):\n"
              "    fds.append(os.open('/srv/data/f', os.O_RDWR | os.O_CREAT | os.O_EXCL)); os.write(fds[i], b'%d' % i); os.unlink('/srv/data/f')\n"
              "print('holding', flush=True)\n"
              "def text(fd):\n"
              "    try:\n"
              "        return os.pread(fd, 9, 0)\n"
              "    except OSError:\n"
              "        return None\n"
              "for line in sys.stdin:\n"
              "    texts = [text(fd) for fd in fds]\n"
              "    good = sum(x == b'%d' % i for i, x in enumerate(texts))\n"
              "    print(good, good + texts.count(None), flush=True)\n")
    t.m.write("/root/many.py", script)
    t.starts(unit)
    user = subprocess.Popen(t.m.command("ulimit -n 4096; exec python3 /root/many.py"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    t.check(user.stdout.readline() == "holding\n", "the files are open")

    def looks():
        user.stdin.write("look\n")
        user.stdin.flush()
        return [int(x) for x in user.stdout.readline().split()]

    t.m.must(f"systemctl restart {unit}")
    t.check(looks() == [1000, 1000], "files are lost")
    t.numbers = {"last_pause_ms": control(t, "status")["last_pause_ms"]}
    t.check(stored(t, unit) >= 1000, f"{stored(t, unit)} are in the store")
    t.drop_in(unit, "few.conf", "[Service]\nFileDescriptorStoreMax=100\n")
    t.m.must(f"systemctl daemon-reload && systemctl restart {unit} && systemctl restart {unit}")
    good, told = looks()
    t.check(told == 1000, "a file has something else in it")
    user.stdin.close()
    user.wait()
    until(lambda: stored(t, unit) == 5, "closed files leave the store")
    t.shows("/srv/data", source)
    t.m.must(f"systemctl stop {unit}")
    t.check(not t.mounted("/srv/data"), "it is still mounted")
