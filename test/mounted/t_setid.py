"""Set-id bits and file capabilities: cleared exactly when the host clears them."""

import mmap
import os
import struct

import syscalls
from procs import Err, attempt, run_as
from registry import test
from trees import write

OWNER, MEMBER, OTHER, TEAM = 3101, 3102, 3103, 4101
ACTORS = {
    "owner": (OWNER, OWNER, (TEAM,)),
    "root": (0, 0, ()),
    "member": (MEMBER, MEMBER, (TEAM,)),
    "other": (OTHER, OTHER, ()),
}
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
MODES = {"6777": 0o6777, "4755": 0o4755, "2775": 0o2775, "2765": 0o2765, "0777+cap": 0o777, "6777+cap": 0o6777}


def op_write(p):
    fd = os.open(p, os.O_WRONLY)
    os.write(fd, b"x")
    os.close(fd)


def op_pwrite_direct(p):
    fd = os.open(p, os.O_WRONLY | os.O_DIRECT)
    buf = mmap.mmap(-1, 4096)
    os.pwritev(fd, [buf], 0)
    os.close(fd)


def op_mmap_store(p):
    fd = os.open(p, os.O_RDWR)
    m = mmap.mmap(fd, 4096)
    m[0] = 65
    m.flush()
    m.close()
    os.close(fd)


def op_truncate(p):
    os.truncate(p, 100)


def op_truncate_to_same(p):
    os.truncate(p, 8192)


def op_ftruncate(p):
    fd = os.open(p, os.O_WRONLY)
    os.ftruncate(fd, 100)
    os.close(fd)


def op_open_trunc(p):
    os.close(os.open(p, os.O_WRONLY | os.O_TRUNC))


def op_open_creat_trunc(p):
    os.close(os.open(p, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600))


def op_chown_group(p):
    os.chown(p, -1, TEAM)


def op_chown_nothing(p):
    os.chown(p, -1, -1)


def op_chown_owner(p):
    os.chown(p, OTHER, -1)


def op_fallocate(p):
    fd = os.open(p, os.O_WRONLY)
    syscalls.fallocate(fd, 0, 0, 16384)
    os.close(fd)


def op_punch(p):
    fd = os.open(p, os.O_WRONLY)
    syscalls.fallocate(fd, syscalls.FALLOC_PUNCH_HOLE | syscalls.FALLOC_KEEP_SIZE, 0, 4096)
    os.close(fd)


def op_copy_file_range(p):
    source = os.open(os.path.join(os.path.dirname(p), "other"), os.O_RDONLY)
    fd = os.open(p, os.O_WRONLY)
    try:
        os.copy_file_range(source, fd, 4096, 0, 0)
    finally:
        os.close(source)
        os.close(fd)


def op_chmod_g_s(p):
    os.chmod(p, os.stat(p).st_mode & 0o7777 | 0o2000)


def op_read(p):
    fd = os.open(p, os.O_RDONLY)
    os.read(fd, 10)
    os.close(fd)


def op_append(p):
    fd = os.open(p, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"x")
    os.close(fd)


def op_write_already_open(p):
    """The set-id bits come after the descriptor; they must still go with the write."""
    fd = os.open(p, os.O_RDWR)
    os.write(fd, b"1")
    os.write(fd, b"2")
    os.close(fd)


OPS = [v for k, v in sorted(globals().items()) if k.startswith("op_")]


def state(p):
    st = os.lstat(p)
    cap = attempt(os.getxattr, p, "security.capability")
    return oct(st.st_mode), st.st_uid, st.st_gid, st.st_size, "cap" if cap == CAPABILITY else cap


def make(d, name, mode):
    p = write(os.path.join(d, name), b"0" * 8192)
    os.chown(p, OWNER, TEAM)
    os.chmod(p, MODES[mode])
    if mode.endswith("cap"):
        os.setxattr(p, "security.capability", CAPABILITY)
    return p


