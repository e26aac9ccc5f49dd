#!/usr/bin/env python3
"""liar.py HOW SERVER ARGUMENT...: spoils every fifth answer to a LOOKUP_HANDLE, between handlefs-standin and a server."""

import os
import select
import socket
import struct
import subprocess
import sys

SUB, ENTRY, HANDLE = 32, 48, 88  # offsets in the reply of {LOOKUP_HANDLE, STATX}: out header, entry2_out, handle
COMPOUND, LOOKUP_HANDLE = 54, 55


def put(message, form, at, value):
    struct.pack_into("<" + form, message, at, value)


def spoil(how, message, times):
    """The reply with a lie in it; "natural" is a true one in another form."""
    m = bytearray(message)
    statx = SUB + struct.unpack_from("<I", m, SUB)[0]
    if how == "count0":
        put(m, "I", 16, 0)
    elif how == "nostatx":
        put(m, "I", 16, 1)
        del m[statx:]
    elif how == "nodeid0":
        put(m, "Q", ENTRY, 0)
    elif how == "mode":
        put(m, "H", statx + 16 + 32 + 28, 0o644)
    elif how == "bighandle":
        put(m, "H", HANDLE, 200)
    elif how == "otherhandle":
        m[HANDLE + 7] ^= times & 0xff or 1
    elif how == "positive":
        put(m, "i", statx + 4, 5)
    elif how == "nohandle":
        del m[HANDLE:statx]
        put(m, "I", SUB, 16 + 40)
    elif how == "trailing":
        m += b"12345678"
    elif how == "short":
        del m[-8:]
    elif how == "sublength":
        put(m, "I", statx, 8)
    elif how == "length":
        return bytes(m + b"1234")
    elif how == "natural":
        size = struct.unpack_from("<H", m, HANDLE)[0]
        del m[HANDLE + 2 + size:statx]
        put(m, "I", SUB, 16 + 40 + 2 + size)
    else:
        sys.exit(f"no lie is named {how}")
    put(m, "I", 0, len(m))
    return bytes(m)


def main():
    how = sys.argv[1]
    kernel = socket.socket(fileno=3)
    server, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (kernel, server, theirs):
        end.setsockopt(socket.SOL_SOCKET, 32, 1 << 21)  # SO_SNDBUFFORCE
    argv = [w.replace("/dev/fd/3", f"/dev/fd/{theirs.fileno()}") for w in sys.argv[2:]]
    process = subprocess.Popen(argv, pass_fds=(theirs.fileno(),))
    theirs.close()
    asked, times = set(), 0
    while True:
        for end in select.select([kernel, server], [], [])[0]:
            message = end.recv(1 << 21)
            if not message:
                (server if end is kernel else kernel).shutdown(socket.SHUT_WR)
                sys.exit(process.wait())
            if end is kernel:
                if (struct.unpack_from("<I", message, 4)[0] == COMPOUND and
                        struct.unpack_from("<I", message, 40 + 24 + 4)[0] == LOOKUP_HANDLE):
                    asked.add(message[8:16])
                server.send(message)
                continue
            is_entry = message[8:16] in asked and len(message) > 300 and message[36:40] == bytes(4)
            asked.discard(message[8:16])
            times += is_entry
            kernel.send(spoil(how, message, times) if is_entry and times % 5 == 0 else message)


if __name__ == "__main__":
    main()
