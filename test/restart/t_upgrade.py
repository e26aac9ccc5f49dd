"""Another program under a live mount, and the way back when it is no good."""

import fcntl
import os
import shutil
import signal
import struct
import threading

from manager import Manager
from procs import Actor, a_open, a_posix, a_test, until
from registry import test
from storm import Storm
from t_failures import memory_of


class Held:
    """What must survive: a file without a name, and a lock."""

    def __init__(self, t, daemon):
        self.t, self.daemon = t, daemon
        path = os.path.join(t.mnt, "held")
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT)
        os.write(self.fd, b"content")
        self.client, self.host = Actor(), Actor()
        self.client.call(a_open, "f", path)
        self.host.call(a_open, "f", os.path.join(t.src, "held"))
        self.client.call(a_posix, "f", fcntl.F_WRLCK, 3, 4)
        os.unlink(path)

    def check(self, what):
        self.t.eq(os.pread(self.fd, 9, 0), b"content", f"the open file after {what}")
        self.t.eq(self.host.call(a_test, "f", fcntl.F_RDLCK), (fcntl.F_WRLCK, 3, 4), f"the lock after {what}")
        self.t.eq(self.daemon.ask("status")["serving"], True, f"it serves after {what}")

    def close(self):
        os.close(self.fd)
        for actor in (self.client, self.host):
            actor.__exit__()


@test(smoke=True, limit=300)
def upgrade_under_load(t):
    """The same program from another place takes over, again and again, and no program notices more than a pause."""
    daemon = t.serve()
    held = Held(t, daemon)
    work = Storm(t, daemon, passthrough=t.config["passthrough"] == "on")
    for i in range(10):
        program = os.path.join(t.work, f"handlefs {i}")
        shutil.copy(t.program, program)
        answer = daemon.ask("upgrade", program)
        t.check(answer["ok"], f"upgrade: {answer}")
        work.pauses.append(answer["pause_ms"] / 1000)
        t.eq(os.readlink(f"/proc/{daemon.keeper}/exe"), program, "the keeper's program")
        t.eq(os.readlink(f"/proc/{daemon.server()}/exe"), program, "the server's program")
        held.check("upgrade")
        os.unlink(program)
    work.kills = 10
    work.stop()
    held.close()


@test(limit=300)
def restart_under_load(t):
    """A restart on request is a pause and nothing else."""
    daemon = t.serve()
    work = Storm(t, daemon, passthrough=t.config["passthrough"] == "on")
    for _ in range(20):
        answer = daemon.ask("restart")
        t.check(answer["ok"], f"restart: {answer}")
        work.pauses.append(answer["pause_ms"] / 1000)
    work.kills = 20
    work.stop()
    t.eq(daemon.ask("status")["crashes"], 0, "crashes")


def refused(t, daemon, held, program, words, what):
    before = daemon.ask("status")
    answer = daemon.ask("upgrade", program)
    t.check(not answer["ok"] and words in answer["error"], f"{what}: {answer}")
    after = daemon.ask("status")
    t.eq((after["keeper"], after["server"], after["generation"]), (before["keeper"], before["server"], before["generation"]),
         f"{what}: the same server goes on")
    held.check(what)


@test(smoke=True)
def upgrade_that_is_refused(t):
    """A program that cannot go on with the mount is refused before anything is handed over, with its own reason."""
    daemon = t.serve()
    held = Held(t, daemon)
    refused(t, daemon, held, "/nowhere/handlefs", "No such file", "a program that is not there")
    refused(t, daemon, held, "/bin/true", "it is not handlefs", "a program that is not handlefs")
    refused(t, daemon, held, t.script("no", "echo some words; echo 'not with me' >&2; exit 1\n"), "not with me", "one that says no")
    with memory_of(daemon) as memory:
        # The layout's number, as a program of another version has it.
        version = os.pread(memory.fileno(), 4, 8)
        os.pwrite(memory.fileno(), struct.pack("<I", struct.unpack("<I", version)[0] + 1), 8)
        refused(t, daemon, held, t.program, "unmount and mount again", "another version")
        os.pwrite(memory.fileno(), version, 8)
        damaged = os.pread(memory.fileno(), 4, 20)
        os.pwrite(memory.fileno(), b"\xff" * 4, 20)
        refused(t, daemon, held, t.program, "damaged", "damaged state")
        os.pwrite(memory.fileno(), damaged, 20)
    answer = daemon.ask("upgrade", t.program)
    t.check(answer["ok"], f"upgrade after all: {answer}")
    held.check("upgrade")
    held.close()


