#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>

#include "gen.h"

namespace oracle {

namespace {

Path FdPath(int slot) {
  Path p;
  p.base = Base::kSlot;
  p.slot = static_cast<uint8_t>(slot);
  return p;
}

Path Child(Path p, uint8_t name) {
  if (p.n < kMaxComps) p.comp[p.n++] = name;
  return p;
}

Path Here(uint8_t name) {
  Path p;
  p.n = 1;
  p.comp[0] = name;
  return p;
}

}  // namespace

Op Gen::Make(Kind kind, int ident, const Path& p) {
  Op op;
  op.kind = kind;
  op.ident = static_cast<uint8_t>(ident);
  op.p = p;
  return op;
}

// With the descriptor as the object: as slot, and as path where that is read.
Op Gen::MakeFd(Kind kind, int ident, int slot) {
  Op op = Make(kind, ident, Path());
  if (UsesSlot(kind)) {
    op.slot = static_cast<uint8_t>(slot);
  } else {
    op.p = FdPath(slot);
  }
  op.val = static_cast<uint32_t>(Random()) & 0xffff;
  op.n = PickSize();
  return op;
}

void Gen::Script() {
  switch (Below(11)) {
    case 0:
      return ScriptRemovedCwd();
    case 1:
      return ScriptIflags();
    case 2:
      return ScriptUnlinkedOpen();
    case 3:
      return ScriptTmpfile();
    case 4:
      return ScriptLocks();
    case 5:
      return ScriptSuid();
    case 6:
      return ScriptAclInherit();
    case 7:
      return ScriptAppend();
    case 8:
      return ScriptSparse();
    case 9:
      return ScriptRenameOpen();
    default:
      return ScriptSticky();
  }
}

void Gen::ScriptRemovedCwd() {
  int who = PickIdent();
  Path dir = PickPath(Want::kNew);
  Op op = Make(Kind::kMkdir, 0, dir);
  op.mode = 0777;
  Add(op);
  Add(Make(Kind::kChdir, who, dir));
  Add(Make(Kind::kGetcwd, who, Path()));
  Add(Make(Kind::kRmdir, 0, dir));
  Path dot = Here(static_cast<uint8_t>(kDot));
  for (int i = 0; i < 6; i++) {
    static const Kind kKinds[] = {Kind::kStat,  Kind::kListdir, Kind::kOpen,
                                  Kind::kMkdir, Kind::kGetcwd,  Kind::kChmod,
                                  Kind::kAccess};
    op = Make(Pick(kKinds), who, dot);
    op.n = 65536;
    op.mode = 0755;
    if (op.kind == Kind::kOpen) op.flags = O_DIRECTORY;
    if (op.kind == Kind::kMkdir) op.p = Here(PickName(true));
    if (op.kind == Kind::kGetcwd) op.p = Path();
    Add(op);
  }
  Add(Make(Kind::kStat, who, Here(static_cast<uint8_t>(kDotDot))));
  Path root;
  root.base = Base::kAbs;
  Add(Make(Kind::kChdir, who, root));
}

void Gen::ScriptIflags() {
  static const uint32_t kFlags[] = {FS_NOATIME_FL, FS_NODUMP_FL, FS_APPEND_FL,
                                    FS_IMMUTABLE_FL, FS_IMMUTABLE_FL};
  Path p = PickPath(Chance(70) ? Want::kFile : Want::kDir);
  Op op = Make(Kind::kSetflags, 0, p);
  op.flags = Pick(kFlags);
  Add(op);
  for (int i = 0; i < 5; i++) {
    static const Kind kKinds[] = {
        Kind::kOpen,  Kind::kUnlink,   Kind::kRename,   Kind::kChmod,
        Kind::kLink,  Kind::kSetxattr, Kind::kTruncate, Kind::kGetflags,
        Kind::kWrite, Kind::kChown,    Kind::kUtimens,  Kind::kStatx};
    op = Random(Pick(kKinds));
    if (!UsesSlot(op.kind) || op.kind == Kind::kOpen) op.p = p;
    if (Chance(60)) op.ident = 0;
    Add(op);
  }
  Add(Make(Kind::kSetflags, 0, p));
}

void Gen::ScriptUnlinkedOpen() {
  int who = PickIdent();
  Path p = PickPath(Want::kNew);
  Op op = MakeFd(Kind::kOpen, who, 0);
  op.val = op.n = 0;
  op.p = p;
  op.flags = O_CREAT | O_RDWR;
  op.mode = PickMode(false) | 0600;
  Add(op);
  Add(MakeFd(Kind::kWrite, who, 0));
  if (Chance(30)) {
    op = Make(Kind::kLink, who, p);
    op.q = PickPath(Want::kNew);
    Add(op);
  }
  Add(Make(Kind::kUnlink, 0, p));
  for (int i = 0; i < 6; i++) {
    static const Kind kKinds[] = {
        Kind::kPread,    Kind::kStat,     Kind::kStatx,    Kind::kTruncate,
        Kind::kChmod,    Kind::kSetxattr, Kind::kGetxattr, Kind::kPwrite,
        Kind::kLinkProc, Kind::kReopen,   Kind::kChown,    Kind::kMmap,
        Kind::kUtimens};
    op = Random(Pick(kKinds));
    if (UsesSlot(op.kind)) {
      op.slot = 0;
    } else {
      op.p = FdPath(0);
      op.flags &= ~kNoFollow;
    }
    op.ident = static_cast<uint8_t>(who);
    Add(op);
  }
  Add(Make(Kind::kStat, who, p));
  if (Chance(60)) Add(Make(Kind::kClose, who, Path()));
}

void Gen::ScriptTmpfile() {
  int who = PickIdent();
  Op op = Make(Kind::kOpen, who, PickPath(Want::kDir));
  op.slot = 1;
  op.flags = O_TMPFILE | O_RDWR;
  op.mode = PickMode(false);
  Add(op);
  Add(MakeFd(Kind::kPwrite, who, 1));
  Add(MakeFd(Kind::kStat, who, 1));
  Path q = PickPath(Want::kNew);
  op = Make(Chance(70) ? Kind::kLinkProc : Kind::kLinkEmpty, who, Path());
  op.slot = 1;
  op.q = q;
  Add(op);
  Add(Make(Kind::kStat, PickIdent(), q));
  Add(MakeFd(Kind::kWrite, who, 1));
}

void Gen::ScriptLocks() {
  int a = PickIdent(), b = (a + 1 + static_cast<int>(Below(3))) % kIdents;
  Path p = PickPath(Want::kFile);
  Op op = Make(Kind::kChmod, 0, p);
  op.mode = 0666;
  Add(op);
  for (int who : {a, b}) {
    for (uint8_t slot = 2; slot < 4; slot++) {
      op = Make(Kind::kOpen, who, p);
      op.slot = slot;
      op.flags = O_RDWR;
      Add(op);
    }
  }
  for (int i = 0; i < 10; i++) {
    Kind kind = Chance(75) ? Kind::kLock : Kind::kFlock;
    op = Make(kind, Chance(50) ? a : b, Path());
    op.slot = static_cast<uint8_t>(2 + Below(2));
    op.flags = Below(4);
    op.val = Below(3);
    op.off = Below(50);
    op.n = Below(50);
    if (op.kind == Kind::kFlock) {
      static const uint32_t kHow[] = {LOCK_SH, LOCK_EX, LOCK_UN};
      op = Make(Kind::kFlock, op.ident, Path());
      op.slot = static_cast<uint8_t>(2 + Below(2));
      op.flags = Pick(kHow);
    } else if (Chance(10)) {
      // Closing any descriptor drops the process's record locks.
      uint8_t slot = op.slot;
      op = Make(Kind::kClose, op.ident, Path());
      op.slot = slot;
    }
    Add(op);
  }
}

void Gen::ScriptSuid() {
  int who = PickIdent();
  Path p = PickPath(Want::kFile);
  static const uint32_t kModes[] = {06777, 04777, 02777, 02767, 06666, 02747};
  Op op = Make(Kind::kChmod, 0, p);
  op.mode = Pick(kModes);
  Add(op);
  if (Chance(40)) {
    op = Make(Kind::kSetxattr, 0, p);
    op.mode = 5;
    op.val = Below(60);
    Add(op);
  }
  op = Make(Kind::kOpen, who, p);
  op.slot = 4;
  op.flags = O_RDWR | (Chance(15) ? O_TRUNC : 0);
  Add(op);
  static const Kind kKinds[] = {Kind::kWrite, Kind::kTruncate,  Kind::kChown,
                                Kind::kMmap,  Kind::kFallocate, Kind::kPwrite};
  for (int i = 0; i < 2; i++) {
    op = MakeFd(Pick(kKinds), who, 4);
    if (op.kind == Kind::kChown) op.val = (op.val % 7) | ((op.n % 7) << 8);
    Add(op);
    Add(Make(Kind::kStat, PickIdent(), p));
  }
  op = Make(Kind::kGetxattr, 0, p);
  op.mode = 5;
  op.n = 100;
  Add(op);
}

void Gen::ScriptAclInherit() {
  Path dir = PickPath(Want::kDir);
  Op op = Make(Kind::kChmod, 0, dir);
  op.mode = 0777;
  Add(op);
  op = Make(Kind::kSetxattr, 0, dir);
  op.mode = Chance(80) ? 7 : 6;
  op.val = (static_cast<uint32_t>(Random()) & 0xffff) | 0600;
  Add(op);
  for (int i = 0; i < 3; i++) {
    int who = PickIdent();
    Path p = Child(dir, PickName(true));
    static const Kind kKinds[] = {Kind::kMkdir, Kind::kOpen, Kind::kMknod,
                                  Kind::kSymlink};
    op = Make(Pick(kKinds), who, p);
    op.mode = PickMode(op.kind == Kind::kMkdir);
    if (op.kind == Kind::kOpen) op.flags = O_CREAT | O_RDWR;
    op.slot = op.kind == Kind::kOpen ? 5 : 0;
    if (op.kind == Kind::kSymlink) op.q = PickPath(Want::kAny);
    Add(op);
    Add(Make(Kind::kStat, who, p));
    op = Make(Kind::kGetxattr, PickIdent(), p);
    op.mode = Chance(50) ? 6 : 7;
    op.n = 1000;
    Add(op);
    op = Make(Kind::kAccess, PickIdent(), p);
    op.mode = Below(8);
    Add(op);
  }
}

void Gen::ScriptAppend() {
  int who = PickIdent();
  Path p = PickPath(Chance(50) ? Want::kNew : Want::kFile);
  for (uint8_t slot = 0; slot < 2; slot++) {
    Op op = Make(Kind::kOpen, who, p);
    op.slot = slot;
    op.flags = O_CREAT | O_RDWR | (slot == 1 || Chance(50) ? O_APPEND : 0);
    op.mode = 0666;
    Add(op);
  }
  for (int i = 0; i < 6; i++) {
    static const Kind kKinds[] = {Kind::kWrite, Kind::kPwrite, Kind::kWritev,
                                  Kind::kRead,  Kind::kSetfl,  Kind::kTruncate,
                                  Kind::kStat};
    Kind kind = Pick(kKinds);
    Op op = MakeFd(kind, who, static_cast<int>(Below(2)));
    if (op.kind == Kind::kPwrite || op.kind == Kind::kTruncate) {
      op.off = Below(5000);
    }
    if (op.kind == Kind::kSetfl) op.flags = Chance(50) ? O_APPEND : 0;
    Add(op);
  }
}

void Gen::ScriptSparse() {
  int who = PickIdent();
  Op op = Make(Kind::kOpen, who, PickPath(Want::kNew));
  op.slot = 3;
  op.flags = O_CREAT | O_RDWR | O_TRUNC;
  op.mode = 0666;
  Add(op);
  op = MakeFd(Kind::kTruncate, who, 3);
  op.off = 4096 * static_cast<int64_t>(1 + Below(60));
  Add(op);
  for (int i = 0; i < 7; i++) {
    static const Kind kKinds[] = {Kind::kPwrite, Kind::kFallocate, Kind::kLseek,
                                  Kind::kPread,  Kind::kCopyRange, Kind::kMmap};
    static const uint32_t kFalloc[] = {3, 3, 17, 16, 8, 32, 0};
    op = MakeFd(Pick(kKinds), who, 3);
    op.off = 4096 * static_cast<int64_t>(Below(60)) + (Chance(30) ? 17 : 0);
    if (op.kind == Kind::kFallocate) op.flags = Pick(kFalloc);
    if (op.kind == Kind::kLseek) op.flags = 3 + Below(2);
    if (op.kind == Kind::kCopyRange) {
      op.slot2 = 3;
      op.off2 = 4096 * static_cast<int64_t>(Below(60));
    }
    if (op.kind == Kind::kFallocate && (op.flags & (8 | 32)) != 0) {
      op.off &= ~4095LL;
      op.n = 4096;
    }
    Add(op);
  }
}

void Gen::ScriptRenameOpen() {
  int who = PickIdent();
  Path from = PickPath(Want::kFile);
  Path to = PickPath(Want::kFile);
  for (uint8_t slot = 4; slot < 6; slot++) {
    Op op = Make(Kind::kOpen, who, slot == 4 ? from : to);
    op.slot = slot;
    op.flags = O_RDWR;
    Add(op);
  }
  static const uint32_t kFlags[] = {0, 0, RENAME_EXCHANGE, RENAME_WHITEOUT};
  Op op = Make(Kind::kRename, Chance(60) ? 0 : who, from);
  op.q = to;
  op.flags = Pick(kFlags);
  Add(op);
  for (int slot = 4; slot < 6; slot++) {
    Add(MakeFd(Kind::kStat, who, slot));
    Add(MakeFd(Kind::kPwrite, who, slot));
  }
  Add(Make(Kind::kStat, who, from));
  Add(Make(Kind::kStat, who, to));
}

void Gen::ScriptSticky() {
  Path dir = PickPath(Want::kNew);
  Op op = Make(Kind::kMkdir, 0, dir);
  op.mode = 01777;
  Add(op);
  op = Make(Kind::kChmod, 0, dir);
  op.mode = 01777;
  Add(op);
  for (int i = 0; i < 7; i++) {
    Path p = Child(dir, PickName(true));
    static const Kind kKinds[] = {Kind::kOpen,  Kind::kMkdir,  Kind::kUnlink,
                                  Kind::kRmdir, Kind::kRename, Kind::kOpen,
                                  Kind::kLink};
    int who = PickIdent();
    op = Make(Pick(kKinds), who, p);
    op.mode = 0666;
    if (op.kind == Kind::kOpen) op.flags = O_CREAT | O_RDWR;
    if (UsesSecondPath(op.kind)) op.q = Child(dir, PickName(true));
    Add(op);
  }
}

}  // namespace oracle
