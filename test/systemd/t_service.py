"""handlefs@.service from start to end."""

from machine import until
from registry import test


@test()
def started_means_that_the_mount_answers(t):
    """When `systemctl start` is back, the mount has answered a request."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data", log="/run/handlefs-trace")
    # The trace tells what had been answered when systemd heard READY.
    line = t.m.must(f"systemctl cat {unit} | grep ^ExecStart=. | tail -n 1").strip()
    t.drop_in(unit, "trace.conf", f"[Service]\nExecStart=\n{line.replace(' -f ', ' -d ')}\n")
    t.m.must("systemctl daemon-reload")
    t.starts(unit)
    trace = t.m.read("/run/handlefs-trace")
    t.check("rx " in trace and "GETATTR" in trace, f"no request was answered before READY: {trace[-500:]}")
    t.shows("/srv/data", source)
    status = t.m.show(unit, "StatusText")["StatusText"]
    t.check(f"serving {source} at /srv/data by handles" in status, f"status: {status}")


@test()
def stop_unmounts(t):
    """`systemctl stop` takes the mount away, and that is no failure."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data")
    t.starts(unit)
    t.shows("/srv/data", source)
    t.m.must(f"systemctl stop {unit}")
    t.check(not t.mounted("/srv/data"), "it is still mounted")
    end = t.m.show(unit, "ActiveState", "Result", "ExecMainStatus")
    t.check(end == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}, f"{end}")


@test()
def stop_lets_users_finish(t):
    """Who has a file open when the service is stopped can go on with it for a while."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data", passthrough="off")
    t.starts(unit)
    user = t.m.start("exec 3</srv/data/hello; touch /run/opened; until [ -e /run/go ]; do sleep 0.05; done; cat <&3")
    until(lambda: t.m.run("test -e /run/opened").code == 0, "the file is open")
    t.m.must(f"systemctl stop --no-block {unit}")
    until(lambda: not t.mounted("/srv/data"), "the mount is detached")
    t.m.must("touch /run/go")
    out = user.communicate(timeout=60)[0]
    t.m.must("rm /run/go /run/opened")
    t.check(out == f"hello from {source}\n", f"the user read {out!r}")
    until(lambda: t.state(unit) == "inactive", "the service ends")
    t.check(t.m.show(unit, "Result")["Result"] == "success", "the end counts as a failure")


@test()
def umount_ends_the_service(t):
    """`umount` ends the service, which is no failure either."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data")
    t.starts(unit)
    t.m.must("umount /srv/data")
    until(lambda: t.state(unit) == "inactive", "the service ends")
    t.check(t.m.show(unit, "Result")["Result"] == "success", "the end counts as a failure")


@test()
def a_bad_start_says_why(t):
    """A service that cannot start fails at once, and its status has the line that says why."""
    unit = t.service("data", "/srv/missing", "/srv/data")
    done = t.m.run(f"systemctl start {unit}")
    t.check(done.code != 0, "it started without a source")
    end = t.m.show(unit, "ActiveState", "ExecMainStatus", "NRestarts")
    t.check(end == {"ActiveState": "failed", "ExecMainStatus": "2", "NRestarts": "0"}, f"{end}")
    t.check("/srv/missing" in t.m.run(f"systemctl status {unit}").out, "the status does not name the source")


@test()
def no_configuration_says_so(t):
    """A name without a configuration is refused with the path of the file that is missing."""
    if not t.whole:
        t.skip("this daemon reads no configuration file")
    done = t.m.run("systemctl start handlefs@nothing.service")
    t.check(done.code != 0, "it started without a configuration")
    status = t.m.run("systemctl status handlefs@nothing.service").out
    t.check("/etc/handlefs/nothing.conf" in status, f"the status does not name the file: {status}")


