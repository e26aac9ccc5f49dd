#!/usr/bin/env python3
"""hung.py MOUNTPOINT: a file system that answers, but for names that begin with "hang": those it never answers.

It has one directory with one file, "file"; its statfs tells how many requests hang, as the number of files. Ends when it is unmounted or killed.
"""

import os
import struct
import sys

import syscalls

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, INIT, OPENDIR, READDIR, INTERRUPT, BATCH_FORGET = 1, 2, 3, 14, 15, 17, 26, 27, 28, 36, 42
ENOENT, ENOSYS = 2, 38
CONTENT = b"alive\n"
hanging = 0


def attributes(node):
    mode, size = (0o40755, 0) if node == 1 else (0o100644, len(CONTENT))
    return struct.pack("<QQQQQQIIIIIIIIII", node, size, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer(opcode, node, body):
    """Payload, or a positive errno; None for no answer."""
    global hanging
    if opcode == INIT:
        return struct.pack("<IIIIHHIIHHI", 7, 31, 1 << 17, 0, 12, 9, 1 << 17, 1, 32, 0, 0) + bytes(28)
    if opcode == GETATTR:
        return struct.pack("<QII", 0, 0, 0) + attributes(node)
    if opcode == LOOKUP:
        name = body.rstrip(b"\0")
        if name.startswith(b"hang"):
            hanging += 1
            return None
        if name != b"file":
            return ENOENT
        return struct.pack("<QQQQII", 2, 1, 0, 0, 0, 0) + attributes(2)
    if opcode in (OPEN, OPENDIR):
        return struct.pack("<QII", 0, 0, 0)
    if opcode == READ:
        offset, size = struct.unpack_from("<8xQI", body)
        return CONTENT[offset:offset + size]
    if opcode == READDIR:
        return b""
    if opcode == STATFS:
        return struct.pack("<QQQQ48x", 0, 0, 0, hanging)
    if opcode in (FORGET, BATCH_FORGET, INTERRUPT):
        return None
    return ENOSYS


def main():
    device = os.open("/dev/fuse", os.O_RDWR)
    syscalls.mount("hung", sys.argv[1], "fuse", 0, f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other")
    while True:
        try:
            message = os.read(device, 1 << 18)
        except OSError:
            return
        length, opcode, unique, node = struct.unpack_from("<IIQQ", message)
        out = answer(opcode, node, message[40:length])
        if out is None:
            continue
        payload, error = (b"", -out) if isinstance(out, int) else (out, 0)
        try:
            os.write(device, struct.pack("<IiQ", 16 + len(payload), error, unique) + payload)
        except FileNotFoundError:
            pass  # it was interrupted


main()
