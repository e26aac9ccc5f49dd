"""Starting and stopping: what a user sees when it works and when it does not."""

import os
import pwd
import shutil
import signal
import stat
import subprocess

import harness
import syscalls
from harness import detach, mounted_at, option_text, shell
from procs import attempt, run_as, until
from registry import test
from trees import read, write

OWN = "it is about handlefs' own start and end"
BUFFERS = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def start(t, *argv, prepare=None):
    """Runs the command as from a shell; returns (exit code, output lines). It must let go of the pipes."""
    process = subprocess.Popen([t.run.mode[1], *map(str, argv)], cwd="/", preexec_fn=prepare, **BUFFERS)
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"{argv}: neither end nor background after 60 s") from None
    return process.returncode, [line for line in (out + err).decode(errors="replace").splitlines() if line.strip()]


def refused(t, what, *argv, code=None, names=None, target=None, prepare=None):
    """The start fails with one line that names the trouble, and leaves nothing behind."""
    wanted = code
    before = harness.mounts()
    code, lines = start(t, *argv, prepare=prepare)
    wrong = []
    if code == 0:
        wrong.append("exit status 0")
        if target:
            detach(target)
    if wanted and code > 0 and code != wanted:
        wrong.append(f"exit status {code}, documented is {wanted}")
    if code < 0:
        wrong.append(f"killed by signal {-code}")
    if len(lines) != 1:
        wrong.append(f"{len(lines)} lines instead of one")
    if names and not any(str(names) in line for line in lines):
        wrong.append(f"does not name {names}")
    if harness.mounts() != before:
        wrong.append("a mount is left")
    return [f"{what}: {', '.join(wrong)}: {lines[:2]}"] if wrong else []


def background(t, source, target, **options):
    """Starts in the background; returns the pids of what is left running."""
    os.makedirs(target, exist_ok=True)
    before = set(harness.own_children())
    argv = ["-o", option_text(options)] if options else []
    code, lines = start(t, *argv, source, target)
    t.check(code == 0, f"start: exit {code}: {lines}")
    t.check(mounted_at(target), "mounted when the command returns")
    os.listdir(target)
    pids = set(harness.own_children()) - before
    t.check(pids, "a daemon runs")
    return pids


def ended(t, pids, what):
    """All of them end by themselves with status 0."""
    for pid in pids:
        status = until(lambda: (done := os.waitpid(pid, os.WNOHANG))[0] and done, f"{what}: the daemon ends")[1]
        t.eq(os.waitstatus_to_exitcode(status), 0, f"{what}: exit status")


def places(t):
    source, target = t.place("source"), t.place("target")
    write(os.path.join(source, "f"), "content")
    return source, target


@test(scope="fs", only=OWN)
def wrong_commands_are_explained(t):
    """Every mistake on the command line ends with one line that names it, an error status, and nothing mounted."""
    source, target = places(t)
    plain = os.path.join(source, "f")
    wrong = []
    for option in ("bogus", "bogus=1", "cache=sometimes", "timeout=-1", "timeout=soon", "identity=name", "max_write=1",
                   "max_write=many", "threads=0", "threads=-3", "threads=x", "locks=none", "passthrough=perhaps",
                   "submounts=some", "export=maybe", "offload=x"):
        wrong += refused(t, f"-o {option}", "-o", option, source, target, code=1, names=option.split("=")[0], target=target)
    wrong += refused(t, "unknown flag", "--bogus", source, target, code=1, names="bogus", target=target)
    wrong += refused(t, "missing source", os.path.join(t.work, "none"), target, code=2, names="none", target=target)
    wrong += refused(t, "source is a file", plain, target, code=2, names=plain, target=target)
    wrong += refused(t, "missing mount point", source, os.path.join(t.work, "nowhere"), code=3, names="nowhere")
    wrong += refused(t, "mount point is a file", source, plain, code=3, names=plain, target=plain)
    wrong += refused(t, "no mount point", source, code=1)
    wrong += refused(t, "too many operands", source, target, target, code=1, target=target)
    t.check(not wrong, f"{len(wrong)} cases: " + "; ".join(wrong))