@test()
def reload_opens_the_log_again(t):
    """`systemctl reload` opens a log file that was moved away again; the mount goes on."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data", log="/run/handlefs-log")
    t.starts(unit)
    before = t.main_pid(unit)
    t.m.must("mv /run/handlefs-log /run/handlefs-log.1")
    t.m.must(f"systemctl reload {unit}")
    until(lambda: t.m.run("test -e /run/handlefs-log").code == 0, "the log file is there again")
    t.check(t.state(unit) == "active" and t.main_pid(unit) == before, "it is not the same service any more")
    t.shows("/srv/data", source)
    t.m.must(f"systemctl stop {unit}")


@test()
def restart(t):
    """`systemctl restart` gives a mount that works."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data")
    t.starts(unit)
    for _ in range(3):
        t.m.must(f"systemctl restart {unit}")
        t.shows("/srv/data", source)
    t.check(t.m.run("findmnt -rno TARGET | grep -c '^/srv/data$'").out.strip() == "1", "mounts lie over each other")


def clones(t):
    """A program that notices if its files do not stay: git, cloning and checking what it cloned."""
    t.m.must("mkdir -p /srv/source/from && cd /srv/source/from && git init -q && seq 1 20000 >numbers && split -l 20 numbers part. && "
             "git add . && git -c user.name=x -c user.email=x@x commit -qm x")
    return t.m.start("set -e; cd /srv/data; for i in 1 2 3; do git clone -q --no-local from to$i; git -C to$i fsck --full --strict; "
                     "git -C to$i status --porcelain; done; echo done")


@test()
def restart_under_load(t):
    """Programs that use the mount do not notice `systemctl restart`."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data")
    t.starts(unit)
    if t.m.show(unit, "NFileDescriptorStore")["NFileDescriptorStore"] == "0":
        t.skip("this daemon leaves nothing in the fd store: a restart unmounts")
    user = clones(t)
    restarts = 0
    while user.poll() is None:
        t.m.must(f"systemctl restart {unit}")
        restarts += 1
    out = user.communicate()[0]
    t.check(user.returncode == 0 and out.strip() == "done", f"after {restarts} restarts: {out[-800:]}")
    t.check(restarts > 1, "nothing was restarted under load")


@test()
def crashes_under_load(t):
    """Programs that use the mount do not notice that its server crashes, again and again."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data")
    t.starts(unit)
    if not t.has_keeper(unit):
        t.skip("this daemon has no keeper: a crash ends the mount")
    pid = t.main_pid(unit)
    user = clones(t)
    crashes = 0
    while user.poll() is None:
        before = t.m.must(f"cat /proc/{pid}/task/*/children").split()
        t.m.run(f"sleep 0.1; kill -KILL {before[0]}")
        until(lambda: (now := t.m.run(f"cat /proc/{pid}/task/*/children").out.split()) and now != before, "another serves")
        crashes += 1
    out = user.communicate()[0]
    t.check(user.returncode == 0 and out.strip() == "done", f"after {crashes} crashes: {out[-800:]}")
    t.check(crashes > 3 and t.main_pid(unit) == pid and t.state(unit) == "active", f"{crashes} crashes, {t.state(unit)}")


@test()
def crash(t):
    """After a crash the mount works again."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data")
    t.starts(unit)
    pid = t.main_pid(unit)
    if t.has_keeper(unit):
        served = int(t.m.must(f"cat /proc/{pid}/task/*/children").split()[0])
        t.m.must(f"exec 3</srv/data/hello; kill -KILL {served}; cat <&3")
        t.shows("/srv/data", source)
        t.check(t.main_pid(unit) == pid, "the keeper is another")
        return
    t.m.must(f"kill -KILL {pid}")
    if t.whole:
        until(lambda: t.state(unit) == "active" and t.main_pid(unit) not in (0, pid), "it is started again")
        t.shows("/srv/data", source)
        return
    # It takes no dead mount away: that says so, and is not tried for ever.
    until(lambda: t.state(unit) == "failed", "the service has failed")
    end = t.m.show(unit, "ExecMainStatus", "NRestarts")
    t.check(end == {"ExecMainStatus": "3", "NRestarts": "1"}, f"{end}")
    t.check("umount" in t.m.journal(unit), "the journal does not name the cure")
    t.m.must("umount -l /srv/data")
    t.starts(unit)
    t.shows("/srv/data", source)
