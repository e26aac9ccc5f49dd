#!/usr/bin/env python3
"""Holds what a restart must not take away, looks at all of it again and again, and says how long the longest look took.

holder.py PLACE STOP: works in the directory PLACE until the file STOP exists. "holding" once it has all; at the end a line of JSON.
"""

import fcntl
import json
import os
import sys
import time


def held_by_us(path, how):
    """Whether another process is kept out."""
    child = os.fork()
    if child == 0:
        code = 2
        try:
            fd = os.open(path, os.O_RDWR)
            how(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            code = 1
        except BlockingIOError:
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class Holder:
    def __init__(self, place):
        self.place = place
        self.plain = self.file("plain")
        self.gone = self.file("gone")
        os.unlink("gone")
        self.locked = self.file("locked")
        fcntl.lockf(self.locked, fcntl.LOCK_EX)
        self.flocked = self.file("flocked")
        fcntl.flock(self.flocked, fcntl.LOCK_EX)
        self.directory = os.open(".", os.O_RDONLY)
        os.mkdir("removed")
        os.chdir("removed")
        os.rmdir(os.path.join(place, "removed"))

    def file(self, name):
        fd = os.open(os.path.join(self.place, name), os.O_RDWR | os.O_CREAT | os.O_EXCL)
        os.write(fd, name.encode())
        return fd

    def look(self, n):
        assert os.pread(self.plain, 100, 0) == b"plain", "the open file"
        text = b"gone %d" % n
        os.pwrite(self.gone, text, 0)
        assert os.pread(self.gone, len(text), 0) == text and os.fstat(self.gone).st_nlink == 0, "the unlinked file"
        assert os.stat(".").st_nlink == 0, "the removed directory"
        # Each call once, and neither executed twice nor lost.
        made = os.path.join(self.place, f"made{n}")
        os.close(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        os.rename(made, made + "x")
        os.unlink(made + "x")
        assert "plain" in os.listdir(self.directory), "the open directory"

    def look_at_locks(self):
        assert held_by_us(os.path.join(self.place, "locked"), fcntl.lockf), "the POSIX lock"
        assert held_by_us(os.path.join(self.place, "flocked"), fcntl.flock), "the flock lock"


def main():
    place, stop = sys.argv[1:]
    os.makedirs(place)
    os.chdir(place)
    holder = Holder(place)
    print("holding", flush=True)
    looks, typical = 0, []
    while not os.path.exists(stop):
        began = time.monotonic()
        holder.look(looks)
        typical.append(time.monotonic() - began)
        holder.look_at_locks()
        looks += 1
    # A look that took much longer than others met a restart.
    typical.sort()
    median = typical[looks // 2]
    pauses = [x for x in typical if x > max(10 * median, 0.02)] or [0]
    print(json.dumps({"looks": looks, "median_ms": round(median * 1e3, 2), "pauses": len(pauses),
                      "pause_median_ms": round(pauses[len(pauses) // 2] * 1e3), "pause_max_ms": round(pauses[-1] * 1e3)}))


if __name__ == "__main__":
    main()
