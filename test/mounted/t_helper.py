"""mount(8), fstab and mount.handlefs: each way in that they offer."""

import os
import signal
import subprocess

import syscalls
from harness import mounted_at, shell
from helper import NOBODY, Machine
from procs import Err, attempt, run_as, until
from registry import test
from trees import read, write

OWN = "it is about handlefs' mount helper"


def entry(**kwargs):
    return test(scope="run", only=OWN, **kwargs)


def shows(t, path, source):
    t.eq(sorted(os.listdir(path)), sorted(os.listdir(source)), f"listing of {path}")


@entry(smoke=True)
def mount_knows_the_type(t):
    """`mount -t handlefs` and `-t fuse.handlefs` mount a tree, findmnt shows type and source, umount ends it."""
    m = Machine(t)
    source, target = m.tree("s", a="1", b="2"), t.place("m")
    for argv in (("mount", "-t", "handlefs"), ("mount", "-t", "fuse.handlefs"), ("/sbin/mount.handlefs",),
                 ("/sbin/mount.fuse.handlefs",), ("mount.handlefs", "-n", "-t", "fuse.handlefs")):
        m.good(*argv, source, target)
        # It answers as soon as the command is back.
        t.eq(read(os.path.join(target, "a")), b"1", f"a file after {argv}")
        shows(t, target, source)
        t.eq(m.find(target, "FSTYPE,SOURCE"), f"fuse.handlefs {source}", f"findmnt after {argv}")
        t.eq(m.served(), 1, "daemons")
        m.umount(target)


@entry()
def fstab_lines_mount(t):
    """Lines of fstab mount by `mount -a` and `mount TARGET`, with options that are for others, and only once."""
    m = Machine(t)
    source = m.tree("a place", a="1")
    one, two, three = (t.place(name) for name in ("one", "two", "three"))
    escaped = source.replace(" ", "\\040")
    m.fstab(
        f"{escaped} {one} handlefs rw,nofail,allow_other,cache=auto,comment=x 0 0",
        f"{escaped} {two} fuse.handlefs defaults,_netdev,x-systemd.idle-timeout=10min,X-mount.mkdir,ro 0 0",
        f"{escaped} {three} fuse.handlefs noauto,x-systemd.automount,nodev,noexec 0 0",
    )
    m.good("mount", "-a")
    for path, options in ((one, "rw"), (two, "ro")):
        t.eq(m.find(path, "FSTYPE"), "fuse.handlefs", path)
        t.eq(m.find(path, "VFS-OPTIONS").split(",")[0], options, path)
        shows(t, path, source)
    t.check(not mounted_at(three), "noauto was mounted")
    m.good("mount", "-a")
    t.eq(m.served(), 2, "daemons after the second mount -a")
    m.good("mount", three)
    t.check({"nodev", "noexec"} <= set(m.find(three, "VFS-OPTIONS").split(",")), m.find(three, "VFS-OPTIONS"))
    for path in (one, two):
        shell("umount", path)
    m.umount(three)


@entry()
def umount_in_every_form(t):
    """umount -l, fusermount3 -u and a bind mount of a part work as on any mount."""
    m = Machine(t)
    source, target, part = m.tree("s", a="1"), t.place("m"), t.place("part")
    os.mkdir(os.path.join(source, "sub"))
    write(os.path.join(source, "sub/f"), "x")
    m.good("mount", "-t", "handlefs", source, target)
    m.good("mount", "--bind", f"{target}/sub", part)
    t.eq(read(f"{part}/f"), b"x", "the part")
    m.good("umount", "-l", target)
    t.eq(read(f"{part}/f"), b"x", "the part without the whole")
    m.umount(part)
    m.good("mount", "-t", "handlefs", source, target)
    m.umount(target, "fusermount3", "-u", target)