@test(scope="fs", only=OWN)
def dead_mount_point_is_explained(t):
    """A mount point with a dead FUSE mount on it is refused with a line that tells how to clean up."""
    source, target = places(t)
    fd = os.open("/dev/fuse", os.O_RDWR)
    syscalls.mount("dead", target, "fuse", 0, f"fd={fd},rootmode=40000,user_id=0,group_id=0")
    os.close(fd)
    t.eq(attempt(os.listdir, target), "ENOTCONN", "the mount is dead")
    before = harness.mounts()
    code, lines = start(t, source, target)
    t.check(code > 0 and len(lines) == 1, f"one line and an error status: {code} {lines}")
    t.check("umount" in lines[0], f"it names the cure: {lines[0]}")
    t.eq(harness.mounts(), before, "mounts")
    detach(target)


@test(scope="fs", only=OWN)
def missing_rights_are_explained(t):
    """Without /dev/fuse, or as a user without rights, the start fails with one line."""
    source, target = places(t)
    os.chown(target, USER, USER)

    def no_device():
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("none", "/dev", "tmpfs", 0, "size=64k")

    wrong = []
    if stat.S_IMODE(os.stat("/dev/fuse").st_mode) & 0o006 == 0:
        wrong += refused(t, "not root", source, target, prepare=as_user, target=target)
    wrong += refused(t, "no /dev/fuse", source, target, prepare=no_device, code=4, names="/dev/fuse", target=target)
    t.check(not wrong, "; ".join(wrong))


USER = pwd.getpwnam("nobody").pw_uid  # fusermount3 wants a user with a name


def as_user():
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)


@test(scope="fs", only=OWN)
def mounts_without_root(t):
    """A user mounts a tree of his own with the help of fusermount3, works in it, and takes the mount away again."""
    t.need("fusermount3", "git")
    # A /dev/fuse that users may open, as systems with udev have it.
    dev = t.place("dev")
    syscalls.mount("none", dev, "tmpfs", 0, "size=64k,mode=755")
    node = os.path.join(dev, "fuse")
    os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(10, 229))
    os.chmod(node, 0o666)
    syscalls.mount(node, "/dev/fuse", None, syscalls.MS_BIND)
    program = os.path.join(t.place("bin"), "handlefs")
    shutil.copy(t.run.mode[1], program)
    source, target = os.path.join(t.src, "his, own"), t.place("target")
    os.mkdir(source)
    for place in (source, target):
        os.chown(place, USER, USER)
    argv = [program, "-f", "-o", "noexec,max_read=131072", source, target]
    with open(os.path.join(t.work, "user.log"), "wb") as log:
        daemon = subprocess.Popen(argv, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=as_user)
    try:
        until(lambda: mounted_at(target) or daemon.poll() is not None, "the mount is there")
        t.check(daemon.poll() is None, read(os.path.join(t.work, "user.log")))
        with open("/proc/self/mounts") as f:
            line = next(line for line in f if line.split()[1] == target)
        t.check(line.startswith("/") and "his,\\040own" in line.split()[0], f"source in the mount table: {line}")
        t.check({"noexec", "nosuid", "nodev"} <= set(line.split()[3].split(",")), f"flags of the mount: {line}")

        def steps(d):
            git = ["git", "-c", "init.defaultBranch=main", "-c", "user.name=n", "-c", "user.email=e@x", "-C", d]
            env = {"HOME": d, "PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1"}
            out = []
            for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "--allow-empty", "-m", "one"], ["fsck"], ["status", "-s"]):
                done = subprocess.run([*git, *words], env=env, capture_output=True, check=False)
                out.append((done.returncode, done.stdout, done.stderr))
                write(os.path.join(d, words[0]), words[0])
            p = os.path.join(d, "f")
            write(p, "x")
            out.append(attempt(os.chown, p, 0, 0))
            os.chmod(p, 0o4751)
            out.append((os.stat(p).st_mode, os.stat(p).st_uid))
            out.append(attempt(os.mknod, p + "dev", 0o600 | stat.S_IFCHR, os.makedev(1, 3)))
            os.mkfifo(p + "fifo")
            os.setxattr(p, "user.a", b"b")
            out.append((attempt(os.setxattr, p, "trusted.a", b"b"), os.listxattr(p)))
            out.append(sorted(os.listdir(d)))
            return out

        twin = os.path.join(t.twin, "own")
        os.mkdir(twin)
        os.chown(twin, USER, USER)
        on_host = run_as(USER, USER, [], steps, twin)
        t.eq(run_as(USER, USER, [], steps, target), on_host, "what a user does")
        t.eq(attempt(os.listdir, target), "EACCES", "root is not the user")
        done = subprocess.run(["fusermount3", "-u", target], preexec_fn=as_user, capture_output=True, check=False)
        t.eq((done.returncode, done.stderr), (0, b""), "fusermount3 -u")
        t.eq(daemon.wait(60), 0, "exit status")
    finally:
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()
        if mounted_at(target):
            detach(target)
        syscalls.umount2("/dev/fuse", 2)
        syscalls.umount2(dev, 2)


