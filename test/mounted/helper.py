"""mount.handlefs where mount(8) looks for it, in a mount namespace of the test's own."""

import os
import stat
import subprocess

import harness
import syscalls
from harness import mounted_at, shell
from procs import until

NOBODY = 65534


class Machine:
    """/sbin and the daemon's place as after an installation; nothing of it reaches the machine."""

    def __init__(self, t):
        self.t = t
        daemon = t.run.mode[1]
        self.helper = os.path.realpath(os.path.join(os.path.dirname(daemon), "../tools/mount.handlefs"))
        t.check(os.access(self.helper, os.X_OK), f"no helper at {self.helper}: build it")
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
        self.layers = t.place("layers")
        shell("mount", "-t", "tmpfs", "-o", "mode=755", "layers", self.layers)
        self.cover("/usr/sbin")
        for name in ("mount.handlefs", "mount.fuse.handlefs"):
            self.install(self.helper, f"/usr/sbin/{name}")
            # Where /sbin is a directory of its own.
            if os.path.realpath("/sbin") != "/usr/sbin":
                self.cover("/sbin")
                self.install(self.helper, f"/sbin/{name}")
        installed = shell(self.helper, "-V").split()[-1]
        self.cover(os.path.dirname(installed))
        self.install(daemon, installed)
        self.cover("/etc")

    def cover(self, path):
        """What is written to this directory from now on goes to memory."""
        upper, work = (os.path.join(self.layers, path.strip("/").replace("/", "-") + end) for end in (".upper", ".work"))
        if os.path.exists(upper):
            return
        os.mkdir(upper)
        os.mkdir(work)
        shell("mount", "-t", "overlay", "-o", f"lowerdir={path},upperdir={upper},workdir={work}", "overlay", path)

    def open_device_to_users(self):
        """/dev/fuse with mode 0666, as udev makes it."""
        node = os.path.join(self.layers, "fuse")
        os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(10, 229))
        os.chmod(node, 0o666)
        shell("mount", "--bind", node, "/dev/fuse")

    @staticmethod
    def install(source, path):
        if os.path.lexists(path):
            os.unlink(path)
        shell("cp", source, path)
        os.chmod(path, 0o755)

    def fstab(self, *lines):
        with open("/etc/fstab", "w") as f:
            f.write("".join(line + "\n" for line in lines))

    def tree(self, name, **files):
        """A directory of the test's file system with these files."""
        path = os.path.join(self.t.src, name)
        os.makedirs(path)
        for file, text in files.items():
            with open(os.path.join(path, file), "w") as f:
                f.write(text)
        return path

    def run(self, *argv, uid=None):
        """Exit status, stdout and stderr; as from a shell."""
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
        who = {"user": uid, "group": uid, "extra_groups": []} if uid else {}
        done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, capture_output=True, env=env, cwd="/",
                              timeout=60, **who)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def good(self, *argv, uid=None):
        code, out, err = self.run(*argv, uid=uid)
        self.t.check(code == 0, f"{argv}: exit {code}: {out}{err}")
        return out + err

    def bad(self, status, names, *argv, uid=None):
        """It fails with this status and one line that names the trouble; nothing is left mounted."""
        before = harness.mounts()
        code, out, err = self.run(*argv, uid=uid)
        self.t.eq(code, status, f"status of {argv}: {out}{err}")
        lines = [line for line in err.splitlines() if line.startswith("mount.handlefs: ")]
        self.t.eq(len(lines), 1, f"lines of {argv}: {err!r}")
        self.t.check(names in lines[0], f"{argv} does not name {names!r}: {lines[0]}")
        self.t.eq(harness.mounts(), before, f"mounts after {argv}")
        return lines[0]

    def find(self, path, what):
        return shell("findmnt", "-rno", what, "--mountpoint", path).strip()

    def daemons(self):
        """{pid: status fields} of the daemons in this namespace; what a daemon started is not another one."""
        found = self.processes()
        return {pid: fields for pid, fields in found.items() if int(fields["PPid"]) not in found}

    def processes(self):
        """{pid: status fields} of all processes of daemons in this namespace."""
        mine, out = os.readlink("/proc/self/ns/mnt"), {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/status") as f:
                    fields = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
                if fields["Name"] == "handlefs" and fields["State"][0] != "Z" and os.readlink(f"/proc/{pid}/ns/mnt") == mine:
                    out[int(pid)] = fields
            except (OSError, KeyError):
                continue
        return out

    def served(self):
        """How many mounts have a daemon."""
        found = self.daemons()
        return sum(1 for fields in found.values() if int(fields["PPid"]) not in found)

    def umount(self, path, *argv, uid=None):
        """Unmounts as a user would; the daemon must end by that."""
        # A file manager, or the kernel, may be looking at it for a moment.
        until(lambda: self.run(*(argv or ("umount", path)), uid=uid)[0] == 0, f"umount {path}")
        self.t.check(not mounted_at(path), f"{path} is still mounted")
        until(lambda: not self.daemons(), "the daemon ends")