@entry()
def options_reach_the_daemon(t):
    """Options of -o reach the daemon, commas in quotes and config files included; rw of mount(8) wins over no file."""
    m = Machine(t)
    source, target = m.tree("s", a="1"), t.place("m")
    m.good("mount", "-t", "handlefs", "-o", 'fsname="a,b c",noatime,max_read=64k', source, target)
    t.eq(m.find(target, "SOURCE"), "a,b\\x20c", "source")
    t.check("noatime" in m.find(target, "VFS-OPTIONS"), m.find(target, "VFS-OPTIONS"))
    t.check("max_read=65536" in m.find(target, "FS-OPTIONS"), m.find(target, "FS-OPTIONS"))
    m.umount(target)
    os.makedirs("/etc/handlefs", exist_ok=True)
    write("/etc/handlefs/x.conf", "ro\nfsname = y\nforeground = on\n")
    m.good("mount", "-t", "handlefs", "-o", "config=x", source, target)
    t.eq(m.find(target, "SOURCE"), "y", "source")
    t.eq(m.find(target, "VFS-OPTIONS").split(",")[0], "ro", "the file's ro")
    m.umount(target)
    write("/etc/handlefs/x.conf", "\nbogus\n")
    m.bad(1, "/etc/handlefs/x.conf:2: ", "mount", "-t", "handlefs", "-o", "config=x", source, target)


@entry()
def messages_go_where_asked(t):
    """With log=stderr the daemon goes on to write where mount(8) wrote, as a mount unit's journal; a file gets them, too."""
    m = Machine(t)
    source, target = m.tree("s", a="1"), t.place("m")
    for place in ("stderr", os.path.join(t.work, "own.log")):
        log = os.path.join(t.work, "own.log")
        with open(log, "wb") as out:
            done = subprocess.run(["mount", "-t", "handlefs", "-o", f"log={place}", source, target], stdin=subprocess.DEVNULL,
                                  stdout=out, stderr=out, cwd="/", timeout=60)
        t.eq(done.returncode, 0, f"status: {read(log)}")
        m.umount(target)
        t.check(f"serving {source} at {target}".encode() in read(log), f"log={place}: {read(log)}")
    code, _, err = m.run("mount", "-t", "handlefs", "-o", "log=stderr", "/none", target)
    t.eq((code, len(err.splitlines())), (32, 2), f"the daemon's line and the helper's: {err}")


@entry()
def letters_of_mount(t):
    """-f looks and does not mount, -s passes over unknown options, -v shows what is run, -n is taken."""
    m = Machine(t)
    source, target = m.tree("s", a="1"), t.place("m")
    m.good("mount", "-f", "-t", "handlefs", "-o", "cache=none", source, target)
    t.check(not mounted_at(target), "-f mounted")
    m.bad(32, "/none", "mount", "-f", "-t", "handlefs", "/none", target)
    m.bad(1, "'bogus'", "mount", "-f", "-t", "handlefs", "-o", "bogus", source, target)
    said = m.good("mount", "-s", "-n", "-v", "-t", "handlefs", "-o", "bogus=1,ro", source, target)
    t.check("bin/handlefs -o ro," in said, f"-v says {said!r}")
    t.eq(m.find(target, "VFS-OPTIONS").split(",")[0], "ro", "flags")
    m.umount(target)


@entry()
def mistakes_are_one_line(t):
    """Each mistake is one line, `mount.handlefs: step: target: reason`, with the status that mount(8) documents."""
    m = Machine(t)
    source, target = m.tree("s", a="1"), t.place("m")
    mount = ("mount", "-t", "handlefs")
    line = m.bad(1, "'bogus'", *mount, "-o", "bogus", source, target)
    t.check(line.startswith(f"mount.handlefs: options: {target}: "), line)
    m.bad(1, "cache", *mount, "-o", "cache=x", source, target)
    m.bad(1, "fd", *mount, "-o", "fd=3", source, target)
    m.bad(1, "check", *mount, "-o", "check", source, target)
    m.bad(1, "nosuchuser", *mount, "-o", "setuid=nosuchuser", source, target)
    line = m.bad(32, "/none", *mount, "/none", target)
    t.check(line.startswith(f"mount.handlefs: source: {target}: "), line)
    m.bad(32, "mkdir -p", "/sbin/mount.handlefs", source, target + "/none")
    m.bad(32, "not a mount point", *mount, "-o", "require_mounted_source", source, target)
    m.bad(1, "SOURCE and TARGET", "/sbin/mount.handlefs", source)
    # Of the daemon, not of the helper.
    os.unlink(shell(m.helper, "-V").split()[-1])
    m.bad(2, "bin/handlefs", *mount, source, target)


