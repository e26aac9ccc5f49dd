"""The watchdog ends a server that serves no more, and no other."""

from machine import until
from registry import test


def fed(t, unit):
    return int(t.m.show(unit, "WatchdogTimestampMonotonic")["WatchdogTimestampMonotonic"])


@test()
def a_server_that_is_well_is_left_alone(t):
    """A mount that nobody uses, and one that is busy, feed the watchdog."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data", lines=["WatchdogSec=2s"])
    t.starts(unit)
    pid = t.main_pid(unit)
    for load in (None, "while :; do ls -l /srv/data; cat /srv/data/hello; done"):
        if load:
            t.m.must(f"systemd-run -q --unit=load -p StandardOutput=null sh -c '{load}'")
        for _ in range(4):
            last = fed(t, unit)
            until(lambda: fed(t, unit) > last, "the watchdog is fed")
        if load:
            t.m.must("systemctl stop load")
    t.check(t.state(unit) == "active" and t.main_pid(unit) == pid, "it was ended")
    t.check(t.m.show(unit, "NRestarts")["NRestarts"] == "0", "it was started again")


@test()
def a_frozen_server_is_ended(t):
    """A server that does not run any more is ended."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data", lines=["WatchdogSec=2s", "Restart=no"])
    t.starts(unit)
    pid = t.main_pid(unit)
    t.m.must(f"for p in {pid} $(cat /proc/{pid}/task/*/children); do kill -STOP $p; done")
    until(lambda: t.state(unit) == "failed", "it is ended")
    t.check(t.m.show(unit, "Result")["Result"] == "watchdog", "it was not the watchdog")


@test()
def a_server_whose_readers_are_stuck_is_ended(t):
    """A server of which every reader sits in a request that does not end is no longer serving, though its other threads run."""
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data", threads=1, offload="never", submounts="cross", cache="none",
                     lines=["WatchdogSec=2s", "Restart=no", "TimeoutAbortSec=2s"], transport="dev")
    hung = t.hung(f"{source}/hung")
    t.starts(unit)
    t.shows("/srv/data", source)
    user = t.m.start("stat /srv/data/hung/hang")
    until(lambda: t.m.show(unit, "Result")["Result"] == "watchdog", "the watchdog ends it")
    hung.kill()
    user.communicate(timeout=60)
    until(lambda: t.state(unit) == "failed", "it is ended")
