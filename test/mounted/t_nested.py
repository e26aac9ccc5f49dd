"""Trees made of several file systems, and mounts on top of the mount."""

import os
import random

import syscalls
import trees
from harness import shell
from procs import attempt
from registry import test
from trees import read, write


def submounts(t):
    source = t.place("source")
    write(os.path.join(source, "top"), "top")
    for name in ("one", "two"):
        at = os.path.join(source, name)
        os.makedirs(os.path.join(at, "below"))
        write(os.path.join(at, "below", "hidden"), "hidden")
        shell("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", at)
        os.makedirs(os.path.join(at, "d/e"))
        write(os.path.join(at, "d/e/f"), name)
        os.link(os.path.join(at, "d/e/f"), os.path.join(at, "linked"))
    return source


@test(smoke=True)
def submounts_are_hidden(t):
    """By default what is mounted below the source is not shown, only the directories under it, as with mount --bind."""
    source = submounts(t)
    served = t.serve(source, submounts="hide")
    for name in ("one", "two"):
        at = os.path.join(served.path, name)
        t.eq(os.listdir(at), ["below"], f"listing of {name}")
        t.eq(read(os.path.join(at, "below/hidden")), b"hidden", "what is under the mount")
        write(os.path.join(at, "new"), "x")
        os.rename(os.path.join(at, "new"), os.path.join(served.path, "moved"))
        os.unlink(os.path.join(served.path, "moved"))
        t.eq(os.listdir(os.path.join(source, name)) != ["below"], True, "the host still shows its mount")
    t.eq(len(shell("find", served.path).split()), 8, "find")


@test(smoke=True, unless_restarts="nodes of other file systems are in the table, which dies with the daemon")
def submounts_are_crossed(t):
    """With submounts=cross the whole tree is shown; renames and links across give EXDEV; no false hard links."""
    source = submounts(t)
    served = t.serve(source, submounts="cross")
    for name in ("one", "two"):
        at = os.path.join(served.path, name)
        t.eq(read(os.path.join(at, "d/e/f")), name.encode(), "content behind the submount")
        t.eq(os.stat(os.path.join(at, "linked")).st_nlink, 2, "links")
        p = write(os.path.join(at, "new"), "x")
        t.eq(attempt(os.rename, p, os.path.join(served.path, "moved")), "EXDEV", "rename across")
        t.eq(attempt(os.link, p, os.path.join(served.path, "moved")), "EXDEV", "link across")
        t.eq(attempt(os.rmdir, at), "EBUSY", "removing a submount")
        t.eq(read(os.path.join(source, name, "new")), b"x", "the host has it")
    t.eq(trees.link_groups(served.path), [["one/d/e/f", "one/linked"], ["two/d/e/f", "two/linked"]], "hard links")
    t.eq(sorted(os.listdir(served.path)), ["one", "top", "two"], "listing")
    listing = {os.path.relpath(os.path.join(w, n), served.path) for w, ds, fs in os.walk(served.path) for n in ds + fs}
    host = {os.path.relpath(os.path.join(w, n), source) for w, ds, fs in os.walk(source) for n in ds + fs}
    t.eq(listing, host, "the whole tree")


@test(fs=("btrfs",))
def btrfs_subvolumes(t):
    """find, du, tar and cp see nested btrfs subvolumes and snapshots as on the host: no loops, no false hard links."""
    t.need("btrfs")
    base = t.src
    for name in ("v1", "v1/d/v2", "v3"):
        os.makedirs(os.path.dirname(os.path.join(base, name)), exist_ok=True)
        shell("btrfs", "-q", "subvolume", "create", os.path.join(base, name))
        for i in range(5):
            write(os.path.join(base, name, f"f{i}"), f"{name} {i}")
        os.link(os.path.join(base, name, "f0"), os.path.join(base, name, "hard"))
        os.mkdir(os.path.join(base, name, "dir"))
    for i in range(3):
        shell("btrfs", "-q", "subvolume", "snapshot", os.path.join(base, "v1"), os.path.join(base, f"snap{i}"))
    names = lambda root: sorted(os.path.relpath(os.path.join(w, n), root) for w, ds, fs in os.walk(root) for n in ds + fs)
    t.eq(names(t.mnt), names(base), "all names")
    t.eq(trees.link_groups(t.mnt), trees.link_groups(base), "hard links")
    t.eq(sorted(shell("find", ".", cwd=t.mnt).splitlines()), sorted(shell("find", ".", cwd=base).splitlines()), "find")
    numbers = [os.stat(os.path.join(t.mnt, n)).st_ino for n in ("v1", "v1/d/v2", "v3", "snap0", "snap1", "snap2", ".")]
    if t.mode != "bind":
        t.eq(len(set(numbers)), len(numbers), "inode numbers of the subvolume roots")
    for where, dirs, _ in os.walk(t.mnt):
        for e in os.scandir(where):
            if not e.is_dir():
                t.eq(e.inode(), e.stat(follow_symlinks=False).st_ino, f"inode number of {e.path}")
    t.eq(shell("du", "-sb", "--apparent-size", cwd=t.mnt), shell("du", "-sb", "--apparent-size", cwd=base), "du")
    out = os.path.join(t.work, "out")
    os.mkdir(out)
    shell("sh", "-c", f"tar -C {t.mnt} -cf - . | tar -C {out} -xf -")
    t.eq(names(out), names(base), "tar")
    t.eq(trees.link_groups(out), trees.link_groups(base), "hard links after tar")
    p = os.path.join(t.mnt, "v1/f1")
    t.eq(attempt(os.link, p, os.path.join(t.mnt, "v3/l")), "EXDEV", "link across subvolumes")
    t.eq(attempt(os.rename, p, os.path.join(t.mnt, "v3/r")), "EXDEV", "rename across subvolumes")
    write(os.path.join(t.mnt, "snap0/f1"), "changed")
    t.eq(read(os.path.join(base, "v1/f1")), b"v1 1", "the origin of a changed snapshot")
    t.eq(read(os.path.join(base, "snap0/f1")), b"changed", "a changed snapshot")
    write(os.path.join(t.mnt, "v1/d/v2/new"), "x")
    os.unlink(os.path.join(t.mnt, "v1/d/v2/new"))
    for name in ("snap0", "snap1", "snap2", "v1/d/v2", "v1", "v3"):
        shell("btrfs", "-q", "subvolume", "delete", os.path.join(base, name))


