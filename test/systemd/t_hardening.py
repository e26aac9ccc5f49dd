"""Each line that hardens the unit: it hides no mount and changes nothing of what users can do."""

import json
import os

from machine import HERE, until
from registry import test

MARK = "# Each line here"
# Lines that mean something only together.
BESIDE = {"DeviceAllow": "DevicePolicy", "SystemCallErrorNumber": "SystemCallFilter"}


def shipped(t):
    """The unit as it is installed: what stands before the hardening, the hardening by key, and the rest."""
    text = t.m.must("systemctl cat handlefs@x.service")
    before, mark, hardening = text.partition(MARK)
    t.check(mark, f"the unit has no line '{MARK}'")
    hardening, install, after = hardening.partition("[Install]")
    groups = {}
    for line in hardening.splitlines()[1:]:
        if line and not line.startswith("#"):
            key = line.partition("=")[0]
            groups.setdefault(BESIDE.get(key, key), []).append(line)
    return before, groups, install + after


class Probe:
    """The same calls on the host's directory, once, and through each mount."""

    def __init__(self, t):
        self.t = t
        with open(os.path.join(HERE, "probe.py")) as f:
            t.m.write("/root/probe.py", f.read())
        t.tree("/srv/twin")
        self.wanted = t.m.must("python3 /root/probe.py /srv/twin")
        t.check(self.wanted.count("\n") >= 20, f"the probe itself is broken: {self.wanted}")

    def complaint(self, before, lines, after):
        """Why a unit with these lines is no good, or None."""
        t = self.t
        source = t.tree("/srv/source")
        t.m.must("rm -rf /srv/source/probe")
        unit = t.service("hard", source, "/srv/hard", reload=False)
        t.unit(unit, before + "\n" + "\n".join(lines) + "\n" + after)
        t.m.must("systemctl daemon-reload")
        try:
            t.starts(unit)
            t.shows("/srv/hard", source)
            status = t.m.show(unit, "StatusText")["StatusText"]
            t.check("by handles" in status, f"status: {status}")
            # Whether io_uring is on is the machine's business.
            stats = json.loads(t.m.must("handlefsctl --json /srv/hard stats"))
            missing = [f for f in stats["fallbacks"] if f["feature"] != "io_uring"]
            t.check(not missing, f"it goes without: {missing}")
            done = t.m.run("python3 /root/probe.py /srv/hard")
            wrong = [f"{a!r} is {b!r}" for a, b in zip(self.wanted.splitlines(), done.out.splitlines()) if a != b]
            t.check(done.out == self.wanted, f"other than on the host: {wrong or done.out}")
            run = t.m.show(unit, "InvocationID")["InvocationID"]
            journal = t.m.must(f"journalctl -q -o cat -p warning _SYSTEMD_INVOCATION_ID={run}")
            t.check(not journal, f"it warns: {journal}")
            t.m.must(f"systemctl stop {unit}")
            t.check(t.m.show(unit, "Result")["Result"] == "success", "the end counts as a failure")
        except AssertionError as e:
            return str(e)
        finally:
            t.drop_units()
        return None


@test()
def hardening_line_by_line(t):
    """Each hardening line alone, and all of them, leave the mount visible and as able as the host's directory."""
    before, groups, after = shipped(t)
    probe = Probe(t)
    wrong = []
    for lines in [[], *groups.values(), sum(groups.values(), [])]:
        complaint = probe.complaint(before, lines, after)
        if complaint:
            wrong.append(f"{lines}: {complaint}")
    t.check(not wrong, " | ".join(wrong))
    t.check(len(groups) > 8, f"only {list(groups)}")


@test()
def what_must_not_be_in_the_unit(t):
    """Lines that hide the mount or forbid set-id files are found out by the same test."""
    before, _, after = shipped(t)
    probe = Probe(t)
    missed = []
    for line, sign in (("PrivateTmp=yes", "is not mounted"), ("ProtectSystem=yes", "is not mounted"),
                       ("ProtectControlGroups=yes", "is not mounted"), ("ReadOnlyPaths=/boot", "is not mounted"),
                       ("RestrictSUIDSGID=yes", "other than on the host"),
                       ("CapabilityBoundingSet=~CAP_DAC_READ_SEARCH", "by descriptors"),
                       ("CapabilityBoundingSet=~CAP_MKNOD", "other than on the host"),
                       ("CapabilityBoundingSet=~CAP_SYS_NICE", "it goes without")):
        complaint = probe.complaint(before, [line], after) or "nothing"
        if sign not in complaint:
            missed.append(f"{line}: {complaint}")
    t.check(not missed, " | ".join(missed))
