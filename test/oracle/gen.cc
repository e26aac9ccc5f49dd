#include "gen.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace oracle {

namespace {

struct Weight {
  Kind kind;
  uint32_t weight;
};

const Weight kWeights[] = {
    {Kind::kOpen, 16},    {Kind::kReopen, 2},    {Kind::kClose, 3},
    {Kind::kRead, 5},     {Kind::kPread, 5},     {Kind::kReadv, 2},
    {Kind::kWrite, 7},    {Kind::kPwrite, 7},    {Kind::kWritev, 3},
    {Kind::kLseek, 3},    {Kind::kTruncate, 5},  {Kind::kFallocate, 4},
    {Kind::kMmap, 4},     {Kind::kCopyRange, 2}, {Kind::kSendfile, 2},
    {Kind::kFsync, 1},    {Kind::kStat, 8},      {Kind::kStatx, 3},
    {Kind::kMkdir, 7},    {Kind::kRmdir, 4},     {Kind::kMknod, 3},
    {Kind::kSymlink, 4},  {Kind::kReadlink, 3},  {Kind::kLink, 5},
    {Kind::kLinkProc, 2}, {Kind::kLinkEmpty, 1}, {Kind::kUnlink, 6},
    {Kind::kRename, 8},   {Kind::kChmod, 5},     {Kind::kChmod2, 2},
    {Kind::kChown, 5},    {Kind::kUtimens, 5},   {Kind::kSetxattr, 7},
    {Kind::kGetxattr, 4}, {Kind::kListxattr, 2}, {Kind::kRmxattr, 3},
    {Kind::kAccess, 4},   {Kind::kChdir, 3},     {Kind::kGetcwd, 1},
    {Kind::kListdir, 4},  {Kind::kLock, 3},      {Kind::kFlock, 2},
    {Kind::kSetfl, 2},    {Kind::kGetflags, 1},  {Kind::kFsgetxattr, 1},
    {Kind::kStatfs, 1},   {Kind::kUmask, 1},
};

void Collect(int fd, const Path& at, std::vector<LiveEntry>* out) {
  DIR* d = fdopendir(fd);
  if (d == nullptr) {
    close(fd);
    return;
  }
  std::vector<std::pair<int, char>> entries;
  while (dirent* e = readdir(d)) {
    std::string name = e->d_name;
    if (name == "." || name == "..") continue;
    struct stat st;
    int i = FindNameBytes(name);
    if (i < 0 || fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
      continue;
    char type = S_ISREG(st.st_mode)   ? 'f'
                : S_ISDIR(st.st_mode) ? 'd'
                : S_ISLNK(st.st_mode) ? 'l'
                                      : 'o';
    entries.emplace_back(i, type);
  }
  std::sort(entries.begin(), entries.end());
  for (auto [i, type] : entries) {
    Path p = at;
    p.comp[p.n++] = static_cast<uint8_t>(i);
    out->push_back({p, type});
    if (type != 'd' || p.n >= kMaxComps - 1) continue;
    int sub =
        openat(fd, NameBytes(i).c_str(),
               O_RDONLY | O_DIRECTORY | O_NOATIME | O_NOFOLLOW | O_CLOEXEC);
    if (sub >= 0) Collect(sub, p, out);
  }
  closedir(d);
}

}  // namespace

std::vector<LiveEntry> ListLive(const std::string& dir) {
  std::vector<LiveEntry> out;
  Path root;
  root.base = Base::kAbs;
  int fd = open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_NOATIME | O_CLOEXEC);
  if (fd >= 0) Collect(fd, root, &out);
  return out;
}