def run_matrix(t, modes):
    def prepare(d):
        write(os.path.join(d, "other"), b"o" * 8192, 0o644)

    t.twins(prepare)
    wrong = []
    cells = 0
    for mode in modes:
        for who, creds in ACTORS.items():
            for op in OPS:
                name = f"{mode}-{who}-{op.__name__[3:]}"
                cells += 1

                def cell(d):
                    p = os.path.join(d, name)
                    error = run_as(*creds, op, p)
                    return error, state(p)

                t.twins(lambda d: make(d, name, mode))
                on_host, on_mount = cell(t.twin), cell(t.mnt)
                behind = state(os.path.join(t.src, name))
                if on_mount[0] != on_host[0] and on_host[0] in ("EINVAL", "EOPNOTSUPP") and not isinstance(on_mount[0], Err):
                    continue  # the mount can more than the host file system (O_DIRECT, fallocate): not a promise
                if op is op_chown_nothing and on_mount == (on_host[0], (*on_host[1][:4], "ENODATA")) and on_host[0] == "EPERM":
                    continue  # the kernel removes the capability before it asks whether the caller may
                if op is op_mmap_store and on_mount[1][:4] == on_host[1][:4] and on_mount[1][4] == "ENODATA":
                    continue  # a store that comes to the daemon as a write loses the capability: the safe side
                if on_mount != on_host:
                    wrong.append(f"{name}: host {on_host} mount {on_mount}")
                elif behind != on_mount[1]:
                    wrong.append(f"{name}: mount shows {on_mount[1]}, host has {behind}")
    t.check(not wrong, f"{len(wrong)} of {cells} cells: " + "; ".join(wrong[:3]) + "; all: " + " ".join(w.split(":")[0] for w in wrong))


@test(limit=300)
def setid_matrix(t):
    """Set-user-id and set-group-id bits go with every write, truncate, chown of a user, and stay with root, as on the host."""
    run_matrix(t, [m for m in MODES if "cap" not in m])


@test(limit=300, unless_restarts="between REMOVEXATTR and SETATTR the daemon remembers the capability")
def capability_matrix(t):
    """File capabilities go with every change of the file's content, as on the host."""
    p = make(t.twin, "probe", "0777+cap")
    t.check(state(p)[4] == "cap", "the host keeps file capabilities")
    os.unlink(p)
    run_matrix(t, [m for m in MODES if "cap" in m])


@test(smoke=True)
def setid_after_open(t):
    """Set-id bits that root gives a file while a user has it open go with the user's next write."""

    def steps(d):
        p = write(os.path.join(d, "f"), b"0" * 10)
        os.chown(p, OWNER, TEAM)
        os.chmod(p, 0o777)
        r, w = os.pipe()
        back_r, back_w = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setgroups([])
            os.setresgid(OTHER, OTHER, OTHER)
            os.setresuid(OTHER, OTHER, OTHER)
            fd = os.open(p, os.O_RDWR)
            os.write(fd, b"1")
            os.write(back_w, b"o")
            os.read(r, 1)
            os.write(fd, b"2")
            os.write(back_w, b"w")
            os._exit(0)
        os.read(back_r, 1)
        os.chmod(p, 0o6777)
        os.setxattr(p, "security.capability", CAPABILITY)
        before = state(p)
        os.write(w, b"g")
        os.read(back_r, 1)
        os.waitpid(pid, 0)
        for fd in (r, w, back_r, back_w):
            os.close(fd)
        return before, state(p)

    t.same(steps)


@test()
def setid_programs(t):
    """A set-user-id program on the mount runs as its owner, as from a bind mount; with nosuid it does not."""
    t.need("cc")
    code = "#include <stdio.h>\n#include <unistd.h>\nint main(void){printf(\"%d %d\",(int)geteuid(),(int)getegid());return 0;}\n"
    from harness import shell
    source = write(os.path.join(t.work, "id.c"), code)
    program = os.path.join(t.src, "id")
    shell("cc", "-o", program, source)
    os.chown(program, OWNER, TEAM)
    os.chmod(program, 0o6755)

    def ask(path):
        import subprocess
        return subprocess.run([path], stdout=subprocess.PIPE).stdout.decode()

    t.eq(run_as(OTHER, OTHER, (), ask, os.path.join(t.mnt, "id")), f"{OWNER} {TEAM}", "through the mount")
    served = t.serve(t.src, nosuid=True)
    t.eq(run_as(OTHER, OTHER, (), ask, os.path.join(served.path, "id")), f"{OTHER} {OTHER}", "with nosuid")
