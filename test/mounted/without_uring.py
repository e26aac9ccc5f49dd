#!/usr/bin/env python3
"""Runs a program to which the kernel refuses io_uring_setup(2), as a container's seccomp filter does."""

import ctypes
import os
import struct
import sys

import syscalls

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
NR_IO_URING_SETUP, EPERM = 425, 1
LOAD_NUMBER = struct.pack("HBBI", 0x20, 0, 0, 0)
UNLESS_EQUAL_SKIP_ONE = struct.pack("HBBI", 0x15, 0, 1, NR_IO_URING_SETUP)
REFUSE = struct.pack("HBBI", 0x06, 0, 0, 0x00050000 | EPERM)
ALLOW = struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000)

code = ctypes.create_string_buffer(LOAD_NUMBER + UNLESS_EQUAL_SKIP_ONE + REFUSE + ALLOW)
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(code)))
syscalls.prctl(PR_SET_NO_NEW_PRIVS, 1)
if syscalls.libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), program) != 0:
    sys.exit("prctl(PR_SET_SECCOMP)")
os.execv(sys.argv[1], sys.argv[1:])