@test(smoke=True, scope="run", only=OWN)
def help_and_version(t):
    """--help names every option, --version says the version, both end with status 0."""
    for word in ("--help", "-h"):
        code, lines = start(t, word)
        t.eq(code, 0, word)
        for option in ("identity", "cache", "timeout", "locks", "passthrough", "offload", "submounts", "export", "key_file",
                       "max_write", "threads", "allow_other", "log", "ro"):
            t.check(any(line.split()[:1] and line.split()[0].startswith(option) for line in lines), f"{word} names {option}")
        t.check(all(len(line) <= 100 for line in lines), f"{word}: lines fit a terminal")
    code, lines = start(t, "--version")
    t.check(code == 0 and any("handlefs" in line for line in lines), f"--version: {code} {lines}")


@test(smoke=True, scope="fs", only=OWN)
def background_start_and_umount(t):
    """When the command returns the mount works; umount from outside ends the daemon with status 0."""
    source, target = places(t)
    for _ in range(3):
        pids = background(t, source, target)
        t.eq(read(os.path.join(target, "f")), b"content", "read at once")
        kind = mounted_at(target)[1]
        t.eq(kind, "fuse.handlefs", "file system type")
        t.check("handlefs" in shell("findmnt", "-no", "FSTYPE,SOURCE", target), "findmnt")
        shell("umount", target)
        ended(t, pids, "umount")
        t.check(not mounted_at(target), "nothing mounted")


@test(smoke=True, scope="fs", only=OWN)
def signals_unmount(t):
    """SIGTERM and SIGINT unmount and end the daemon with status 0."""
    source, target = places(t)
    for number in (signal.SIGTERM, signal.SIGINT):
        pids = background(t, source, target)
        for pid in pids:
            attempt(os.kill, pid, number)
        ended(t, pids, signal.Signals(number).name)
        t.check(not mounted_at(target), "nothing mounted")
        served = t.serve(source, target)
        served.process.send_signal(number)
        t.eq(served.process.wait(30), 0, "exit status in the foreground")
        t.check(not mounted_at(target), "nothing mounted")
        t._own.remove(served)


@test(scope="fs", only=OWN)
def sigterm_while_busy(t):
    """SIGTERM with an open file detaches the mount at once, and the daemon ends after draining."""
    source, target = places(t)
    pids = background(t, source, target)
    fd = os.open(os.path.join(target, "f"), os.O_RDWR)
    cwd = os.open(target, os.O_RDONLY)
    for pid in pids:
        attempt(os.kill, pid, signal.SIGTERM)
    until(lambda: not mounted_at(target), "the mount is gone")
    ended(t, pids, "SIGTERM while busy")
    for left in (fd, cwd):
        # The device may be let go a moment after the daemon: a FLUSH that is on its way then is ECONNABORTED.
        closed = attempt(os.close, left)
        t.check(closed in (None, "ENOTCONN", "ECONNABORTED"), f"closing what was open: {closed}")


