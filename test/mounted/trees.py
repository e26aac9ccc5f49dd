"""What a tree looks like to a user, in a form that can be compared."""

import hashlib
import os
import stat


def xattrs(path):
    out = {}
    for name in sorted(os.listxattr(path, follow_symlinks=False)):
        out[name] = os.getxattr(path, name, follow_symlinks=False)
    return out


def _digest(path, st):
    if stat.S_ISLNK(st.st_mode):
        return os.readlink(path)
    if not stat.S_ISREG(st.st_mode):
        return ""
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while part := f.read(1 << 20):
            h.update(part)
    return h.hexdigest()[:16]


def entry(path, times=True, content=True, links=True):
    st = os.lstat(path)
    row = [oct(st.st_mode), st.st_uid, st.st_gid, st.st_rdev]
    if links:
        row.append(st.st_nlink)
    if not stat.S_ISDIR(st.st_mode):
        row.append(st.st_size)
    if times:
        row += [st.st_mtime_ns, st.st_ctime_ns]
    if content:
        row.append(_digest(path, st))
    row.append(xattrs(path))
    return row


def listing(root, **kwargs):
    """relative name -> entry, for everything below root and root itself."""
    out = {".": entry(root, **kwargs)}
    for where, dirs, files in os.walk(root):
        for name in sorted(dirs + files):
            path = os.path.join(where, name)
            out[os.path.relpath(path, root)] = entry(path, **kwargs)
    return out


def link_groups(root):
    """The sets of names that share an inode: what tar and du take for hard links."""
    seen = {}
    for where, dirs, files in os.walk(root):
        for name in dirs + files:
            path = os.path.join(where, name)
            st = os.lstat(path)
            if stat.S_ISDIR(st.st_mode):
                continue
            seen.setdefault((st.st_dev, st.st_ino), []).append(os.path.relpath(path, root))
    return sorted(sorted(names) for names in seen.values() if len(names) > 1)


def differences(left, right, names=("host", "mount"), most=5):
    """Lines that name what differs between two listings."""
    out = []
    for name in sorted(set(left) | set(right)):
        a, b = left.get(name), right.get(name)
        if a != b:
            out.append(f"{name}: {names[0]} {a} {names[1]} {b}")
    if len(out) > most:
        out[most:] = [f"and {len(out) - most} more"]
    return out


def write(path, data=b"", mode=None):
    if isinstance(data, str):
        data = data.encode()
    with open(path, "wb") as f:
        f.write(data)
    if mode is not None:
        os.chmod(path, mode)
    return path


def read(path):
    with open(path, "rb") as f:
        return f.read()


def make_tree(root, dirs, files, rng):
    """A small source-code-like tree from a seeded generator."""
    os.makedirs(root, exist_ok=True)
    places = [root]
    for i in range(dirs):
        place = os.path.join(rng.choice(places), f"d{i}")
        os.mkdir(place)
        places.append(place)
    for i in range(files):
        write(os.path.join(rng.choice(places), f"f{i}.txt"), rng.randbytes(rng.randrange(0, 9000)))
    return places