uint64_t Gen::Random() {
  uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

uint8_t Gen::PickIdent() {
  uint32_t r = Below(100);
  return r < 45 ? 0 : r < 72 ? 1 : r < 88 ? 2 : 3;
}

uint8_t Gen::PickName(bool plain) {
  uint32_t n = plain ? static_cast<uint32_t>(kNormalNames)
                     : static_cast<uint32_t>(NameCount());
  return static_cast<uint8_t>(Below(n));
}

uint8_t Gen::PickSlot(int ident, State want) {
  uint8_t found[kSlots];
  uint32_t n = 0;
  for (uint8_t i = 0; i < kSlots; i++) {
    if (open_[ident][i] == want) found[n++] = i;
  }
  if (n == 0 || Chance(4)) return static_cast<uint8_t>(Below(kSlots));
  return found[Below(n)];
}

// Moves the step to an identity which has such a descriptor, if any has.
void Gen::PickOpen(Op* op, State want) {
  for (int i = 0; i < kIdents; i++) {
    int ident = (op->ident + i) % kIdents;
    for (State s : open_[ident]) {
      if (s != want) continue;
      op->ident = static_cast<uint8_t>(ident);
      op->slot = PickSlot(ident, want);
      return;
    }
  }
  op->slot = static_cast<uint8_t>(Below(kSlots));
}

Path Gen::PickPath(Want want) {
  Path p;
  p.base = Base::kAbs;
  if (Chance(4)) {
    p.n = static_cast<uint8_t>(Below(4));
    for (int i = 0; i < p.n; i++) p.comp[i] = PickName(false);
    return p;
  }
  std::vector<const Path*> found;
  char type = want == Want::kFile   ? 'f'
              : want == Want::kLink ? 'l'
              : want == Want::kAny  ? 0
                                    : 'd';
  for (const LiveEntry& e : live_) {
    if (type == 0 || e.type == type) found.push_back(&e.path);
  }
  bool fresh = want == Want::kNew || Chance(8);
  if (!fresh && !found.empty()) return *found[Below(found.size())];
  if (want == Want::kDir && !fresh) return p;
  // A name in a directory, which mostly does not exist yet.
  if (want == Want::kNew && !found.empty() && Chance(70)) {
    p = *found[Below(found.size())];
  }
  if (p.n < kMaxComps) p.comp[p.n++] = PickName(Chance(88));
  return p;
}

Path Gen::Rebase(const Op& op, Path p, bool fd_form) {
  uint32_t r = Below(100);
  if (fd_form && r < 22) {
    State want = Chance(70) ? State::kFile : State::kDir;
    Path fd;
    fd.base = Base::kSlot;
    fd.slot = PickSlot(op.ident, want);
    return fd;
  }
  if (r < 30 && p.n > 0) {
    Path at;
    at.base = Base::kSlot;
    at.slot = PickSlot(op.ident, State::kDir);
    at.n = 1;
    at.comp[0] = p.comp[p.n - 1];
    // Without a directory open this would only ever give EBADF.
    if (open_[op.ident][at.slot] == State::kDir) return at;
  }
  if (r < 55) p.base = Base::kCwd;
  if (Chance(2)) p.slash = 1;
  if (p.n > 0 && p.n + 2 <= kMaxComps && Chance(3)) {
    p.comp[p.n] = static_cast<uint8_t>(kDotDot);
    p.comp[p.n + 1] = PickName(true);
    p.n = static_cast<uint8_t>(p.n + 2);
  }
  return p;
}

Path Gen::PickTarget(Op* op, Want want, bool fd_form) {
  return Rebase(*op, PickPath(want), fd_form);
}

uint32_t Gen::PickSize() {
  uint32_t r = Below(100);
  if (r < 30) return 1 + Below(100);
  if (r < 70) return 100 + Below(5000);
  if (r < 90) return 4096 * (1 + Below(8));
  if (r < 98) return Below(70000);
  return Below(300000);
}

int64_t Gen::PickOffset() {
  uint32_t r = Below(1000);
  if (r < 250) return 0;
  if (r < 750) return Below(10000);
  if (r < 900) return 4096 * static_cast<int64_t>(Below(16));
  if (r < 980) return Below(300000);
  if (r < 990) return Below(4 << 20);
  if (r < 996) return -1 - static_cast<int64_t>(Below(100));
  if (r < 998) return INT64_MAX - Below(5000);
  return (1LL << (41 + Below(21))) + Below(3);
}

uint32_t Gen::PickMode(bool dir) {
  static const uint32_t kFileModes[] = {0644,  0666,  0600,  0755, 0640,  0444,
                                        0000,  0777,  0060,  0006, 04755, 02755,
                                        06777, 02644, 01666, 0200, 0100};
  static const uint32_t kDirModes[] = {0777,  0777, 0755, 0750, 0700,
                                       02777, 0775, 0770, 0555, 01777,
                                       02775, 0711, 0000, 0333};
  return dir ? Pick(kDirModes) : Pick(kFileModes);
}

uint8_t Gen::PickObs() {
  uint8_t obs = 0;
  if (Chance(55)) obs |= kObsStat;
  if (Chance(5)) obs |= kObsList;
  if (Chance(5)) obs |= kObsXattr;
  if (Below(64) == 0) obs |= kObsWalk;
  if (times_ > 0 && Below(static_cast<uint32_t>(times_)) == 0) {
    obs |= kObsTimes | kObsStat;
  }
  return obs;
}

Kind Gen::PickKind() {
  uint32_t total = 0;
  for (const Weight& w : kWeights) {
    if ((kinds_ >> static_cast<int>(w.kind)) & 1) total += w.weight;
  }
  uint32_t r = Below(total);
  for (const Weight& w : kWeights) {
    if (((kinds_ >> static_cast<int>(w.kind)) & 1) == 0) continue;
    if (r < w.weight) return w.kind;
    r -= w.weight;
  }
  return Kind::kStat;
}

Op Gen::Next() {
  if (!started_) {
    started_ = true;
    Op umask = Make(Kind::kUmask, 0, Path());
    Add(umask);
    for (int i = 0; i < 5; i++) {
      Path p = PickPath(Want::kNew);
      Op op = Make(i < 3 ? Kind::kMkdir : Kind::kOpen, 0, p);
      op.mode = i < 3 ? 0777 : 0666;
      op.flags = i < 3 ? 0 : O_CREAT | O_RDWR;
      op.slot = static_cast<uint8_t>(i);
      Add(op);
    }
  }
  for (int tries = 0; tries < 1000; tries++) {
    if (queue_.empty() && Chance(3)) Script();
    Op op;
    if (!queue_.empty()) {
      op = queue_.front();
      queue_.pop_front();
      if (((kinds_ >> static_cast<int>(op.kind)) & 1) == 0) continue;
    } else {
      op = Random(PickKind());
    }
    if (quirks_.Drops(op, flags_[op.ident][op.slot])) continue;
    op.obs = PickObs();
    return op;
  }
  return Op();
}

void Gen::Feedback(const Op& op, int64_t ret) {
  if (op.kind == Kind::kClose) open_[op.ident][op.slot] = State::kClosed;
  if (op.kind == Kind::kReopen) {
    open_[op.ident][op.slot2] =
        ret < 0 ? State::kClosed : open_[op.ident][op.slot];
    flags_[op.ident][op.slot2] = op.flags;
  }
  if (op.kind != Kind::kOpen) return;
  flags_[op.ident][op.slot] = op.flags;
  State s = State::kFile;
  if ((op.flags & O_PATH) != 0) s = State::kPath;
  if ((op.flags & O_TMPFILE) == O_DIRECTORY) s = State::kDir;
  for (const LiveEntry& e : live_) {
    if (e.type == 'd' && e.path == op.p && s == State::kFile) s = State::kDir;
  }
  open_[op.ident][op.slot] = ret < 0 ? State::kClosed : s;
}

}  // namespace oracle