@test(scope="fs", only=OWN)
def busy_umount_harms_nothing(t):
    """umount of a busy mount fails and harms nothing; umount -l lets open files live on until they are closed."""
    source, target = places(t)
    pids = background(t, source, target)
    fd = os.open(os.path.join(target, "f"), os.O_RDWR)
    code, _ = shell("umount", target, check=False)
    t.check(code != 0, "umount refuses")
    t.eq(os.pread(fd, 9, 0), b"content", "the open file goes on")
    shell("umount", "-l", target)
    t.eq(os.pwrite(fd, b"CONTENT", 0), 7, "the open file goes on after umount -l")
    t.eq(os.fstat(fd).st_size, 7, "fstat after umount -l")
    os.close(fd)
    ended(t, pids, "the last close")
    t.eq(read(os.path.join(source, "f")), b"CONTENT", "what was written")


@test(scope="fs", only=OWN)
def aborted_connection_is_told(t):
    """A connection that is ended by force ends the daemon with status 7, says so in one line, and leaves nothing mounted."""
    source, target = places(t)
    served = t.serve(source, target)
    fd = os.open(os.path.join(target, "f"), os.O_RDONLY)
    harness.abort_connection(target)
    t.eq(served.process.wait(60), 7, "exit status")
    t._own.remove(served)
    t.check("aborted" in served.log_text().splitlines()[-1], served.log_text())
    t.check(not mounted_at(target), "still mounted")
    attempt(os.close, fd)


@test(scope="fs", only=OWN)
def killed_daemon_leaves_no_hang(t):
    """After kill -9 of everything nobody hangs: users get an error, umount works, a new start works."""
    source, target = places(t)
    for _ in range(2):
        pids = background(t, source, target)
        for pid in pids:
            attempt(os.kill, pid, signal.SIGSTOP)
        for pid in pids:
            attempt(os.kill, pid, signal.SIGKILL)
            attempt(os.waitpid, pid, 0)
        left = set(harness.own_children())
        if not left:
            until(lambda: attempt(os.stat, os.path.join(target, "f")) == "ENOTCONN", "stat gives ENOTCONN")
        until(lambda: subprocess.run(["umount", target], stderr=subprocess.DEVNULL).returncode == 0, "umount")


@test(scope="fs", only=OWN, unless_standin="the stand-in's daemon has no socket", unless_kills="its servers start keepers of their own")
def sockets_of_killed_daemons_go(t):
    """The control socket that a killed daemon left is taken away by the next start, those of daemons that run stay."""
    sockets = lambda: set(os.listdir("/run/handlefs"))
    lives = t.serve(t.src)
    until(lambda: sockets(), "the first daemon listens")
    before = sockets()
    source, target = places(t)
    pids = background(t, source, target)
    left = sockets() - before
    t.eq(len(left), 1, f"sockets of the second daemon: {left}")
    # Both at once: a server without its keeper would start another.
    servers = []
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
        servers += map(int, read(f"/proc/{pid}/task/{pid}/children").split())
    t.check(servers, "the keeper has no server")
    for pid in (*pids, *servers):
        os.kill(pid, signal.SIGSTOP)
    for pid in (*pids, *servers):
        os.kill(pid, signal.SIGKILL)
    for pid in (*pids, *servers):
        # The server comes to us when its keeper is gone.
        until(lambda pid=pid: attempt(os.waitpid, pid, os.WNOHANG) == "ECHILD" and not os.path.exists(f"/proc/{pid}"), "the second daemon is dead")
    detach(target)
    t.eq(sockets(), before | left, "after the kill")
    third = t.serve(source, at=t.place("third"))
    until(lambda: len(sockets()) == len(before) + 1, f"sockets of two daemons: {sockets()}")
    t.check(not left & sockets(), "the dead one's socket is still there")
    t.check(before <= sockets(), "a living one's socket is gone")
    t.end(third)
    t.end(lives)


