"""Who owns what is created, and who may do what: owners, groups, setgid directories, umask, ACLs."""

import os
import stat

import syscalls
from procs import Err, attempt, run_as, with_umask
from registry import test
from syscalls import ACL_GROUP, ACL_GROUP_OBJ, ACL_MASK, ACL_OTHER, ACL_USER, ACL_USER_OBJ, acl, acl_text
from trees import write

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
ALICE, BOB, TEAM, LAB = 3001, 3002, 4001, 4002
PEOPLE = {
    "root": (0, 0, ()),
    "alice": (ALICE, ALICE, ()),
    "alice+team": (ALICE, ALICE, (TEAM,)),
    "alice in team": (ALICE, TEAM, ()),
    "bob+team+lab": (BOB, BOB, (LAB, TEAM)),
    "bob": (BOB, BOB, ()),
}


def owner(path):
    st = os.lstat(path)
    return st.st_uid, st.st_gid, oct(st.st_mode)


def make_all(d, tag, mask=0o022):
    """Creates one of everything; the owners and modes that came out, or the error."""

    def steps():
        out = []
        p = lambda n: os.path.join(d, f"{n}-{tag}")
        calls = {
            "open": lambda: os.close(os.open(p("open"), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o6777)),
            "readonly": lambda: os.close(os.open(p("readonly"), os.O_CREAT | os.O_RDWR, 0o0)),
            "mkdir": lambda: os.mkdir(p("mkdir"), 0o7777),
            "mknod": lambda: os.mknod(p("mknod"), 0o2775 | stat.S_IFREG),
            "fifo": lambda: os.mkfifo(p("fifo"), 0o666),
            "symlink": lambda: os.symlink("x", p("symlink")),
            "tmpfile": lambda: tmpfile(d, p("tmpfile")),
        }
        for name, call in calls.items():
            error = attempt(call)
            out.append((name, error or owner(p(name))))
        return out

    return with_umask(mask, steps)


def tmpfile(d, name, mode=0o6775):
    fd = os.open(d, os.O_TMPFILE | os.O_RDWR, mode)
    try:
        before = os.fstat(fd)
        syscalls.link_open_file(fd, name)
        after = os.fstat(fd)
        assert (before.st_nlink, after.st_nlink, before.st_ino) == (0, 1, after.st_ino)
    finally:
        os.close(fd)


def matrix(t, prepare, masks=(0o022,)):
    """Everybody creates one of everything in a directory made by prepare."""

    def ready(d):
        at = os.path.join(d, "in")
        os.mkdir(at)
        prepare(at)

    t.twins(ready)
    for who, creds in PEOPLE.items():
        for mask in masks:
            tag = f"{who}-{mask:o}"
            t.same_as(creds, lambda d: make_all(os.path.join(d, "in"), tag, mask), what=f"{who} umask {mask:o}")
    t.same_trees()


@test(smoke=True)
def creates_as_the_caller(t):
    """New files, directories, FIFOs, links and temporary files belong to the user who makes them, umask applied."""
    matrix(t, lambda d: os.chmod(d, 0o777), (0o000, 0o027, 0o777))


@test(smoke=True)
def setgid_directory(t):
    """In a setgid directory the group is inherited, and set-gid is dropped for those outside of the group, as on the host."""

    def prepare(d):
        os.chown(d, 0, TEAM)
        os.chmod(d, 0o2777)

    matrix(t, prepare, (0o002, 0o077))


@test()
def setgid_directory_for_members_only(t):
    """Members by a supplementary group only may create in a group-writable setgid directory; others may not."""

    def prepare(d):
        os.chown(d, 0, TEAM)
        os.chmod(d, 0o2770)

    matrix(t, prepare)


@test()
def setgid_directory_with_default_acl(t):
    """setgid inheritance and default ACLs work together as on the host."""

    def prepare(d):
        os.chown(d, 0, LAB)
        os.chmod(d, 0o2777)
        put_acl(d, DEFAULT, acl((ACL_USER_OBJ, 7), (ACL_USER, 6, BOB), (ACL_GROUP_OBJ, 5), (ACL_MASK, 7), (ACL_OTHER, 1)))

    acl_or_skip(t)
    matrix(t, prepare, (0o022, 0o077))


@test()
def sticky_directory(t):
    """In a sticky directory only the owner may rename or remove, as on the host."""

    def prepare(d):
        os.mkdir(os.path.join(d, "s"))
        os.chmod(os.path.join(d, "s"), 0o1777)

    t.twins(prepare)
    for who in ("alice", "bob"):
        t.same_as(PEOPLE[who], lambda d: write(os.path.join(d, "s", who), "x") and 1)
    for who in ("bob", "alice", "root"):
        def steps(d):
            p = lambda n: os.path.join(d, "s", n)
            return [attempt(os.rename, p("alice"), p("new")), attempt(os.unlink, p("bob")), sorted(os.listdir(p("")))]

        t.same_as(PEOPLE[who], steps)


