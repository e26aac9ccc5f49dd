// One random step of each kind.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "gen.h"

namespace oracle {

Op Gen::Random(Kind kind) {
  Op op;
  op.kind = kind;
  op.ident = PickIdent();
  op.val = static_cast<uint32_t>(Random()) & 0xffff;
  if (kind == Kind::kOpen) {
    FillOpen(&op);
  } else if (UsesSlot(kind) && !UsesSecondPath(kind)) {
    FillIo(&op);
  } else if (kind >= Kind::kSetxattr && kind <= Kind::kRmxattr) {
    FillXattr(&op);
  } else if (UsesSecondPath(kind) ||
             (kind >= Kind::kMkdir && kind <= Kind::kUnlink)) {
    FillNames(&op);
  } else {
    FillMeta(&op);
  }
  return op;
}

void Gen::FillOpen(Op* op) {
  static const uint32_t kAccess[] = {O_RDONLY, O_RDONLY, O_WRONLY, O_RDWR,
                                     O_RDWR,   O_RDWR,   O_RDWR};
  op->val = 0;
  op->slot = static_cast<uint8_t>(Below(kSlots));
  op->flags = Pick(kAccess);
  op->mode = PickMode(false);
  Want want = Chance(75) ? Want::kFile : Want::kAny;
  if (Chance(40)) {
    op->flags |= O_CREAT;
    if (Chance(60)) want = Want::kNew;
    if (Chance(15)) op->flags |= O_EXCL;
  }
  if (Chance(10)) op->flags |= O_TRUNC;
  if (Chance(8)) op->flags |= O_NOFOLLOW;
  if (Chance(5)) op->flags |= O_PATH;
  if (Chance(4)) op->flags |= O_NOATIME;
  if (Below(200) == 0) op->flags |= Chance(50) ? O_SYNC : O_DSYNC;
  if (Chance(12)) {
    op->flags |= O_APPEND;
  } else if (Chance(5)) {
    op->flags |= O_DIRECT;
  }
  if (Chance(12)) {
    want = Want::kDir;
    op->flags &= ~static_cast<uint32_t>(O_CREAT | O_EXCL | O_TRUNC | O_DIRECT);
    if (Chance(25)) {
      op->flags = O_TMPFILE | (Chance(80) ? O_RDWR : O_WRONLY);
      if (Chance(20)) op->flags |= O_EXCL;
    } else {
      op->flags = (op->flags & ~static_cast<uint32_t>(O_ACCMODE)) | O_DIRECTORY;
    }
  }
  if ((op->flags & (O_CREAT | O_TMPFILE)) == 0) op->mode = 0;
  op->p = PickTarget(op, want, false);
}

void Gen::FillIo(Op* op) {
  static const uint32_t kFalloc[] = {0, 0, 1, 3, 3, 16, 17, 8, 32, 2};
  PickOpen(op, State::kFile);
  op->n = PickSize();
  op->off = PickOffset();
  switch (op->kind) {
    case Kind::kReopen:
      op->slot2 = static_cast<uint8_t>(Below(kSlots));
      op->flags = Below(3);
      if (Chance(15)) op->flags |= O_APPEND;
      if (Chance(10)) op->flags |= O_TRUNC;
      op->val = op->n = 0;
      op->off = 0;
      break;
    case Kind::kClose:
    case Kind::kFsync:
      op->flags = op->kind == Kind::kFsync && Chance(50) ? kVariant : 0;
      op->val = op->n = 0;
      op->off = 0;
      break;
    case Kind::kRead:
    case Kind::kReadv:
    case Kind::kWrite:
    case Kind::kWritev:
      op->off = 0;
      break;
    case Kind::kLseek:
      op->flags = Below(5);
      op->val = op->n = 0;
      break;
    case Kind::kFallocate:
      op->flags = Pick(kFalloc);
      op->val = 0;
      if (op->off > (4 << 20)) op->off = 0;
      if ((op->flags & (8 | 32)) != 0 && Chance(85)) {
        op->off &= ~4095LL;
        op->n = 4096 * (1 + Below(4));
      }
      break;
    case Kind::kMmap:
      if (op->off < 0 || op->off > (4 << 20)) op->off = 0;
      if (Chance(30)) op->flags = kVariant;
      if (Chance(30)) op->flags |= 1;
      break;
    case Kind::kCopyRange:
    case Kind::kSendfile:
      op->slot2 = PickSlot(op->ident, State::kFile);
      op->val = 0;
      if (Chance(30)) op->off = -1;
      if (op->kind == Kind::kCopyRange) {
        op->off2 = Chance(30) ? -1 : PickOffset();
      }
      break;
    case Kind::kLock:
      op->flags = Below(4);
      op->val = Below(3);
      op->off = Below(100);
      op->n = Below(100);
      break;
    case Kind::kFlock: {
      static const uint32_t kHow[] = {LOCK_SH, LOCK_EX, LOCK_UN};
      op->flags = Pick(kHow);
      op->val = op->n = 0;
      op->off = 0;
      break;
    }
    case Kind::kSetfl:
      if (Chance(50)) op->flags |= O_APPEND;
      if (Chance(15)) op->flags |= O_NOATIME;
      op->val = op->n = 0;
      op->off = 0;
      break;
    default:
      break;
  }
  if (op->kind == Kind::kRead || op->kind == Kind::kPread ||
      op->kind == Kind::kReadv) {
    op->val = 0;
  }
}

void Gen::FillNames(Op* op) {
  static const uint32_t kTypes[] = {S_IFIFO, S_IFSOCK, S_IFCHR,
                                    S_IFBLK, S_IFREG,  0};
  uint32_t val = op->val;
  op->val = 0;
  switch (op->kind) {
    case Kind::kMkdir:
      op->mode = PickMode(true);
      op->p = PickTarget(op, Want::kNew, false);
      break;
    case Kind::kRmdir:
      op->p = PickTarget(op, Want::kDir, false);
      break;
    case Kind::kMknod:
      op->mode = PickMode(false) | Pick(kTypes);
      op->val = val & 3;
      op->p = PickTarget(op, Want::kNew, false);
      break;
    case Kind::kSymlink:
      op->p = PickTarget(op, Want::kNew, false);
      op->q = PickPath(Chance(70) ? Want::kAny : Want::kNew);
      if (Chance(50)) op->q.base = Base::kCwd;
      break;
    case Kind::kReadlink:
      op->p = PickTarget(op, Want::kLink, true);
      if (Chance(20)) op->n = 1 + Below(6);
      break;
    case Kind::kLink:
      if (Chance(30)) op->flags = kVariant;
      op->p = PickTarget(op, Chance(70) ? Want::kFile : Want::kAny, false);
      op->q = PickTarget(op, Want::kNew, false);
      break;
    case Kind::kLinkProc:
    case Kind::kLinkEmpty:
      PickOpen(op, State::kFile);
      op->q = PickTarget(op, Want::kNew, false);
      break;
    case Kind::kUnlink:
      op->p = PickTarget(op, Chance(80) ? Want::kFile : Want::kAny, false);
      break;
    case Kind::kRename: {
      static const uint32_t kFlags[] = {0, 0, 0, 0, 1, 2, 2, 4, 3, 5};
      op->flags = Pick(kFlags);
      op->p = PickTarget(op, Want::kAny, false);
      Want to = Chance(50) ? Want::kNew : Want::kAny;
      op->q = PickTarget(op, to, false);
      break;
    }
    default:
      break;
  }
}

void Gen::FillMeta(Op* op) {
  uint32_t val = op->val;
  op->val = 0;
  bool dir = Chance(35);
  Want want = dir ? Want::kDir : Chance(70) ? Want::kFile : Want::kAny;
  switch (op->kind) {
    case Kind::kTruncate:
      op->off = PickOffset();
      op->p = PickTarget(op, Want::kFile, true);
      return;
    case Kind::kStat:
    case Kind::kStatx:
      if (Chance(50)) op->flags |= kNoFollow;
      if (Chance(30)) op->flags |= kVariant;
      break;
    case Kind::kChmod:
    case Kind::kChmod2:
      op->mode = PickMode(dir);
      if (op->kind == Kind::kChmod2 && Chance(60)) op->flags = kNoFollow;
      break;
    case Kind::kChown:
      op->val = (val % 7) | (((val >> 4) % 7) << 8);
      if (Chance(40)) op->flags |= kNoFollow;
      if (Chance(20)) op->flags |= kVariant;
      break;
    case Kind::kUtimens:
      op->val = val & 0x77;
      if (Chance(10)) op->val = 0x100;
      if (Chance(40)) op->flags |= kNoFollow;
      if (Chance(20)) op->flags |= kVariant;
      break;
    case Kind::kAccess:
      op->mode = Below(8);
      if (Chance(30)) op->flags |= kNoFollow;
      if (Chance(30)) op->flags |= kVariant;
      break;
    case Kind::kChdir:
      op->p = PickTarget(op, Want::kDir, true);
      if (Chance(35)) op->p = Path{Base::kAbs, 0, 0, 0, {}};
      return;
    case Kind::kListdir:
      op->n = Chance(50) ? 400 + Below(200) : 65536;
      op->p = PickTarget(op, Want::kDir, false);
      if (Chance(35)) {
        PickOpen(op, State::kDir);
        op->p = Path{Base::kSlot, op->slot, 0, 0, {}};
        op->slot = 0;
      }
      return;
    case Kind::kUmask: {
      static const uint32_t kMasks[] = {0, 0, 022, 077, 027, 007, 0777};
      op->mode = Pick(kMasks);
      return;
    }
    case Kind::kGetcwd:
      return;
    default:
      break;
  }
  op->p = PickTarget(op, want, true);
  // Following is the only form there is for these.
  if (op->p.IsFd()) op->flags &= ~kNoFollow;
}

void Gen::FillXattr(Op* op) {
  static const uint32_t kNames[] = {0, 0, 0, 1, 2, 3, 4, 5,
                                    6, 6, 6, 7, 7, 8, 9, 10};
  static const uint32_t kSizes[] = {0,  1,   8,    20,   32,    100,
                                    20, 300, 1000, 4000, 65536, 65537};
  op->mode = Pick(kNames);
  bool acl = op->mode == 6 || op->mode == 7;
  if (op->mode == 5 && Chance(80)) op->ident = 0;
  uint32_t val = op->val;
  op->val = 0;
  switch (op->kind) {
    case Kind::kSetxattr:
      op->val = acl && Chance(60) ? val | 0600 : val;
      op->n = Pick(kSizes);
      if (acl) {
        op->n = 0;
        if (Chance(10)) op->val |= (1 + Below(7)) << 16;
      } else if (Chance(20)) {
        op->flags = 1 + Below(3);
      }
      break;
    case Kind::kGetxattr:
      op->n = Chance(70) ? 65536 : Chance(50) ? 0 : Pick(kSizes);
      break;
    case Kind::kListxattr:
      op->mode = 0;
      op->n = Chance(70) ? 65536 : Chance(50) ? 0 : 8;
      break;
    default:
      break;
  }
  if (Chance(30)) op->flags |= kNoFollow;
  Want want = op->mode == 7 || Chance(25) ? Want::kDir : Want::kFile;
  op->p = PickTarget(op, Chance(90) ? want : Want::kAny, true);
  // There is no setxattrat in the kernels this has to run on.
  if (op->p.base == Base::kSlot && op->p.n > 0) op->p.base = Base::kCwd;
}

}  // namespace oracle
