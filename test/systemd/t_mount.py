"""Mounts that systemd makes: at boot, by .mount and .automount units, and from fstab."""

import os

from machine import TOP, until
from registry import test

EXAMPLES = os.path.join(TOP, "tools/systemd/examples")


def example(name, **replace):
    """An example that is shipped, with other names in it."""
    with open(os.path.join(EXAMPLES, name)) as f:
        text = f.read()
    for old, new in replace.items():
        text = text.replace(f"/srv/{old}", new)
    return text


def disk(t, place):
    """A unit that mounts what stands for a disk at `place`, some time after boot; the directory below it is empty."""
    t.m.must(f"mkdir -p {place}")
    t.tree("/srv/disk")
    # It takes its time, so that nothing works by luck.
    t.unit("slow.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sleep 2\n")
    name = t.m.must(f"systemd-escape -p --suffix=mount {place}").strip()
    return t.unit(name, f"[Unit]\nRequires=slow.service\nAfter=slow.service\n"
                        f"[Mount]\nWhat=/srv/disk\nWhere={place}\nType=none\nOptions=bind\n")


@test()
def boot_waits_for_the_source(t):
    """With the drop-in of the example, a service enabled at boot serves the disk and not the empty directory below it."""
    t.place("/srv/source")
    disk(t, "/srv/source")
    options = {"require_mounted_source": "on"} if t.knows("require_mounted_source") else {}
    unit = t.service("data", "/srv/source", "/srv/data", reload=False, **options)
    t.drop_in(unit, "source.conf", example("source.conf"))
    t.m.must(f"systemctl daemon-reload && systemctl enable {unit}")
    t.m.halt()
    t.m.boot()
    t.check(t.state(unit) == "active", f"it is {t.state(unit)}: {t.m.journal(unit)}")
    t.shows("/srv/data", "/srv/disk")
    # It ends with the disk.
    t.m.must("systemctl stop srv-source.mount")
    until(lambda: t.state(unit) == "inactive", "the service ends before its source")
    t.check(not t.mounted("/srv/data") and not t.mounted("/srv/source"), "something is still mounted")
    t.check(t.m.show(unit, "Result")["Result"] == "success", "the end counts as a failure")


@test()
def a_source_that_is_not_mounted_is_refused(t):
    """With require_mounted_source the empty directory where a disk should be is not served."""
    if not t.knows("require_mounted_source"):
        t.skip("this daemon has no require_mounted_source")
    source = t.tree("/srv/source")
    unit = t.service("data", source, "/srv/data", require_mounted_source="on")
    t.check(t.m.run(f"systemctl start {unit}").code != 0, "it started")
    t.check(t.m.show(unit, "ExecMainStatus")["ExecMainStatus"] == "2", "not for the source")


@test()
def mount_unit(t):
    """The example .mount unit mounts, is active while mounted, and unmounts."""
    source = t.tree("/srv/source")
    t.place("/srv/data")
    unit = t.unit("srv-data.mount", example("srv-data.mount"))
    t.m.must("systemctl daemon-reload")
    t.m.must(f"systemctl start {unit}")
    t.shows("/srv/data", source)
    t.m.must(f"systemctl stop {unit}")
    t.check(not t.mounted("/srv/data"), "it is still mounted")
    t.check(t.m.show(unit, "Result")["Result"] == "success", "the end counts as a failure")
    t.check(t.state(unit) == "inactive", "it is still active")


@test()
def automount_unit(t):
    """The example .automount unit mounts when somebody looks."""
    source = t.tree("/srv/source")
    t.place("/srv/data")
    t.unit("srv-data.mount", example("srv-data.mount"))
    unit = t.unit("srv-data.automount", example("srv-data.automount").replace("10min", "1s"))
    t.m.must("systemctl daemon-reload")
    t.m.must(f"systemctl start {unit}")
    t.check(t.mounted("/srv/data") == "autofs", "it is mounted before anybody looks")
    t.check(t.m.must("cat /srv/data/hello") == f"hello from {source}\n", "it shows something else")
    t.check(t.mounted("/srv/data") == "fuse.handlefs", "it is not our mount")
    until(lambda: t.mounted("/srv/data") == "autofs", "it goes when it is idle")
    t.check(t.m.must("cat /srv/data/hello") == f"hello from {source}\n", "it does not come again")
    t.m.must(f"systemctl stop {unit}")


@test()
def fstab(t):
    """The example lines for fstab: mounted at boot, mounted at first use, and `mount` and `umount` by hand."""
    source = t.tree("/srv/source")
    t.place("/net", "/srv/data", "/srv/lazy", "/srv/net")
    t.m.must("ln -sfn /srv/source /net/source")
    t.m.write("/etc/fstab", example("fstab"))
    try:
        t.m.halt()
        t.m.boot()
        for place in ("/srv/data", "/srv/net"):
            t.shows(place, source)
        t.check(t.mounted("/srv/lazy") == "autofs", "it is mounted before anybody looks")
        t.check(t.m.must("cat /srv/lazy/hello") == f"hello from {source}\n", "it shows something else")
        t.m.must("umount /srv/data && mount /srv/data")
        t.shows("/srv/data", source)
        t.m.must("systemctl stop srv-lazy.automount && umount /srv/data /srv/net")
    finally:
        t.m.write("/etc/fstab", "")
        t.m.run("systemctl daemon-reload")


@test()
def autofs_map(t):
    """The example map of autofs mounts when somebody looks, under both names of the type, and again after it was idle."""
    source = t.tree("/srv/source")
    t.place("/srv/auto")
    t.m.write("/etc/auto.handlefs", example("auto.handlefs"))
    t.m.write("/etc/auto.master.d/handlefs.autofs", "/srv/auto  /etc/auto.handlefs  --timeout=1\n")
    try:
        t.m.must("systemctl start autofs")
        until(lambda: t.mounted("/srv/auto") == "autofs", "autofs watches the directory")
        for name in ("data", "quiet"):
            place = f"/srv/auto/{name}"
            t.check(not t.mounted(place), f"{place} is mounted before anybody looks")
            t.check(t.m.must(f"cat {place}/hello") == f"hello from {source}\n", f"{place} shows something else")
            t.check(t.mounted(place) == "fuse.handlefs", f"{place} is not our mount but '{t.mounted(place)}'")
            until(lambda: not t.mounted(place), f"{place} goes when it is idle")
            t.check(t.m.must(f"cat {place}/hello") == f"hello from {source}\n", f"{place} does not come again")
        options = t.m.must("findmnt -no OPTIONS --mountpoint /srv/auto/quiet")
        t.check({"ro", "noexec"} <= set(options.strip().split(",")), f"options of the map: {options}")
        t.check(t.m.run("ls /srv/auto/none").code != 0, "a name that is not in the map is there")
    finally:
        t.m.must("systemctl stop autofs")
        t.m.must("rm -f /etc/auto.handlefs /etc/auto.master.d/handlefs.autofs")
    t.check(not t.mounted("/srv/auto"), "autofs leaves its mount")