@test(smoke=True)
def group_change_by_the_owner(t):
    """An owner may give a file to any of his own groups, supplementary ones included, and to no other."""
    for who, creds in PEOPLE.items():
        def prepare(d):
            for gid in (TEAM, LAB, 0, creds[1]):
                p = write(os.path.join(d, f"{who}-{gid}"), "x")
                os.chown(p, ALICE, ALICE)
                os.chmod(p, 0o6775)

        t.twins(prepare)
        for gid in (TEAM, LAB, 0, creds[1]):
            def change(d):
                p = os.path.join(d, f"{who}-{gid}")
                return attempt(os.chown, p, -1, gid), attempt(os.chown, p, creds[0], -1), owner(p)

            t.same_as(creds, change, what=f"{who} to group {gid}")
    t.same_trees()


@test()
def chmod_by_everybody(t):
    """chmod gives the same bits and errors as on the host: set-gid by non-members, sticky on files, not the owner."""
    for who, creds in PEOPLE.items():
        def prepare(d):
            for kind in ("file", "dir"):
                p = os.path.join(d, f"{who}-{kind}")
                write(p) if kind == "file" else os.mkdir(p)
                os.chown(p, ALICE, TEAM)

        t.twins(prepare)
        for kind in ("file", "dir"):
            for mode in (0o2755, 0o6711, 0o1777, 0o000, 0o7777, 0o640):
                def change(d):
                    p = os.path.join(d, f"{who}-{kind}")
                    return attempt(os.chmod, p, mode), owner(p)

                t.same_as(creds, change, what=f"{who} chmod {mode:o} {kind}")
    t.same_trees()


@test()
def access_by_everybody(t):
    """Reading, writing, listing and entering is allowed to exactly those whom the host allows it."""
    modes = (0o700, 0o070, 0o007, 0o604, 0o050, 0o111, 0o000, 0o755)

    def prepare(d):
        for mode in modes:
            f, e = os.path.join(d, f"f{mode:o}"), os.path.join(d, f"d{mode:o}")
            write(f, "x")
            os.mkdir(e)
            write(os.path.join(e, "in"), "y")
            os.chmod(os.path.join(e, "in"), 0o644)
            for p in (f, e):
                os.chown(p, ALICE, TEAM)
                os.chmod(p, mode)

    def tries(d):
        out = []
        for mode in modes:
            f, e = os.path.join(d, f"f{mode:o}"), os.path.join(d, f"d{mode:o}")
            calls = [(os.open, f, os.O_RDONLY), (os.open, f, os.O_WRONLY), (os.open, f, os.O_RDWR), (os.listdir, e),
                     (os.stat, os.path.join(e, "in")), (os.open, os.path.join(e, "new"), os.O_CREAT | os.O_EXCL, 0o600),
                     (os.mkdir, os.path.join(e, "newdir")), (os.chdir, e), (os.truncate, f, 3),
                     (os.utime, f), (os.link, f, os.path.join(d, f"l{mode:o}-{os.getuid()}")),
                     (os.setxattr, f, "user.a", b"1"), (os.getxattr, f, "user.a")]
            for fn, *args in calls:
                value = attempt(fn, *args)
                out.append((f"{mode:o}", fn.__name__, value if isinstance(value, Err) else "ok"))
            os.chdir("/")
            out.append([os.access(f, k) for k in (os.R_OK, os.W_OK, os.X_OK)])
        return out

    t.twins(prepare)
    for who, creds in PEOPLE.items():
        t.same_as(creds, tries, what=who)
    t.same_trees()


def put_acl(path, name, value):
    os.setxattr(path, name, value)


def get_acl(path):
    out = []
    for name in (ACCESS, DEFAULT):
        raw = attempt(os.getxattr, path, name)
        out.append(raw if isinstance(raw, Err) else acl_text(raw))
    return out


def acl_or_skip(t):
    probe = os.path.join(t.twin, "probe")
    write(probe)
    if attempt(put_acl, probe, ACCESS, acl((ACL_USER_OBJ, 6), (ACL_GROUP_OBJ, 4), (ACL_OTHER, 4))):
        t.skip(f"{t.fs} has no ACLs here")
    os.unlink(probe)