@entry()
def a_source_must_be_mounted(t):
    """With require_mounted_source, a source is served if it is a mount point and refused if it is not."""
    m = Machine(t)
    source, target = m.tree("s"), t.place("m")
    mount = ("mount", "-t", "handlefs", "-o", "require_mounted_source", source, target)
    m.bad(32, "mount its file system first", *mount)
    shell("mount", "-t", "tmpfs", "tmpfs", source)
    m.good(*mount)
    m.umount(target)


@entry(smoke=True)
def remount_changes_flags(t):
    """`mount -o remount` makes a live mount read-only and back, superblock and mount, and changes its other flags."""
    m = Machine(t)
    source, target = m.tree("s", a="1"), t.place("m")
    path = os.path.join(target, "a")
    m.good("mount", "-t", "handlefs", "-o", "nosuid,max_read=64k", source, target)

    def flags(what):
        return set(m.find(target, what).split(","))

    for word, other, result in (("ro", "rw", Err("EROFS")), ("rw", "ro", path)):
        m.good("mount", "-o", f"remount,{word}", target)
        for what in ("VFS-OPTIONS", "FS-OPTIONS"):
            t.check(word in flags(what) and other not in flags(what), f"{what} after {word}: {flags(what)}")
        t.eq(attempt(write, path, "2"), result, f"writing after {word}")
    t.eq(read(os.path.join(source, "a")), b"2", "what was written")
    t.check("nosuid" in flags("VFS-OPTIONS"), "nosuid is gone")
    t.check("max_read=65536" in flags("FS-OPTIONS"), "max_read is gone")
    m.good("mount", "-o", "remount,noexec,noatime,suid", target)
    now = flags("VFS-OPTIONS")
    t.check({"noexec", "noatime"} <= now and "nosuid" not in now, f"flags {now}")
    # The daemon's options stay as they are; those of fstab are passed over.
    m.fstab(f"{source} {target} handlefs cache=none,noatime 0 0")
    m.good("mount", "-o", "remount,ro", target)
    m.good("mount", "-o", "remount,rw", target)
    with open(path, "a"):
        m.bad(32, "open for writing", "mount", "-o", "remount,ro", target)
    m.bad(1, "'bogus'", "/sbin/mount.handlefs", source, target, "-o", "remount,bogus")
    m.umount(target)
    m.bad(32, "no mount of handlefs", "/sbin/mount.handlefs", source, target, "-o", "remount,ro")


