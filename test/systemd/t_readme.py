"""README's way to a service, word for word."""

import os
import sys

from machine import HERE
from registry import test

sys.path.insert(0, os.path.join(HERE, "../readme"))

import blocks

WORDS = {"NAME": "data"}


@test()
def readme_brings_a_service_up(t):
    """Who writes the files that README shows and gives its commands has a service, and a mount."""
    source = t.tree("/srv/data")
    t.place("/mnt/data")
    t.service("data", source, "/mnt/data")
    commands = []
    for block in blocks.readme():
        path = blocks.filled(block.rest, WORDS)
        # Of several blocks for one file, the first is the one beside the commands.
        if block.kind == "file" and path.startswith(("/etc/handlefs/data.conf", "/etc/systemd/")):
            if path not in [done for done, _ in commands]:
                t.m.write(path, "\n".join(block.lines) + "\n")
                commands.append((path, None))
        elif block.kind == "systemd":
            commands += [(None, blocks.filled(line, WORDS)) for line in block.commands()]
    given = [line for _, line in commands if line]
    t.check(given and any("enable --now" in line for line in given), f"README's commands are {given}")
    t.m.must("systemctl daemon-reload")
    for line in given:
        t.m.must(line)
    t.shows("/mnt/data", source)
    t.check("/srv/data" in t.m.show("handlefs@data.service", "RequiresMountsFor")["RequiresMountsFor"], "the drop-in has no effect")