@test(smoke=True)
def acl_grants_and_denies(t):
    """Access ACLs decide who may read and write, exactly as on the host."""
    acl_or_skip(t)
    rules = {
        "user": acl((ACL_USER_OBJ, 6), (ACL_USER, 6, BOB), (ACL_GROUP_OBJ, 0), (ACL_MASK, 6), (ACL_OTHER, 0)),
        "masked": acl((ACL_USER_OBJ, 6), (ACL_USER, 6, BOB), (ACL_GROUP_OBJ, 0), (ACL_MASK, 4), (ACL_OTHER, 0)),
        "group": acl((ACL_USER_OBJ, 6), (ACL_GROUP_OBJ, 0), (ACL_GROUP, 6, LAB), (ACL_MASK, 6), (ACL_OTHER, 0)),
        "deny": acl((ACL_USER_OBJ, 6), (ACL_USER, 0, BOB), (ACL_GROUP_OBJ, 6), (ACL_MASK, 6), (ACL_OTHER, 6)),
    }

    def prepare(d):
        for name, rule in rules.items():
            p = write(os.path.join(d, name), "x")
            os.chown(p, ALICE, ALICE)
            put_acl(p, ACCESS, rule)

    def tries(d):
        out = []
        for name in rules:
            p = os.path.join(d, name)
            for flags in (os.O_RDONLY, os.O_WRONLY):
                value = attempt(os.open, p, flags)
                out.append((name, flags, value if isinstance(value, Err) else "ok"))
            out.append((get_acl(p), owner(p), attempt(put_acl, p, ACCESS, rules["user"])))
        return out

    t.twins(prepare)
    for who, creds in PEOPLE.items():
        t.same_as(creds, tries, what=who)
    t.same_trees()


@test(smoke=True)
def default_acl_and_umask(t):
    """A default ACL takes the place of the umask for everything made below it, as on the host."""
    acl_or_skip(t)
    rule = acl((ACL_USER_OBJ, 7), (ACL_USER, 7, BOB), (ACL_GROUP_OBJ, 7), (ACL_GROUP, 5, LAB), (ACL_MASK, 7), (ACL_OTHER, 5))
    minimal = acl((ACL_USER_OBJ, 7), (ACL_GROUP_OBJ, 6), (ACL_OTHER, 0))

    def prepare(d):
        for name, value in (("full", rule), ("minimal", minimal)):
            p = os.path.join(d, name)
            os.mkdir(p)
            os.chmod(p, 0o777)
            put_acl(p, DEFAULT, value)

    t.twins(prepare)
    for who in ("root", "alice", "bob+team+lab"):
        for mask in (0o000, 0o022, 0o077, 0o777):
            for place in ("full", "minimal"):
                tag = f"{who}-{mask:o}"

                def steps(d):
                    at = os.path.join(d, place)
                    made = make_all(at, tag, mask)
                    return made, [(n, get_acl(os.path.join(at, n))) for n in sorted(os.listdir(at)) if "symlink" not in n]

                t.same_as(PEOPLE[who], steps, what=f"{who} umask {mask:o} in {place}")
    t.same_trees()


@test()
def acl_and_chmod(t):
    """chmod changes the mask of an ACL, setting an ACL changes the mode, removing it leaves the mode, as on the host."""
    acl_or_skip(t)
    rule = acl((ACL_USER_OBJ, 6), (ACL_USER, 7, BOB), (ACL_GROUP_OBJ, 5), (ACL_MASK, 7), (ACL_OTHER, 0))

    def steps(d):
        out = []
        for name, make in (("f", write), ("d", os.mkdir)):
            p = os.path.join(d, name)
            make(p)
            os.chmod(p, 0o2775)
            put_acl(p, ACCESS, rule)
            out.append((owner(p), get_acl(p)))
            for mode in (0o640, 0o755, 0o2710, 0o000):
                os.chmod(p, mode)
                out.append((owner(p), get_acl(p)))
            put_acl(p, ACCESS, acl((ACL_USER_OBJ, 7), (ACL_GROUP_OBJ, 5), (ACL_OTHER, 1)))
            out.append((owner(p), get_acl(p)))
            put_acl(p, ACCESS, rule)
            os.removexattr(p, ACCESS)
            out.append((owner(p), get_acl(p)))
            out.append(attempt(os.removexattr, p, DEFAULT))
            out.append(attempt(put_acl, p, DEFAULT, rule))
            out.append(attempt(put_acl, p, ACCESS, rule[:-2]))
            out.append(attempt(put_acl, p, ACCESS, acl((ACL_USER_OBJ, 7))))
            out.append((owner(p), get_acl(p)))
        return out

    t.same(steps)
    t.same_trees()


