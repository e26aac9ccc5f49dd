"""What a test has at hand: units of its own on the booted machine, taken away afterwards."""

import os

from machine import HERE, until
from registry import Skipped

UNITS = "/etc/systemd/system"


class Context:
    def __init__(self, machine):
        self.m = machine
        self.numbers = None  # what the last line of the test shows besides
        self._names, self._units, self._paths, self._hung = [], [], [], None
        self.help = text = machine.run([machine.handlefs, "--help"]).out
        # Until the daemon knows all that the unit asks for, tests start it with arguments in place of the unit's line.
        self.whole = all(word in text for word in ("config=", "restart=", "replace_stale"))

    def knows(self, option):
        return option in self.help

    def skip(self, reason):
        raise Skipped(reason)

    def check(self, condition, message):
        if not condition:
            raise AssertionError(message)

    def tree(self, path):
        """A directory with a file in it, the source of a mount."""
        self.m.must(f"mkdir -p {path} && echo 'hello from {path}' >{path}/hello")
        self._paths.append(path)
        return path

    def place(self, *paths):
        """Directories that are the test's, with whatever is mounted there."""
        self.m.must(["mkdir", "-p", *paths])
        self._paths += paths

    def service(self, name, source, target, lines=(), reload=True, **options):
        """handlefs@NAME.service with this configuration, and more lines for its [Service]; not started."""
        unit = f"handlefs@{name}.service"
        self._names.append(name)
        self.m.must(f"mkdir -p {target}")
        self._paths.append(target)
        conf = {"source": source, "mountpoint": target, **options}
        self.m.write(f"/etc/handlefs/{name}.conf", "".join(f"{k} = {v}\n" for k, v in conf.items()))
        own = list(lines)
        if not self.whole:
            text = ",".join(f"{k}={v}" for k, v in options.items())
            own += ["ExecStart=", f"ExecStart={self.m.handlefs} -f {'-o ' + text if text else ''} {source} {target}"]
        self.drop_in(unit, "service.conf", "[Service]\n" + "\n".join(own) + "\n")
        if reload:
            self.m.must("systemctl daemon-reload")
        return unit

    def drop_in(self, unit, name, text):
        self.m.write(f"{UNITS}/{unit}.d/{name}", text)

    def unit(self, name, text):
        """A unit file of its own."""
        self.m.write(f"{UNITS}/{name}", text)
        self._units.append(name)
        return name

    def starts(self, unit):
        done = self.m.run(f"systemctl start '{unit}'")
        self.check(done.code == 0, f"{unit} does not start: {done.out} {self.m.journal(unit)[-1500:]}")

    def main_pid(self, unit):
        return int(self.m.show(unit, "MainPID")["MainPID"])

    def state(self, unit):
        return self.m.show(unit, "ActiveState")["ActiveState"]

    def has_keeper(self, unit):
        """Whether the main process has another one serve."""
        return bool(self.m.run(f"cat /proc/{self.main_pid(unit)}/task/*/children").out.split())

    def mounted(self, path):
        """As the first process of the machine sees it: the type of what is mounted there last, or ''. Nobody walks there:
        that would start an automount, or keep it."""
        found = ""
        with open(f"/proc/{self.m.pid}/mountinfo") as f:
            for line in f:
                before, _, after = line.partition(" - ")
                if before.split()[4] == path:
                    found = after.split()[0]
        return found

    def shows(self, path, source):
        """The mount is there for everybody, and has what the source has."""
        self.check(self.mounted(path) == "fuse.handlefs", f"{path} is not mounted: '{self.mounted(path)}'")
        out = self.m.must(f"cat {path}/hello")
        self.check(out == f"hello from {source}\n", f"{path}/hello has {out!r}")

    def evidence(self):
        """Of a failure: the last words of the units."""
        out = ""
        for name in self._names:
            out += "".join(f"\n     | {line}" for line in self.m.journal(f"handlefs@{name}.service").splitlines()[-12:])
        return out

    def hung(self, path):
        """A file system at `path` that never answers for names that begin with "hang"; kill() ends it."""
        for name in ("hung.py", "syscalls.py"):
            with open(os.path.join(HERE, "../mounted", name)) as f:
                self.m.write(f"/root/{name}", f.read())
        self.m.must(f"mkdir -p {path}")
        self._hung = Hung(self.m, path)
        until(lambda: self.mounted(path) == "fuse", "the file system that hangs is mounted")
        return self._hung

    def clean(self):
        if self._hung:
            self._hung.kill()
        self.drop_units()
        for path in reversed(self._paths):
            while self.mounted(path):
                self.m.run(f"umount -l {path}")
            self.m.run(f"rm -rf --one-file-system {path}")
        self.m.run("systemctl reset-failed")

    def drop_units(self):
        """Ends the units of this test and takes away what describes them."""
        for unit in self._units:
            self.m.run(f"systemctl disable '{unit}'; systemctl stop '{unit}'")
        for name in self._names:
            unit = f"handlefs@{name}.service"
            self.m.run(f"systemctl disable '{unit}'; systemctl kill -s KILL '{unit}'; systemctl stop '{unit}'")
            self.m.run(f"rm -rf {UNITS}/{unit}.d /etc/handlefs/{name}.conf")
        for unit in self._units:
            self.m.run(f"rm -rf {UNITS}/{unit} {UNITS}/{unit}.d")
        self._units, self._names = [], []
        self.m.run("systemctl daemon-reload")


class Hung:
    def __init__(self, machine, path):
        self.m, self.path = machine, path
        machine.must(["systemd-run", "-q", "--unit=hung", "python3", "/root/hung.py", path])

    def kill(self):
        """Its connection ends, and every request that waits for it."""
        self.m.run(f"systemctl kill -s KILL hung; umount -l {self.path}")
