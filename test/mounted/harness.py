"""File systems in images, the server under test, and the context a test gets."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import syscalls
import trees
from procs import Err, attempt, run_as, until
from registry import Skipped

IMAGE_SIZES = {"ext4": 3 << 30, "xfs": 2 << 30, "btrfs": 2 << 30}
MKFS = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-I", "256", "-N", "450000", "-E", "lazy_itable_init=1,nodiscard"],
    "xfs": ["mkfs.xfs", "-q", "-f", "-K"],
    "btrfs": ["mkfs.btrfs", "-q", "-f", "-K"],
}
LOG_ERROR = re.compile(r"\blevel=(error|fatal)\b|\b(ERROR|FATAL)\b|^[EF]\d{4}[ T]|^<[0-3]>|(^|[\s\[:])(error|fatal)[\]:]")


def shell(*argv, check=True, cwd=None, env=None, input=None, limit=300):
    """Runs a program; its output is part of the failure."""
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=cwd, env=env,
                          input=input, stdin=None if input is not None else subprocess.DEVNULL, timeout=limit)
    text = done.stdout.decode(errors="replace")
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, argv))}: exit {done.returncode}: {text.strip()[-800:]}")
    return text if check else (done.returncode, text)


def die_with_parent():
    os.setsid()
    syscalls.prctl(1, signal.SIGTERM)


def _unescape(text):
    return re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), text)


def mounts():
    """[(mount point, type, source, options)] of this namespace, in order of mounting."""
    out = []
    with open("/proc/self/mountinfo") as f:
        for line in f:
            left, _, right = line.partition(" - ")
            words, tail = left.split(), right.split()
            out.append((_unescape(words[4]), tail[0], _unescape(tail[1]), f"{words[5]},{tail[2]}"))
    return out


def mounted_at(path):
    # The last component is not resolved: a dead mount would hang or fail there.
    where, name = os.path.split(path.rstrip("/"))
    found = [m for m in mounts() if m[0] == os.path.join(os.path.realpath(where), name)]
    return found[-1] if found else None


def detach(path):
    """Takes away whatever is mounted there; a dead server must not make that hang."""
    while mounted_at(path):
        try:
            syscalls.umount2(path, syscalls.MNT_DETACH)
        except OSError:
            return


def abort_connection(path):
    """Ends a hung FUSE connection so that its users wake up."""
    with open("/proc/self/mountinfo") as f:
        minors = [line.split()[2].split(":")[1] for line in f
                  if " - fuse" in line and _unescape(line.split()[4]).startswith(path)]
    for minor in minors:
        control = f"/sys/fs/fuse/connections/{minor}/abort"
        if not os.path.exists(control) and not os.path.ismount("/sys/fs/fuse/connections"):
            attempt(syscalls.mount, "fusectl", "/sys/fs/fuse/connections", "fusectl", 0)
        if os.path.exists(control):
            with open(control, "w") as f:
                f.write("1")


class FileSystem:
    """A host file system of a given kind, mounted below `place`."""

    def __init__(self, kind, place, options="", size=None, mkfs=()):
        self.kind, self.path = kind, os.path.join(place, kind)
        self._image = os.path.join(place, kind + ".img")
        self._under = None
        os.makedirs(self.path)
        if kind == "tmpfs":
            shell("mount", "-t", "tmpfs", "-o", options or f"size={size or 1 << 30},mode=755", "tmpfs", self.path)
        elif kind == "overlay":
            self._under = FileSystem("ext4", place)
            layers = {n: os.path.join(self._under.path, n) for n in ("lower", "upper", "work")}
            for layer in layers.values():
                os.mkdir(layer)
            data = ",".join(f"{k}dir={v}" for k, v in layers.items())
            shell("mount", "-t", "overlay", "-o", data, "overlay", self.path)
        else:
            with open(self._image, "wb") as f:
                f.truncate(size or IMAGE_SIZES[kind])
            shell(*MKFS[kind], *mkfs, self._image)
            shell("mount", "-t", kind, "-o", "loop" + ("," + options if options else ""), self._image, self.path)
            if kind == "ext4" and os.path.isdir(f"{self.path}/lost+found"):
                os.rmdir(f"{self.path}/lost+found")

    def close(self):
        detach(self.path)
        if self._under:
            self._under.close()
        if os.path.exists(self._image):
            os.unlink(self._image)
        os.rmdir(self.path)


def missing(kind):
    """Why this kind of file system cannot be had here, or None."""
    with open("/proc/filesystems") as f:
        known = f.read().split()
    if kind not in known and subprocess.run(["modprobe", "-q", kind], stderr=subprocess.DEVNULL).returncode:
        return f"the kernel has no {kind}"
    if kind in MKFS and not shutil.which(MKFS[kind][0]):
        return f"{MKFS[kind][0]} is not installed"
    return None


# What a mount is told; over the stand-in, which mounts by itself, that cannot be had.
MOUNT_OPTIONS = {"ro", "allow_other", "fsname", "max_read", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime",
                 "strictatime", "sync", "dirsync", "lazytime", "nosymfollow"}


def option_text(options):
    return ",".join(k if v is True else f"{k}={v}" for k, v in options.items())


# Seconds after which the servers of all daemons are killed, again and again; their keepers start others.
KILL_EVERY = None


def start_killer(keeper):
    """A process that kills the servers of a keeper as long as there is one."""
    if os.fork():
        return
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    syscalls.prctl(1, signal.SIGKILL)
    try:
        while True:
            time.sleep(KILL_EVERY)
            with open(f"/proc/{keeper}/task/{keeper}/children") as f:
                # The first is the server, others are asked or unmount.
                for pid in f.read().split()[:1]:
                    attempt(os.kill, int(pid), signal.SIGKILL)
    except OSError:
        pass
    finally:
        os._exit(0)


class Served:
    """A running server (or its stand-in) for one mount point."""

    def __init__(self, mode, source, path, options, log, trace=False):
        self.mode, self.source, self.path, self.options, self.log = mode, source, path, dict(options), log
        self.process = None
        os.makedirs(path, exist_ok=True)
        kind = mode[0]
        nofile, prefix = self.options.pop("nofile", None), self.options.pop("prefix", None)
        if kind == "bind":
            shell("mount", "--rbind" if options.get("submounts") == "cross" else "--bind", "--", source, path)
            flags = [k for k in ("ro", "nosuid", "nodev", "noexec", "noatime") if options.get(k)]
            if flags:
                shell("mount", "-o", "remount,bind," + ",".join(flags), path)
            return
        if kind == "handlefs":
            argv = [mode[1], "-d" if trace else "-f"]
            if len(mode) > 2:
                argv = self._over_standin(mode[2], argv)
            else:
                if self.options:
                    argv += ["-o", option_text(self.options)]
                argv += [source, path]
        elif kind == "bindfs":
            argv = ["bindfs", "-f", *(["-o", "ro"] if options.get("ro") else []), source, path]
        else:
            argv = [w.format(source=source, mountpoint=path) for w in mode[1].split()]
            if "{source}" not in mode[1]:
                argv += [source, path]
        if nofile:
            argv = ["prlimit", f"--nofile={nofile}", *argv]
        if prefix:
            argv = [*prefix, *argv]
        out = open(log, "ab")
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/",
                                        preexec_fn=die_with_parent)
        out.close()
        try:
            until(self._answers, f"{argv[0]} mounts {path}")
        except AssertionError:
            self.kill()
            raise AssertionError(f"{' '.join(argv)}: {self.log_text()[-600:].strip()}") from None
        if KILL_EVERY and kind == "handlefs":
            start_killer(self.pid)

    def _over_standin(self, standin, server):
        """The same behind the stand-in kernel, which mounts."""
        refused = sorted(MOUNT_OPTIONS & set(self.options))
        if refused:
            raise Skipped(f"the stand-in mounts by itself, without {', '.join(refused)}")
        dialect = standin["dialect"]
        # The others are to be recognized by what they send.
        explicit = dialect if dialect in ("lookup-handle-inline", "lookup-handle-all") else "auto"
        options = {"dialect": explicit, "key_file": self.log + ".key", **self.options, "passthrough": "off"}
        return [standin["path"], "--dialect", dialect, "--restart-every", str(standin["every"]), "--fault", standin["fault"],
                self.path, "--", *server, "-o", option_text(options), self.source, "/dev/fd/3"]

    def _answers(self):
        if self.process.poll() is not None:
            raise AssertionError("it ended")
        found = mounted_at(self.path)
        return found and found[1].startswith("fuse") and not isinstance(attempt(os.stat, self.path), Err)

    @property
    def pid(self):
        return self.process.pid

    def log_text(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def alive(self):
        return self.process is None or self.process.poll() is None

    def kill(self):
        detach(self.path)
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self):
        """Unmounts as a user would; returns what was not right about it."""
        if not self.alive():
            complaints = [f"the server had died with {self.process.returncode}: {self.log_text()[-400:].strip()}"]
            detach(self.path)
            return complaints
        complaints = []
        try:
            how = ["umount", *(["-R"] if self.mode[0] == "bind" else []), "--", self.path]
            until(lambda: subprocess.run(how, stderr=subprocess.DEVNULL).returncode == 0,
                  "umount", 10)
        except AssertionError:
            complaints.append(f"umount: {shell('umount', self.path, check=False)[1].strip()}")
            detach(self.path)
        if self.process:
            try:
                code = self.process.wait(30)
                if code:
                    complaints.append(f"exit status {code} after umount")
            except subprocess.TimeoutExpired:
                complaints.append("still running after umount")
                self.kill()
            if self.mode[0] == "handlefs":
                complaints += [f"in the log: {line}" for line in self.log_text().splitlines()
                               if not re.search(r"\b[rt]x \d+", line) and LOG_ERROR.search(line)][:3]
        if mounted_at(self.path):
            complaints.append("still mounted")
            self.kill()
        return complaints


def contrast(left, right):
    """Names only the parts of two outcomes that differ."""
    kind = type(left)
    if kind in (list, tuple) and type(right) is kind and len(left) == len(right):
        parts = [f"[{i}] {contrast(a, b)}" for i, (a, b) in enumerate(zip(left, right)) if a != b]
        return "; ".join(parts[:4])
    return f"host {brief(left)} mount {brief(right)}"


def brief(value):
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:150]}... ({len(text)} characters)"


class Context:
    """What a test works with.

    twin is a directory of the bare host file system, src the host's view of the directory that mnt shows.
    """

    def __init__(self, run, test, fs, served, config, work):
        self.run, self.fs, self.config, self.served, self.work = run, fs.kind, config, served, work
        self.host_fs = fs
        self.mode = run.mode[0]
        self.twin = os.path.join(fs.path, "twin", test.name)
        self.src = os.path.join(fs.path, "src", test.name)
        self.mnt = os.path.join(served.path, test.name) if served else None
        self._own = []
        for place in (self.twin, self.src):
            os.mkdir(place, 0o755)
        self.until = until

    def skip(self, reason):
        raise Skipped(reason)

    def need(self, *programs):
        for program in programs:
            if not shutil.which(program):
                self.skip(f"{program} is not installed")

    def check(self, condition, text):
        if not condition:
            raise AssertionError(text)

    def eq(self, got, wanted, what):
        if got != wanted:
            raise AssertionError(f"{what}: got {got!r}, wanted {wanted!r}")

    def same(self, fn, *args, what=""):
        """Runs fn(directory, ...) on the twin and on the mount: the outcomes must be equal."""
        on_host = attempt(fn, self.twin, *args)
        on_mount = attempt(fn, self.mnt, *args)
        if on_host != on_mount:
            label = what or f"{fn.__name__}{args or ''}"
            raise AssertionError(f"{label}: {contrast(on_host, on_mount)}")
        return on_host

    def same_as(self, who, fn, *args, what=""):
        """Like same, as (uid, gid, groups)."""
        on_host = run_as(*who, fn, self.twin, *args)
        on_mount = run_as(*who, fn, self.mnt, *args)
        if on_host != on_mount:
            label = what or f"{fn.__name__}{args or ''} as {who}"
            raise AssertionError(f"{label}: {contrast(on_host, on_mount)}")
        return on_host

    def same_trees(self, **kwargs):
        """The mount shows exactly what the host has behind it."""
        wrong = trees.differences(trees.listing(self.src, **kwargs), trees.listing(self.mnt, **kwargs))
        self.check(not wrong, "mount and host differ: " + "; ".join(wrong))

    def twins(self, fn):
        """Prepares the same thing on the twin and, through the mount, beside it."""
        fn(self.twin)
        fn(self.mnt)

    def sees_host_changes(self, what):
        """Whether cached answers may hide a change made on the host for ever."""
        if self.config.get("cache") == "always":
            self.skip(f"cache=always promises nothing about {what}")

    def place(self, name):
        path = os.path.join(self.work, name)
        os.makedirs(path, exist_ok=True)
        return path

    def serve(self, source, at=None, trace=False, log=None, **options):
        """Another mount, with this run's configuration and these options on top."""
        merged = {k: v for k, v in {**self.config, **options}.items() if v is not None}
        number = len(self._own)
        at = at or os.path.join(self.work, f"mnt{number}")
        served = Served(self.run.mode, source, at, merged, log or os.path.join(self.work, f"log{number}"), trace)
        self._own.append(served)
        return served

    def end(self, served):
        """Stops a mount of serve(); anything wrong about that fails the test."""
        self._own.remove(served)
        complaints = served.stop()
        self.check(not complaints, "; ".join(complaints))

    def finish(self):
        for served in list(reversed(self._own)):
            self.end(served)

    def give_up(self):
        for served in reversed(self._own):
            attempt(abort_connection, served.path)
            served.kill()


def make_base():
    base = tempfile.mkdtemp(prefix="handlefs-mounted.")
    os.chmod(base, 0o755)
    return os.path.realpath(base)


def private_mounts():
    """A mount namespace of our own: whatever happens, the machine's mount table stays clean."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    # Control sockets of daemons that are killed stay in there.
    os.makedirs("/run/handlefs", mode=0o700, exist_ok=True)
    syscalls.mount("control", "/run/handlefs", "tmpfs", 0, "size=1m,mode=700")


def own_children():
    """Direct children, orphans of tests included, since the runner is a subreaper."""
    me, out = os.getpid(), []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as f:
                    if int(f.read().rpartition(")")[2].split()[1]) == me:
                        out.append(int(name))
            except OSError:
                continue
    return out


def clear_children(keep):
    """Ends what a test left running."""
    for _ in range(100):
        left = [pid for pid in own_children() if pid not in keep]
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                continue
    print("processes would not end", file=sys.stderr)