@test(smoke=True)
def mount_over_its_own_source(t):
    """A tree can be served over itself, or at a place inside of itself, without a deadlock."""
    source = t.place("source")
    write(os.path.join(source, "f"), "content")
    os.mkdir(os.path.join(source, "sub"))
    for target in (source, os.path.join(source, "sub")):
        served = t.serve(source, target)
        t.eq(read(os.path.join(target, "f")), b"content", "read")
        write(os.path.join(target, "new"), "written")
        os.unlink(os.path.join(target, "new"))
        t.eq(sorted(os.listdir(target)), ["f", "sub"], "listing")
        t.eq(os.listdir(os.path.join(target, "sub")), [], "the mount point seen through the mount is the plain directory")
        t.eq(len(shell("find", target).split()), 3, "find")
        t.end(served)


@test(smoke=True)
def read_only_mount(t):
    """With ro nothing can be changed: every change is EROFS, and reading works."""
    source = t.place("source")
    p = write(os.path.join(source, "f"), "content")
    served = t.serve(source, ro=True)
    q = os.path.join(served.path, "f")
    calls = [(os.open, q, os.O_RDWR), (os.open, q + "2", os.O_CREAT | os.O_RDWR), (os.mkdir, q + "d"), (os.unlink, q),
             (os.rename, q, q + "2"), (os.chmod, q, 0o600), (os.truncate, q, 0), (os.setxattr, q, "user.a", b"1"),
             (os.link, q, q + "l"), (os.symlink, "x", q + "s"), (os.utime, q), (os.chown, q, 1, 1), (os.mkfifo, q + "p")]
    for fn, *args in calls:
        t.eq(attempt(fn, *args), "EROFS", fn.__name__)
    t.eq(read(q), b"content", "reading")
    t.check("ro" in mounted_at(served.path)[3].split(","), "the mount table says ro")
    write(p, "changed on the host")


