"""System calls that Python 3.11 does not wrap."""

import contextlib
import ctypes
import fcntl
import mmap
import os
import platform
import struct
from dataclasses import dataclass

libc = ctypes.CDLL(None, use_errno=True)

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_SYMLINK_NOFOLLOW = 0x100
AT_HANDLE_FID = 0x200
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
CLONE_NEWNS = 0x20000
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_COLLAPSE = 1, 2, 8
FALLOC_ZERO_RANGE, FALLOC_INSERT = 16, 32
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS = 0x80086601, 0x40086602
FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR = 0x801C581F, 0x401C5820
FICLONE = 0x40049409
F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW = 36, 37, 38

_ARM = platform.machine() in ("aarch64", "arm64", "riscv64")
NR_RENAMEAT2 = 276 if _ARM else 316
NR_FCNTL, NR_FLOCK = (25, 32) if _ARM else (72, 73)


def _check(result, *path):
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), *path)
    return result


def renameat2(old, new, flags):
    _check(libc.syscall(ctypes.c_long(NR_RENAMEAT2), AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new),
                        ctypes.c_uint(flags)), old)


def prctl(option, value):
    _check(libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0))


def unshare(flags):
    _check(libc.unshare(flags))


def mount(source, target, kind, flags, data=None):
    enc = lambda text: None if text is None else os.fsencode(text)
    _check(libc.mount(enc(source), enc(target), enc(kind), ctypes.c_ulong(flags), enc(data)), target)


def umount2(target, flags=0):
    _check(libc.umount2(os.fsencode(target), flags), target)


def syncfs(fd):
    _check(libc.syncfs(fd))


def link_open_file(fd, new):
    """Gives an open file a name; os.link does not follow /proc/self/fd."""
    _check(libc.linkat(AT_FDCWD, f"/proc/self/fd/{fd}".encode(), AT_FDCWD, os.fsencode(new), 0x400), new)


def fallocate(fd, mode, offset, length):
    _check(libc.fallocate(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)))


libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = libc.mlock.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


@contextlib.contextmanager
def kept_in_memory(path):
    """The file's pages stay in the page cache: the kernel may take back clean ones that are not mapped and locked at any time."""
    fd = os.open(path, os.O_RDONLY)
    size = os.fstat(fd).st_size
    address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    os.close(fd)
    if address == ctypes.c_void_p(-1).value:
        _check(-1, path)
    try:
        _check(libc.mlock(address, size), path)
        yield
    finally:
        libc.munmap(address, size)


@dataclass
class Statx:
    mask: int
    attributes: int
    mode: int
    size: int
    btime: tuple


def statx(path, flags=AT_SYMLINK_NOFOLLOW, mask=0xFFF):
    buf = ctypes.create_string_buffer(256)
    _check(libc.statx(AT_FDCWD, os.fsencode(path), flags, mask, buf), path)
    return Statx(*struct.unpack_from("<I", buf, 0), *struct.unpack_from("<Q", buf, 8),
                 *struct.unpack_from("<H", buf, 28), *struct.unpack_from("<Q", buf, 40),
                 struct.unpack_from("<qI", buf, 80))


def name_to_handle(path, flags=0):
    """Returns (type, bytes)."""
    buf = ctypes.create_string_buffer(8 + 128)
    struct.pack_into("<I", buf, 0, 128)
    mount_id = ctypes.c_int()
    _check(libc.name_to_handle_at(AT_FDCWD, os.fsencode(path), buf, ctypes.byref(mount_id), flags), path)
    size, kind = struct.unpack_from("<Ii", buf, 0)
    return kind, buf.raw[8:8 + size]


def open_by_handle(mount_fd, handle, flags):
    kind, data = handle
    buf = ctypes.create_string_buffer(struct.pack("<Ii", len(data), kind) + data)
    return _check(libc.open_by_handle_at(mount_fd, buf, flags))


def lock_struct(kind, start=0, length=0):
    """struct flock, SEEK_SET."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)


def posix_lock(fd, kind, start=0, length=0, wait=False, ofd=False):
    command = (F_OFD_SETLKW if wait else F_OFD_SETLK) if ofd else (fcntl.F_SETLKW if wait else fcntl.F_SETLK)
    fcntl.fcntl(fd, command, lock_struct(kind, start, length))


def posix_test(fd, kind, start=0, length=0, ofd=False):
    """Returns (type, start, length) of the lock in the way, or None."""
    command = F_OFD_GETLK if ofd else fcntl.F_GETLK
    raw = fcntl.fcntl(fd, command, lock_struct(kind, start, length))
    kind, _, start, length, _ = struct.unpack("hhqqi4x", raw)
    return None if kind == fcntl.F_UNLCK else (kind, start, length)


def get_flags(fd):
    return struct.unpack("l", fcntl.ioctl(fd, FS_IOC_GETFLAGS, struct.pack("l", 0)))[0]


def set_flags(fd, flags):
    fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("l", flags))


ACL_USER_OBJ, ACL_USER, ACL_GROUP_OBJ, ACL_GROUP, ACL_MASK, ACL_OTHER = 1, 2, 4, 8, 16, 32


def acl(*entries):
    """The xattr form of (tag, permissions, id) entries; id only for ACL_USER and ACL_GROUP."""
    out = struct.pack("<I", 2)
    for tag, perm, *who in entries:
        out += struct.pack("<HHI", tag, perm, who[0] if who else 0xFFFFFFFF)
    return out


def acl_text(raw):
    names = {1: "u:", 2: "u:", 4: "g:", 8: "g:", 16: "m:", 32: "o:"}
    out = []
    for at in range(4, len(raw), 8):
        tag, perm, who = struct.unpack_from("<HHI", raw, at)
        out.append(names[tag] + (str(who) if tag in (2, 8) else "") + f":{perm}")
    return ",".join(out)
