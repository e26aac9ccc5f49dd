"""handlefs-standin itself: it must see what a kernel would trip over, and nothing else."""

import os
import re
import signal
import subprocess
import sys

import syscalls
from harness import detach, die_with_parent, mounted_at, shell
from procs import attempt, until
from registry import test
from trees import read, write

LIAR = os.path.join(os.path.dirname(os.path.realpath(__file__)), "liar.py")
LIES = ("count0", "nostatx", "nodeid0", "mode", "bighandle", "otherhandle", "positive", "nohandle", "trailing", "short",
        "sublength", "length")
OWN = "it starts handlefs behind the stand-in"


class Standin:
    def __init__(self, t, name, *options, liar=(), dialect="lookup-handle-v3"):
        daemon = t.run.mode[1]
        program = os.path.join(os.path.dirname(daemon), "../tools/handlefs-standin")
        if not os.path.exists(program):
            t.skip("handlefs-standin is not built")
        self.path, self.log = t.place(name), os.path.join(t.work, name + ".log")
        known = dialect if dialect in ("lookup-handle-inline", "lookup-handle-all") else "auto"
        settings = f"dialect={known},cache=none,key_file={os.path.join(t.work, 'key')}"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [program, "--dialect", dialect, *options, self.path, "--", *liar, daemon, "-f", "-o", settings, t.src, "/dev/fd/3"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)
        until(lambda: mounted_at(self.path), "it is mounted")

    def end(self):
        """Exit status, and the numbers of the last line by their names."""
        until(lambda: not attempt(syscalls.umount2, self.path, 0), "umount", 10)
        status = self.process.wait(30)
        with open(self.log) as f:
            text = f.read()
        return status, {k: int(v) for k, v in re.findall(r"(\w+) (\d+)(?=[,;\n])", text.splitlines()[-1] + "\n")}


@test(smoke=True, scope="run", only=OWN)
def standin_sees_lies(t):
    """Whoever tests a server with the stand-in is told of every answer that a kernel would trip over."""
    for i in range(12):
        write(os.path.join(t.src, f"f{i}"), str(i))
    for lie in ("natural", *LIES):
        standin = Standin(t, lie, liar=(sys.executable, LIAR, lie))
        for _ in range(3):
            for i in range(12):
                attempt(read, os.path.join(standin.path, f"f{i}"))
        status, numbers = standin.end()
        if lie == "natural":
            t.eq((status, numbers["violations"]), (0, 0), "an answer of another size that the kernel takes")
        else:
            t.check(status == 1 and numbers["violations"] > 0, f"{lie}: exit {status}, {numbers}")


@test(smoke=True, scope="run", only=OWN)
def standin_replaces_servers(t):
    """Programs go on over servers that are killed and started again, in all dialects."""
    for dialect in ("lookup-handle-v3", "compound-v6", "compound-v7", "lookup-handle-inline", "lookup-handle-all"):
        standin = Standin(t, dialect, "--restart-every", "20", dialect=dialect)
        with open(os.path.join(standin.path, "open"), "w+") as kept:
            for i in range(20):
                d = os.path.join(standin.path, f"{dialect}{i}")
                os.makedirs(os.path.join(d, "a/b"))
                p = write(os.path.join(d, "a/b/f"), str(i))
                os.link(p, os.path.join(d, "g"))
                os.rename(os.path.join(d, "a"), os.path.join(d, "c"))
                t.eq(read(os.path.join(d, "g")), read(os.path.join(d, "c/b/f")), "content")
                kept.write(f"{i} ")
                kept.flush()
            standin.process.send_signal(signal.SIGUSR1)
            t.eq(sorted(os.listdir(d)), ["c", "g"], "listing")
            kept.seek(0)
            t.eq(kept.read(), "".join(f"{i} " for i in range(20)), "a file that stayed open")
        status, numbers = standin.end()
        t.eq((status, numbers["violations"]), (0, 0), dialect)
        t.check(numbers["restarts"] >= 10 and numbers["translated"] > 10, f"{dialect}: {numbers}")


@test(smoke=True, scope="run", only=OWN)
def standin_kernel_bugs(t):
    """A server that is tried with the bugs of posted kernels refuses them, and programs see nothing of it."""
    for fault in ("no-ext", "ext-zero", "always-revalidate", "heap-handle", "short-handle", "mkobj-flags", "drop-undone"):
        standin = Standin(t, fault, "--fault", fault)
        for i in range(30):
            d = os.path.join(standin.path, f"{fault}{i}")
            os.makedirs(os.path.join(d, "a/b"))
            t.eq(read(write(os.path.join(d, "a/b/f"), str(i))), str(i).encode(), fault)
        shell("rm", "-r", d)
        status, numbers = standin.end()
        t.eq((status, numbers["violations"]), (0, 0), fault)
        if fault in ("heap-handle", "short-handle", "drop-undone"):
            t.check(numbers["faults"] > 5, f"{fault} was sent: {numbers}")
        detach(standin.path)