@entry()
def a_given_device_is_served(t):
    """A TARGET /dev/fd/N is an opened and mounted /dev/fuse; a SOURCE /dev/fd/N is an opened directory."""
    m = Machine(t)
    source, target = m.tree("s", a="1"), t.place("m")
    device = os.open("/dev/fuse", os.O_RDWR)
    syscalls.mount("given", target, "fuse.handlefs", 0,
                   f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions")
    try:
        shell_fd(["/sbin/mount.handlefs", source, f"/dev/fd/{device}", "-o", "cache=none"], device)
    finally:
        os.close(device)
    shows(t, target, source)
    m.umount(target)
    directory = os.open(source, os.O_RDONLY)
    shell_fd(["mount", "-t", "handlefs", f"/dev/fd/{directory}", target], directory)
    os.close(directory)
    shows(t, target, source)
    m.umount(target)


def shell_fd(argv, fd):
    done = subprocess.run(argv, pass_fds=[fd], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          cwd="/", timeout=60)
    if done.returncode:
        raise AssertionError(f"{argv}: exit {done.returncode}: {done.stdout.decode()}")


@entry()
def setuid_serves_as_a_user(t):
    """setuid=USER mounts as root and serves as that user, for that user alone, without set-id programs and devices."""
    m = Machine(t)
    source, target = m.tree("s", a="1"), t.place("m")
    os.chown(source, NOBODY, NOBODY)
    t.eq(m.good("mount", "-t", "handlefs", "-o", "setuid=nobody", source, target), "", "what is said")
    t.eq(m.served(), 1, "daemons")
    for fields in m.processes().values():
        t.eq((fields["Uid"].split(), fields["Groups"].strip()), ([str(NOBODY)] * 4, str(NOBODY)), "who serves")
        t.eq(int(fields["CapEff"], 16), 0, "capabilities")
    t.check({"nosuid", "nodev"} <= set(m.find(target, "VFS-OPTIONS").split(",")), "nosuid, nodev")
    t.check(f"user_id={NOBODY}" in m.find(target, "FS-OPTIONS"), "owner")
    t.eq(run_as(NOBODY, NOBODY, [], os.listdir, target), ["a"], "listing by the user")
    run_as(NOBODY, NOBODY, [], write, os.path.join(target, "new"), "x")
    t.eq(os.stat(os.path.join(source, "new")).st_uid, NOBODY, "owner of a new file")
    t.eq(run_as(1, 1, [], os.listdir, target), Err("EACCES"), "listing by others")
    m.umount(target)
    # mount(8) drops "suid", which it takes for the default.
    m.good("/sbin/mount.handlefs", source, target, "-o", "setuid=65534,allow_other,suid")
    t.eq(sorted(os.listdir(target)), ["a", "new"], "listing by root, with allow_other")
    t.check("nosuid" not in m.find(target, "VFS-OPTIONS"), "suid was asked for")
    m.umount(target)


@entry()
def privileges_can_be_dropped(t):
    """drop_privileges serves without capabilities, and nothing that is run can get any."""
    m = Machine(t)
    source, target = m.tree("s", a="1"), t.place("m")
    for options, uid in (("drop_privileges", 0), ("drop_privileges,setuid=nobody", NOBODY)):
        m.good("mount", "-t", "handlefs", "-o", options, source, target)
        t.eq(m.served(), 1, "daemons")
        for fields in m.processes().values():
            t.eq(fields["Uid"].split(), [str(uid)] * 4, f"who serves with {options}")
            for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                t.eq(int(fields[kind], 16), 0, f"{kind} with {options}")
            t.eq(fields["NoNewPrivs"].strip(), "1", options)
        t.eq(run_as(uid, uid, [], os.listdir, target), ["a"], "listing")
        m.umount(target)
    # A start that fails takes the mount away again.
    os.chmod(source, 0o700)
    m.bad(32, "source", "mount", "-t", "handlefs", "-o", "setuid=nobody", source, target)
    m.bad(32, "may not contain", "mount", "-t", "handlefs", "-o", "setuid=nobody", source, source)


@entry()
def a_dead_mount_is_replaced(t):
    """A dead FUSE mount in the way is named, and with replace_stale it is taken away, also before setuid."""
    m = Machine(t)
    source, target = m.tree("s", a="1"), t.place("m")
    for options in ("allow_other", "setuid=nobody,allow_other"):
        device = os.open("/dev/fuse", os.O_RDWR)
        syscalls.mount("dead", target, "fuse.dead", 0, f"fd={device},rootmode=40000,user_id=0,group_id=0")
        os.close(device)
        t.eq(attempt(os.stat, target), Err("ENOTCONN"), "a dead mount")
        m.bad(32, "replace_stale", "/sbin/mount.handlefs", source, target, "-o", options)
        m.good("/sbin/mount.handlefs", source, target, "-f", "-o", options + ",replace_stale")
        t.eq(attempt(os.stat, target), Err("ENOTCONN"), "-f took it away")
        m.good("/sbin/mount.handlefs", source, target, "-o", options + ",replace_stale")
        shows(t, target, source)
        m.umount(target)


@entry()
def another_namespace_gets_the_mount(t):
    """-N mounts in the mount namespace that it names, and not here."""
    m = Machine(t)
    source, target = m.tree("s", a="1"), t.place("m")
    other = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sleep", "infinity"],
                             stdin=subprocess.DEVNULL)
    try:
        mine = os.readlink("/proc/self/ns/mnt")
        until(lambda: os.readlink(f"/proc/{other.pid}/ns/mnt") != mine, "another namespace")
        place = f"/proc/{other.pid}/ns/mnt"
        m.good("mount", "-t", "handlefs", "-N", place, source, target)
        t.check(not mounted_at(target), "it is mounted here")
        inside = shell("nsenter", f"--mount={place}", "findmnt", "-rno", "FSTYPE", "--mountpoint", target)
        t.eq(inside.strip(), "fuse.handlefs", "there")
        shell("nsenter", f"--mount={place}", "cat", f"{target}/a")
        shell("nsenter", f"--mount={place}", "umount", target)
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
    m.bad(32, "namespace", "/sbin/mount.handlefs", source, target, "-N", "/none")


