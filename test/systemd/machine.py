"""A Debian with a real systemd, in a root directory and namespaces of its own.

The kernel is the machine's own; everything else (processes, mounts, cgroups, /dev, /run, /tmp, network) is not.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.realpath(os.path.join(HERE, "../.."))
PACKAGES = ("systemd", "systemd-sysv", "dbus", "fuse3", "mount", "git", "python3", "autofs")
PATIENCE = 60.0  # after this long a state that should come is declared missing
# They would touch the kernel, which is everybody's, or wait for what is not there.
MASKED = ("systemd-sysctl.service", "systemd-modules-load.service", "systemd-binfmt.service", "systemd-udevd.service",
          "systemd-remount-fs.service", "systemd-timesyncd.service", "getty.target", "apt-daily.timer",
          "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer", "systemd-random-seed.service",
          "proc-sys-fs-binfmt_misc.automount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-kernel-config.mount",
          "dev-hugepages.mount")


def until(condition, what, patience=PATIENCE):
    """Waits for a state; the pause only keeps the waiting cheap."""
    end = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"never happened: {what}")
        time.sleep(0.02)


def suite_of_host():
    """The suite that this machine's build runs on: its libraries must be those of the root directory."""
    with open("/etc/os-release") as f:
        found = re.search(r"^VERSION_CODENAME=(\w+)", f.read(), re.M)
    return found.group(1) if found else "bookworm"


def base_root(suite, packages=PACKAGES):
    done = subprocess.run([os.path.join(TOP, "test/roots/make"), suite, *packages], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit("systemd tests: no root directory: its line above says why")
    return done.stdout.strip()


class Machine:
    """A copy of the base root; `boot` starts it, `halt` ends all of it, `close` takes it away."""

    def __init__(self, base, build):
        # Beside the base: the same file system, which must know file handles.
        self.root = tempfile.mkdtemp(prefix="machine.", dir=os.path.dirname(base))
        os.rmdir(self.root)
        self.boot_process = self.pid = None
        subprocess.run(["cp", "-a", "--reflink=auto", base, self.root], check=True)
        for unit in MASKED:
            self.link("/dev/null", f"/etc/systemd/system/{unit}")
        # Its test starts it.
        self.remove("/etc/systemd/system/multi-user.target.wants/autofs.service")
        self.write("/etc/machine-id", "")
        self.write("/etc/fstab", "")
        self.write("/etc/systemd/journald.conf.d/test.conf", "[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n")
        self.install(build)

    def install(self, build):
        """What `meson install` puts where, and the libraries that the root has not."""
        done = subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", self.root],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise SystemExit(f"systemd tests: meson install failed: {done.stdout[-2000:]}")
        out = subprocess.run(["meson", "introspect", build, "--buildoptions"], check=True, stdout=subprocess.PIPE, text=True).stdout
        prefix = re.search(r'"name": "prefix", "value": "([^"]*)"', out).group(1)
        self.handlefs = os.path.join(prefix, "bin/handlefs")
        libraries = subprocess.run(["ldd", self.root + self.handlefs], check=True, stdout=subprocess.PIPE, text=True).stdout
        for path in re.findall(r"=> (/\S+)", libraries):
            if not os.path.exists(self.root + path):
                os.makedirs(os.path.dirname(self.root + path), exist_ok=True)
                shutil.copy(path, self.root + path)

    # Files of the root directory while it does not run, and those below it that no mount hides.
    def write(self, path, text, mode=0o644):
        place = self.root + path
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "w") as f:
            f.write(text)
        os.chmod(place, mode)
        return path

    def link(self, target, path):
        place = self.root + path
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if os.path.lexists(place):
            os.unlink(place)
        os.symlink(target, place)

    def remove(self, path):
        if os.path.lexists(self.root + path):
            os.unlink(self.root + path)

    def read(self, path):
        """A file as the processes in there see it, mounts included."""
        with open(f"/proc/{self.pid}/root{path}") as f:
            return f.read()

    def boot(self):
        self.boot_process = subprocess.Popen([os.path.join(HERE, "boot"), self.root], stdin=subprocess.DEVNULL,
                                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        self.pid = until(self._init, "systemd runs")
        until(lambda: os.path.exists(f"/proc/{self.pid}/root/run/systemd/private"), "systemd listens")
        state = until(self._booted, "systemd has booted")
        if state != "running":
            raise AssertionError(f"the machine is {state}: {self.run('systemctl --failed --no-legend').out}")

    def _booted(self):
        state = self.run("systemctl is-system-running").out.strip()
        return state if state in ("running", "degraded", "maintenance") else None

    def _init(self):
        if self.boot_process.poll() is not None:
            raise AssertionError(f"boot ended: {self.boot_process.stderr.read().decode()[-1000:]}")
        with open(f"/proc/{self.boot_process.pid}/task/{self.boot_process.pid}/children") as f:
            children = f.read().split()
        for pid in children:
            try:
                if os.readlink(f"/proc/{pid}/exe").endswith("/systemd/systemd"):
                    return int(pid)
            except OSError:
                pass
        return None

    def halt(self):
        """Ends every process in there, whatever state it is in."""
        if self.boot_process is None:
            return
        for pid in [self.pid, self.boot_process.pid]:
            if pid:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        self.boot_process.wait()
        self.boot_process.stderr.close()
        self.boot_process = self.pid = None

    def close(self):
        self.halt()
        if self.root != "/":
            subprocess.run(["rm", "-rf", "--one-file-system", self.root], check=True)

    def command(self, command):
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        return ["nsenter", "-t", str(self.pid), "-p", "-m", "-C", "-u", "-i", "-n", "-r", "-w", "--", "env", "-i",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/root",
                "SYSTEMD_PAGER=", *argv]

    def run(self, command, limit=120):
        """A shell line, or argv, in there."""
        return Done(command, subprocess.run(self.command(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                            stderr=subprocess.STDOUT, text=True, errors="replace", timeout=limit))

    def start(self, command):
        """The same, not waited for."""
        return subprocess.Popen(self.command(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)

    def must(self, command, limit=120):
        done = self.run(command, limit)
        if done.code != 0:
            raise AssertionError(f"{shlex.quote(str(command))}: status {done.code}: {done.out.strip()[-1500:]}")
        return done.out

    def show(self, unit, *properties):
        """Properties of a unit, by name."""
        out = self.must(["systemctl", "show", unit, *[f"-p{p}" for p in properties]])
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def journal(self, unit, more=""):
        return self.run(f"journalctl --no-pager -o short-monotonic -u '{unit}' {more}").out


class Done:
    def __init__(self, command, done):
        self.command, self.code, self.out = command, done.returncode, done.stdout
