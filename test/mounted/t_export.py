"""File handles of the mount: for NFS servers and backup programs; nobody forges them."""

import os
import random
import struct

import syscalls
from procs import attempt, until
from registry import test
from trees import read, write

HANDLES = {"identity": (None, "handle", "auto")}
DECODABLE = ("ext4", "tmpfs", "xfs", "btrfs")


def drop_caches():
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("2")


def make(t, name="source"):
    source = os.path.join(t.src, name)
    os.makedirs(os.path.join(source, "a/b/c/d"))
    for i in range(40):
        place = ("", "a", "a/b", "a/b/c/d")[i % 4]
        write(os.path.join(source, place, f"f{i}"), f"content {i}")
    os.symlink("f0", os.path.join(source, "link"))
    os.mkfifo(os.path.join(source, "fifo"))
    os.link(os.path.join(source, "f0"), os.path.join(source, "a/b/hard"))
    return source


def everything(root):
    return sorted(os.path.join(w, n) for w, ds, fs in os.walk(root) for n in ds + fs) + [root]


def look(mount_fd, handle):
    """What a handle leads to: enough to know the file."""
    fd = syscalls.open_by_handle(mount_fd, handle, os.O_PATH)
    try:
        st = os.fstat(fd)
        text = None
        if os.path.isfile(f"/proc/self/fd/{fd}") and st.st_size < 1000:
            again = syscalls.open_by_handle(mount_fd, handle, os.O_RDONLY)
            text = os.read(again, 1000)
            os.close(again)
        return st.st_ino, oct(st.st_mode), st.st_nlink, text
    finally:
        os.close(fd)


def seen(path):
    st = os.lstat(path)
    regular = os.path.isfile(path) and not os.path.islink(path)
    return st.st_ino, oct(st.st_mode), st.st_nlink, read(path) if regular else None


def settings(t, **more):
    return {"export": "on", "key_file": os.path.join(t.work, "key"), **more}


