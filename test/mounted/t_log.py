"""Messages: what the person reads at night who has to find out what is wrong."""

import json
import os
import re
import signal

from procs import until
from registry import test
from trees import read, write

OWN = "it is about handlefs' own messages"
STANDIN = "the stand-in is the process that was started, and has messages of its own"
KILLS = "a server that is just being replaced may miss what its keeper is told"
RAW = re.compile(r"^[rt]x [0-9a-f]{32}", re.MULTILINE)


def configured(t, **values):
    path = os.path.join(t.work, "log.conf")
    write(path, "".join(f"{name} = {value}\n" for name, value in values.items()))
    return path


def lines_of(path):
    return read(path).decode(errors="surrogateescape").splitlines() if os.path.exists(path) else []


@test(scope="fs", only=OWN, unless_standin=STANDIN, unless_kills=KILLS)
def levels_change_while_it_runs(t):
    """SIGHUP changes the levels under the live mount, for the keeper and the server; the trace then has the bytes."""
    source = t.place("levels")
    config = configured(t, log_level="info")
    served = t.serve(source, trace=True, config=config)
    os.listdir(served.path)
    t.check(not RAW.search(served.log_text()), "bytes in the trace before they were asked for")
    configured(t, log_level="warning,proto=debug", threads=9)
    os.kill(served.pid, signal.SIGHUP)

    def bytes_are_there():
        os.stat(served.path)
        os.listdir(served.path)
        return RAW.search(served.log_text())

    until(bytes_are_there, "the trace has bytes")
    until(lambda: "another value of threads takes effect at the next start" in served.log_text(), "what needs a new start is told")
    t.check("log_level takes effect" not in served.log_text(), "log_level is said to need a new start")


@test(scope="fs", only=OWN, unless_standin=STANDIN, unless_kills=KILLS)
def a_wrong_reload_changes_nothing(t):
    """A mistake in the config file is told by file and line at SIGHUP, and the mount goes on as it was."""
    source = t.place("wrong")
    write(os.path.join(source, "file"), "here")
    config = configured(t, log_level="info", log_format="json")
    served = t.serve(source, config=config)
    configured(t, log_level="info,disk=debug", log_format="text")
    os.kill(served.pid, signal.SIGHUP)
    until(lambda: "reload" in served.log_text(), "the mistake is told")
    told = json.loads(served.log_text().splitlines()[-1])
    t.eq(told["level"], "error", "level")
    for part in (f"reload: {config}:1: option log_level: 'disk=debug'", "restart, control, io", "it is as it was"):
        t.check(part in told["message"], f"{part} is not in {told}")
    t.eq(read(os.path.join(served.path, "file")), b"here", "the mount")
    # It was wanted.
    os.truncate(served.log, 0)


@test(scope="fs", only=OWN, unless_standin=STANDIN)
def messages_are_json_if_asked_for(t):
    """With log_format=json every line is an object with the same fields, whatever bytes the names have; the trace too."""
    for trace in (False, True):
        source = os.path.join(os.fsencode(t.place(f"json-{trace}")), b"a\xff\"b\nc")
        os.makedirs(source, exist_ok=True)
        served = t.serve(source, at=os.path.join(t.work, f"json-mount-{trace}"), trace=trace, log_format="json", fsname="json",
                         log_level="debug" if not trace else None)
        os.listdir(served.path)
        until(lambda: '"message":"serving ' in served.log_text(), "the start is told")
        lines = lines_of(served.log)
        for line in lines:
            said = json.loads(line)
            t.check(set(said) <= {"time", "level", "folder", "message", "pid", "mount", "op", "errno"}, f"fields of {line}")
            t.check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", said["time"]), f"time of {line}")
            t.check(said["level"] in ("error", "warning", "info", "debug") and said["pid"] > 1, line)
        said = next(json.loads(line) for line in lines if '"message":"serving ' in line)
        t.eq((said["level"], said["folder"], said["mount"]), ("info", "daemon", served.path), "the line of the start")
        t.check("/a\ufffd\"b\nc at " in said["message"], said["message"])
        folders = {json.loads(line)["folder"] for line in lines}
        t.check(({"proto"} if trace else {"handles", "io"}) <= folders, f"folders {folders}")


@test(scope="fs", only=OWN, unless_standin=STANDIN, unless_kills=KILLS)
def a_log_file_may_be_moved_away(t):
    """After SIGHUP messages go to a new file of the old name, as logrotate wants it."""
    source = t.place("moved")
    path = os.path.join(t.work, "own.log")
    served = t.serve(source, config=configured(t, log=path, log_level="info"))
    until(lambda: any("serving" in line for line in lines_of(path)), "the start is told")
    os.rename(path, path + ".1")
    before = lines_of(path + ".1")
    os.kill(served.pid, signal.SIGHUP)
    until(lambda: os.path.exists(path), "the new file")
    configured(t, log=path, log_level="info", threads=3)

    def told():
        os.kill(served.pid, signal.SIGHUP)
        return any("threads" in line for line in lines_of(path))

    until(told, "the new file gets messages")
    t.eq(lines_of(path + ".1"), before, "the old file")