@test(smoke=True)
def upgrade_that_fails_goes_back(t):
    """If the new program's server does not serve, the old program goes on, with open files and locks as they were."""
    t.need_failpoints()
    daemon = t.serve()
    held = Held(t, daemon)
    for _ in range(2):
        generation = daemon.ask("status")["generation"]
        wrapper = t.script("wrapper", f"export HANDLEFS_FAILPOINT='start 1 {generation + 1}'\nexec {t.program} \"$@\"\n")
        answer = daemon.ask("upgrade", wrapper)
        t.check(not answer["ok"] and "the old one goes on" in answer["error"], f"the answer: {answer}")
        t.eq(os.readlink(f"/proc/{daemon.keeper}/exe"), t.program, "the keeper's program")
        held.check("the way back")
        daemon.kill_server()
        held.check("a crash after the way back")
    held.close()


@test()
def upgrade_to_one_that_ends_at_once(t):
    """If the new program says that it can go on and then ends before it does, the old program goes on."""
    daemon = t.serve()
    held = Held(t, daemon)
    liar = t.script("liar", 'if [ -n "$HANDLEFS_CHECK_STATE" ]; then echo "handlefs can go on with this state"; exit 0; fi\nexit 1\n')
    answer = daemon.ask("upgrade", liar)
    t.check(not answer["ok"] and "the old one goes on" in answer["error"], f"the answer: {answer}")
    t.eq(daemon.process.wait(60), 1, "the liar's end")
    until(daemon.answers, "the control socket")
    daemon.keeper = daemon.ask("status")["keeper"]
    held.check("the liar")
    daemon.kill_server()
    held.check("a crash after the liar")
    held.close()


@test()
def upgrade_tells_the_service_manager(t):
    """Whatever becomes of an upgrade, the service's main process is one that lives, and its manager knows which."""
    manager = Manager(os.path.join(t.work, "notify"))
    daemon = t.serve(env=manager.environment)
    until(lambda: "READY=1" in manager.said, "READY")
    answer = daemon.ask("upgrade", t.program)
    t.check(answer["ok"], f"upgrade: {answer}")
    until(lambda: manager.main_process() == daemon.keeper, "the new program is the main process")
    liar = t.script("liar", 'if [ -n "$HANDLEFS_CHECK_STATE" ]; then echo "handlefs can go on with this state"; exit 0; fi\nexit 1\n')
    for _ in range(2):
        before = daemon.keeper
        answer = daemon.ask("upgrade", liar)
        t.check(not answer["ok"] and "the old one goes on" in answer["error"], f"the answer: {answer}")
        until(daemon.answers, "the control socket")
        daemon.keeper = daemon.ask("status")["keeper"]
        t.check(daemon.keeper != before, "another process keeps the mount")
        t.eq(manager.main_process(), daemon.keeper, "the main process")
        # It still has a manager to talk to.
        manager.said.clear()
        os.kill(daemon.keeper, signal.SIGHUP)
        until(lambda: "RELOADING=1" in manager.said and "READY=1" in manager.said, "the reload")
    answer = daemon.ask("upgrade", t.program)
    t.check(answer["ok"], f"upgrade after all: {answer}")
    until(lambda: manager.main_process() == daemon.keeper, "it is the main process still")
    os.listdir(t.mnt)


@test(limit=200)
def killed_during_hand_over(t):
    """A server that is killed while it hands over loses nothing either."""
    daemon = t.serve()
    held = Held(t, daemon)
    work = Storm(t, daemon, passthrough=t.config["passthrough"] == "on")
    programs = [os.path.join(t.work, name) for name in ("one", "other")]
    for program in programs:
        shutil.copy(t.program, program)
    for i in range(20):
        answers = []
        asker = threading.Thread(target=lambda: answers.append(daemon.ask("restart" if i % 2 else "upgrade", *([] if i % 2 else [programs[i // 2 % 2]]))))
        server = daemon.server()
        asker.start()
        try:
            os.kill(server, signal.SIGKILL)
        except ProcessLookupError:
            pass
        asker.join()
        t.check(answers and answers[0]["ok"], f"the answer: {answers}")
        if i % 2 == 0:
            t.eq(os.readlink(f"/proc/{daemon.keeper}/exe"), programs[i // 2 % 2], "the keeper's program")
        held.check("hand-over")
    work.kills = 20
    work.stop()
    held.close()