@entry()
def users_mount_their_own(t):
    """A user mounts a tree of the user's own, by the helper or by a `user` line of fstab; what is missing is said once."""
    m = Machine(t)
    t.need("fusermount3")
    m.open_device_to_users()
    source, target = m.tree("s", a="1"), t.place("m")
    for path in (source, target):
        os.chown(path, NOBODY, NOBODY)
    m.fstab(f"{source} {target} handlefs user,noauto 0 0")
    for argv in (("/sbin/mount.handlefs", source, target), ("mount", target)):
        code, out, err = m.run(*argv, uid=NOBODY)
        t.eq(code, 0, f"{argv}: {out}{err}")
        lines = err.splitlines()
        t.check(len(lines) == 1 and "without root" in lines[0], f"{argv} says {lines}")
        t.eq(m.find(target, "FSTYPE,SOURCE"), f"fuse.handlefs {source}", f"findmnt after {argv}")
        t.eq(run_as(NOBODY, NOBODY, [], os.listdir, target), ["a"], "listing by the user")
        t.check({"nosuid", "nodev"} <= set(m.find(target, "VFS-OPTIONS").split(",")), "nosuid, nodev")
        m.umount(target, *(("umount", target) if argv[0] == "mount" else ("fusermount3", "-u", target)), uid=NOBODY)
    m.bad(1, "need root", "/sbin/mount.handlefs", source, target, "-o", "setuid=nobody", uid=NOBODY)
    m.bad(32, "suid", "/sbin/mount.handlefs", source, target, "-o", "suid", uid=NOBODY)


@entry()
def the_generic_helper_works(t):
    """Where ours is not installed, mount.fuse3 mounts handlefs as any FUSE file system, with drop_privileges, too."""
    m = Machine(t)
    t.need("mount.fuse3")
    for name in ("/usr/sbin/mount.fuse.handlefs", "/sbin/mount.fuse.handlefs", "/usr/sbin/mount.handlefs"):
        if os.path.exists(name):
            os.unlink(name)
    source, target = m.tree("s", a="1"), t.place("m")
    for argv in (("fuse.handlefs", "cache=none,nofail,_netdev", source), ("fuse.handlefs", "ro", source),
                 ("fuse3", "rw", f"handlefs#{source}"), ("fuse.handlefs", "drop_privileges,allow_other", source)):
        kind, options, what = argv
        m.good("mount", "-t", kind, "-o", options, what, target)
        shows(t, target, source)
        if "drop_privileges" in options:
            t.check(all(int(fields["CapEff"], 16) == 0 for fields in m.daemons().values()), "capabilities are left")
        m.umount(target)