@test()
def bind_mount_of_a_subtree(t):
    """A subtree of the mount can be bound elsewhere and works there, dot dot included."""
    os.makedirs(os.path.join(t.mnt, "a/b"))
    at = t.place("bound")
    shell("mount", "--bind", os.path.join(t.mnt, "a"), at)
    write(os.path.join(at, "b/f"), "through the bind mount")
    t.eq(read(os.path.join(t.src, "a/b/f")), b"through the bind mount", "host")
    t.eq(read(os.path.join(t.mnt, "a/b/f")), b"through the bind mount", "mount")
    t.eq(os.stat(os.path.join(at, "b/..")).st_ino, os.stat(os.path.join(t.mnt, "a")).st_ino, "dot dot")
    os.rename(os.path.join(t.mnt, "a"), os.path.join(t.mnt, "renamed"))
    t.eq(os.listdir(at), ["b"], "after a rename of its root")
    shell("umount", at)


@test()
def mount_on_top_of_the_mount(t):
    """Other file systems can be mounted on directories of the mount, and leave again."""
    at = os.path.join(t.mnt, "point")
    os.mkdir(at)
    write(os.path.join(at, "under"), "under")
    shell("mount", "-t", "tmpfs", "tmpfs", at)
    write(os.path.join(at, "over"), "over")
    t.eq(os.listdir(at), ["over"], "the mounted file system")
    t.eq(os.listdir(os.path.join(t.src, "point")), ["under"], "the host")
    t.eq(attempt(os.rmdir, at), "EBUSY", "removing it")
    shell("umount", at)
    t.eq(os.listdir(at), ["under"], "after umount")


@test()
def overlay_with_the_mount_below(t):
    """overlayfs takes the mount as lower layer: reading, copying up, removing and listing work."""
    if t.fs == "overlay":
        t.skip("an overlay on an overlay on an overlay is deeper than the kernel stacks")
    if attempt(open, "/proc/filesystems") and "overlay" not in read("/proc/filesystems").decode():
        t.skip("the kernel has no overlay")
    lower = os.path.join(t.mnt, "lower")
    trees.make_tree(lower, 5, 30, random.Random(t.run.seed))
    write(os.path.join(lower, "f"), "lower")
    write(os.path.join(lower, "g"), "lower")
    own = t.place("layers")
    shell("mount", "-t", "tmpfs", "tmpfs", own)
    for name in ("upper", "work", "merged"):
        os.mkdir(os.path.join(own, name))
    merged = os.path.join(own, "merged")
    shell("mount", "-t", "overlay", "-o", f"lowerdir={lower},upperdir={own}/upper,workdir={own}/work", "overlay", merged)
    contents = lambda d: {name: row[-2] for name, row in trees.listing(d).items()}
    t.eq(trees.differences(contents(lower), contents(merged)), [], "listing")
    with open(os.path.join(merged, "f"), "a") as f:
        f.write(" and upper")
    os.unlink(os.path.join(merged, "g"))
    os.rename(os.path.join(merged, "f"), os.path.join(merged, "h"))
    t.eq(read(os.path.join(merged, "h")), b"lower and upper", "copied up")
    t.eq((read(os.path.join(lower, "f")), read(os.path.join(lower, "g"))), (b"lower", b"lower"), "the lower layer is unchanged")
    shell("umount", merged)
    syscalls.umount2(own, syscalls.MNT_DETACH)