@test()
def acl_clears_setgid_for_non_members(t):
    """Setting an ACL as an owner who is not in the group clears set-gid, as on the host."""
    acl_or_skip(t)
    rule = acl((ACL_USER_OBJ, 7), (ACL_USER, 7, BOB), (ACL_GROUP_OBJ, 5), (ACL_MASK, 7), (ACL_OTHER, 1))
    for who, creds in PEOPLE.items():
        def prepare(d):
            for kind, make in (("f", write), ("d", os.mkdir)):
                p = os.path.join(d, f"{kind}-{who}")
                make(p)
                os.chown(p, creds[0], TEAM)
                os.chmod(p, 0o2755)

        def steps(d):
            out = []
            for kind in "fd":
                p = os.path.join(d, f"{kind}-{who}")
                out.append((attempt(put_acl, p, ACCESS, rule), owner(p), get_acl(p)))
            return out

        t.twins(prepare)
        t.same_as(creds, steps, what=who)
    t.same_trees()


@test()
def utimes_by_everybody(t):
    """Who may set times, and which, is as on the host, nanoseconds included."""

    def prepare(d):
        p = write(os.path.join(d, "f"), "x")
        os.chown(p, ALICE, ALICE)
        os.chmod(p, 0o646)

    def steps(d):
        p = os.path.join(d, "f")
        out = [attempt(os.utime, p, ns=(123456789, 987654321)), attempt(os.utime, p) or "now"]
        out.append(attempt(os.utime, p, ns=((1 << 31) * 10**9 + 5, 7)))
        return out

    t.twins(prepare)
    for who, creds in PEOPLE.items():
        t.same_as(creds, steps, what=who)

    def odd(d):
        p = write(os.path.join(d, "g"), "x")
        out = []
        for ns in ((0, 0), (-1, -10**9), (1 << 33, (1 << 33) * 10**9), (999999999, 1)):
            out.append(attempt(os.utime, p, ns=ns))
            st = os.stat(p)
            out.append((st.st_atime_ns, st.st_mtime_ns))
        return out

    t.same(odd)
    t.same_trees()


@test()
def xattrs_as_on_the_host(t):
    """Extended attributes of every class are set, listed, read and removed with the host's results."""

    def steps(d):
        out = []
        for name, make in (("f", write), ("d", os.mkdir)):
            p = os.path.join(d, name)
            make(p)
            long, too_long = "user." + "k" * 240, "user." + "k" * 251
            for key in ("user.a", long, too_long, "trusted.t", "security.s", "system.x", "nope", "user."):
                for value in (b"", b"v", b"w" * 500, b"x" * 70000):
                    out.append((key[:9], len(value), attempt(os.setxattr, p, key, value)))
            out.append(sorted(os.listxattr(p)))
            out.append(attempt(os.setxattr, p, "user.a", b"1", os.XATTR_CREATE))
            out.append(attempt(os.setxattr, p, "user.b", b"1", os.XATTR_REPLACE))
            out.append(attempt(os.setxattr, p, "user.b", b"1", os.XATTR_CREATE))
            out.append(attempt(os.setxattr, p, "user.b", b"22", os.XATTR_REPLACE))
            out.append((attempt(os.getxattr, p, "user.b"), attempt(os.getxattr, p, "user.none")))
            out.append((attempt(os.removexattr, p, "user.b"), attempt(os.removexattr, p, "user.b")))
            os.chown(p, ALICE, ALICE)
        return out

    t.same(steps)

    def user(d):
        out = []
        for name in "fd":
            p = os.path.join(d, name)
            for key in ("user.u", "trusted.u", "security.u"):
                out.append((key, attempt(os.setxattr, p, key, b"1"), attempt(os.getxattr, p, key)))
            # btrfs shows trusted names to everybody; hiding them, as others do, is as good
            out.append(sorted(n for n in os.listxattr(p) if not n.startswith("trusted.")))
            out.append(attempt(os.removexattr, p, "user.u"))
        return out

    for who in ("alice", "bob"):
        t.same_as(PEOPLE[who], user)
    t.same_trees()


@test()
def remembers_no_credentials(t):
    """What one user may do is not decided by what another user did just before."""
    p = write(os.path.join(t.mnt, "secret"), "x")
    os.chmod(p, 0o600)
    os.chown(p, ALICE, ALICE)
    for _ in range(20):
        t.eq(run_as(*PEOPLE["alice"], lambda: open(p).read()), "x", "the owner reads")
        t.eq(run_as(*PEOPLE["bob"], lambda: open(p).read()), "EACCES", "another user")
    t.eq(attempt(syscalls.statx, p).mode & 0o777, 0o600, "mode")