@test()
def mount_flags(t):
    """nodev, noexec and noatime are honoured; without them devices and programs work as on a bind mount."""
    source = t.place("source")
    os.mknod(os.path.join(source, "null"), 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    write(os.path.join(source, "script"), "#!/bin/sh\nexit 7\n", 0o755)
    served = t.serve(source)
    t.eq(subprocess.run([os.path.join(served.path, "script")]).returncode, 7, "a script runs")
    os.close(os.open(os.path.join(served.path, "null"), os.O_RDWR))
    t.end(served)
    served = t.serve(source, nodev=True, noexec=True, noatime=True)
    t.eq(attempt(os.open, os.path.join(served.path, "null"), os.O_RDWR), "EACCES", "nodev")
    t.eq(attempt(subprocess.run, [os.path.join(served.path, "script")]), "EACCES", "noexec")
    flags = mounted_at(served.path)[3].split(",")
    t.check({"nodev", "noexec", "noatime"} <= set(flags), f"the mount table: {flags}")


@test()
def remount_read_only_and_back(t):
    """mount -o remount,ro and remount,rw change the mount and start no second daemon."""
    source = t.place("source")
    served = t.serve(source)
    p = os.path.join(served.path, "f")
    for how in ("remount,bind", "remount"):
        if t.mode == "bind" and how == "remount":
            continue
        for state, wanted in (("ro", "EROFS"), ("rw", None)):
            shell("mount", "-i", "-o", f"{how},{state}", served.path)
            t.eq(attempt(write, p, "x") if state == "ro" else (write(p, "x"), None)[1], wanted, f"{how},{state}")
    if t.mode == "handlefs" and os.path.exists("/sbin/mount.fuse.handlefs"):
        shell("mount", "-o", "remount,ro", served.path)
        t.eq(attempt(write, p, "x"), "EROFS", "remount through the helper")
        shell("mount", "-o", "remount,rw", served.path)
        write(p, "x")
        t.eq(len([m for m in harness.mounts() if m[0] == served.path]), 1, "one mount")


@test()
def odd_paths(t):
    """Spaces, quotes, commas and non-ASCII letters in source and mount point, symbolic links and trailing slashes work."""
    for i, name in enumerate(("with space", "comma,equal=", "quote\"'", "caf\u00e9", "-dash", "back\\slash")):
        source, target = t.place(f"s{i}/{name}"), t.place(f"t{i}/{name}")
        write(os.path.join(source, "f"), name)
        served = t.serve(source, target)
        t.eq(read(os.path.join(target, "f")), name.encode(), name)
        t.end(served)
    if t.mode == "handlefs":
        source, target = t.place("real"), t.place("target")
        link = os.path.join(t.work, "link")
        os.symlink(source, link)
        write(os.path.join(source, "f"), "x")
        pids = background(t, link + "/", target + "/")
        t.eq(read(os.path.join(target, "f")), b"x", "source by a symbolic link")
        shell("umount", target)
        ended(t, pids, "umount")


@test(scope="fs", only=OWN)
def every_option_works(t):
    """Each documented option value starts, works and stops."""
    source = t.place("source")
    choices = [{"threads": 1}, {"threads": 4}, {"max_write": 131072}, {"offload": "never"}, {"offload": "always"},
               {"offload": "auto"}, {"scheduling": "auto"}, {"scheduling": "normal"}, {"locks": "local"}, {"locks": "host"}, {"allow_other": True}, {"timeout": 0},
               {"timeout": 2.5}, {"identity": "auto"}, {"cache": "auto", "timeout": 60}, {"passthrough": "auto"},
               {"submounts": "hide"}, {"submounts": "cross"}, {"export": "off"}]
    for choice in choices:
        served = t.serve(source, **choice)
        p = write(os.path.join(served.path, "f"), "x" * 300000)
        t.eq(len(read(p)), 300000, f"{choice}: content")
        t.eq(run_as(3402, 3402, (), os.listdir, served.path), ["f"], f"{choice}: another user")
        os.unlink(p)
        t.end(served)


@test(scope="run", only=OWN)
def check_tells_what_would_be_used(t):
    """--check prints the transport, identity and passthrough that a start would use, mounts nothing, and fails as a start would."""
    before = harness.mounts()
    code, lines = start(t, "--check", t.src)
    t.eq(code, 0, f"exit status: {lines}")
    told = {line.split()[0]: line for line in lines}
    for what in ("kernel", "source", "identity", "cache", "transport", "passthrough", "dialect"):
        t.check(what in told, f"nothing of {what}: {lines}")
    t.check(t.src in told["source"], told["source"])
    code, lines = start(t, "--check", "-o", "transport=dev,cache=always,passthrough=off", t.src, t.place("target"))
    t.eq(code, 0, f"exit status: {lines}")
    told = {line.split()[0]: line.split()[1] for line in lines}
    t.eq((told["transport"], told["cache"], told["passthrough"]), ("dev:", "always:", "off:"), "as asked for")
    code, lines = start(t, "--check", os.path.join(t.src, "missing"))
    t.eq(code, 2, "exit status without a source")
    t.check(lines[-1].startswith("would fail") and "missing" in lines[-1], lines[-1])
    t.eq(harness.mounts(), before, "mounts")


@test(scope="run", only=OWN)
def transport_is_as_asked_for(t):
    """transport=uring ends with one line where the kernel has it off; transport=auto serves all the same."""
    parameter = "/sys/module/fuse/parameters/enable_uring"
    if not os.path.exists(parameter):
        t.skip(f"this kernel has no FUSE over io_uring ({parameter})")
    before = read(parameter).strip()
    write(os.path.join(t.src, "f"), "x")
    try:
        write(parameter, "N")
        target = t.place("target")
        wrong = refused(t, "off", "-f", "-o", "transport=uring", t.src, target, code=6, names="enable_uring", target=target)
        t.check(not wrong, str(wrong))
        served = t.serve(t.src, transport="auto")
        t.eq(read(os.path.join(served.path, "f")), b"x", "by /dev/fuse")
        t.check("over /dev/fuse" in served.log_text(), served.log_text())
        t.end(served)
        served = t.serve(t.src, transport="uring", enable_uring="on")
        t.eq(read(os.path.join(served.path, "f")), b"x", "over io_uring")
        t.check("over io_uring" in served.log_text(), served.log_text())
        t.eq(read(parameter).strip(), b"Y", "the parameter")
        t.end(served)
    finally:
        write(parameter, before)