@test(fs=DECODABLE, needs=HANDLES)
def handles_survive_cache_drops(t):
    """A file handle of the mount opens its file whenever the kernel has forgotten it, after renames too."""
    source = make(t)
    served = t.serve(source, **settings(t))
    names = everything(served.path)
    handles = {n: syscalls.name_to_handle(n) for n in names}
    wanted = {n: seen(n) for n in names}
    mount_fd = os.open(served.path, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(3):
        drop_caches()
        for n in names:
            t.eq(attempt(look, mount_fd, handles[n]), wanted[n], f"handle of {os.path.relpath(n, served.path)}")
    os.rename(os.path.join(served.path, "a"), os.path.join(served.path, "renamed"))
    os.rename(os.path.join(source, "renamed/b"), os.path.join(source, "moved"))
    drop_caches()
    deep = os.path.join(served.path, "a/b/c/d")
    t.eq(attempt(look, mount_fd, handles[deep]), wanted[deep], "a directory after renames")
    fd = syscalls.open_by_handle(mount_fd, handles[deep], os.O_RDONLY | os.O_DIRECTORY)
    t.eq(len(os.listdir(fd)), 10, "listing by handle")
    until(lambda: os.readlink(f"/proc/self/fd/{fd}").endswith("/moved/c/d"), "the path of a directory by handle")
    t.eq(os.stat("../../..", dir_fd=fd).st_ino, os.stat(served.path).st_ino, "dot dot leads to the root")
    os.close(fd)
    gone = os.path.join(served.path, "f4")
    os.unlink(gone)

    def is_stale():
        # The daemon may still have it open: RELEASE is sent and not waited for.
        drop_caches()
        return attempt(look, mount_fd, handles[gone]) == "ESTALE"

    until(is_stale, "the handle of a removed file is stale")
    os.close(mount_fd)


@test(fs=DECODABLE, needs=HANDLES, unless_bind="a handle of a bind mount is the host's, the mount is not part of it")
def handles_survive_a_new_mount(t):
    """With the same key file, handles are still good after umount and mount; with another key they are refused."""
    source = make(t)
    served = t.serve(source, **settings(t))
    names = everything(served.path)
    handles = {n: syscalls.name_to_handle(n) for n in names}
    wanted = {n: seen(n) for n in names}
    for key, good in (("key", True), ("key2", False), ("key", True)):
        t.end(served)
        served = t.serve(source, **settings(t, key_file=os.path.join(t.work, key)))
        mount_fd = os.open(served.path, os.O_RDONLY | os.O_DIRECTORY)
        for n in names:
            t.check(n.startswith(served.path), "same mount point")
            if n != served.path:
                t.eq(attempt(look, mount_fd, handles[n]), wanted[n] if good else "ESTALE", f"{n} with {key}")
        os.close(mount_fd)
    mode = os.stat(os.path.join(t.work, "key")).st_mode & 0o777
    t.eq(mode, 0o600, "mode of the key file")


@test(fs=DECODABLE, needs=HANDLES, unless_bind="a bind mount opens whatever handle of the host it is given")
def forged_handles_are_refused(t):
    """No handle that this mount did not give out opens anything: flipped bits, other inodes, generation 0."""
    source = make(t)
    outside = [write(os.path.join(t.src, f"outside{i}"), "secret") for i in range(20)]
    outside.append(t.src)
    served = t.serve(source, **settings(t))
    mount_fd = os.open(served.path, os.O_RDONLY | os.O_DIRECTORY)
    opened = []

    def try_one(handle, label):
        for flags in (os.O_PATH, os.O_RDONLY | os.O_NONBLOCK):
            result = attempt(syscalls.open_by_handle, mount_fd, handle, flags)
            if not isinstance(result, str):
                opened.append(f"{label} opened inode {os.fstat(result).st_ino}")
                os.close(result)
            elif result != "ESTALE":
                opened.append(f"{label}: {result}")

    genuine = {n: syscalls.name_to_handle(n) for n in everything(served.path)}
    chosen = [os.path.join(served.path, n) for n in ("f0", "a", "a/b/c/d", "link", "fifo")] + [served.path]
    for cold in (False, True):
        for n in chosen:
            kind, data = genuine[n]
            for bit in range(len(data) * 8):
                if cold and bit % 16 == 0:
                    drop_caches()
                forged = bytearray(data)
                forged[bit // 8] ^= 1 << bit % 8
                try_one((kind, bytes(forged)), f"{os.path.basename(n)} bit {bit} cold={cold}")
    kind, sample = genuine[chosen[0]]
    t.eq(len(sample), 12, "the length of a FUSE handle")
    rng = random.Random(t.run.seed)
    real_generation = struct.unpack("III", sample)[2]
    numbers = set(range(2, 120))
    generations = {}
    for p in outside:
        ino = os.stat(p).st_ino
        numbers.add(ino)
        raw = syscalls.name_to_handle(p)[1]
        generations[ino] = struct.unpack_from("<I", raw, 4)[0] if len(raw) >= 8 else 0
    for ino in numbers:
        host_generations = {0, generations.get(ino, 0), rng.getrandbits(32)}
        nodeids = {ino} | {ino << 32 | g ^ ino & 0xFFFFFFFF for g in host_generations} | {ino << 32 | g for g in host_generations}
        for nodeid in nodeids:
            for generation in (0, real_generation, rng.getrandbits(32)):
                try_one((kind, struct.pack("III", nodeid >> 32 & 0xFFFFFFFF, nodeid & 0xFFFFFFFF, generation)),
                        f"inode {ino} nodeid {nodeid:#x} generation {generation:#x}")
    t.check(not opened, f"{len(opened)} forged handles: " + "; ".join(opened[:5]))
    for n, handle in genuine.items():
        t.eq(attempt(look, mount_fd, handle), seen(n), "a genuine handle afterwards")
    os.close(mount_fd)


@test(smoke=True, unless_bind="a bind mount gives out the host's handles")
def no_handles_without_export(t):
    """Without export=on the mount gives out no file handles."""
    p = write(os.path.join(t.mnt, "f"), "x")
    served = t.serve(t.src, export="off")
    for path in (p, t.mnt, os.path.join(served.path, "f")):
        t.eq(attempt(syscalls.name_to_handle, path), "EOPNOTSUPP", "name_to_handle_at")


@test(fs=DECODABLE, needs=HANDLES)
def handles_need_root(t):
    """Only root opens by handle; an unprivileged user gets EPERM."""
    from procs import run_as
    source = make(t)
    served = t.serve(source, **settings(t))
    handle = syscalls.name_to_handle(os.path.join(served.path, "f0"))
    mount_fd = os.open(served.path, os.O_RDONLY | os.O_DIRECTORY)
    t.eq(run_as(3301, 3301, (), syscalls.open_by_handle, mount_fd, handle, os.O_RDONLY), "EPERM", "open_by_handle_at")
    os.close(mount_fd)
