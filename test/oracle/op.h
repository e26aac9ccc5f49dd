// One step of a differential run, as a plain struct of small integers.
#ifndef HANDLEFS_TEST_ORACLE_OP_H_
#define HANDLEFS_TEST_ORACLE_OP_H_

#include <cstdint>
#include <string>
#include <vector>

namespace oracle {

// Every kind with its name in the replay format.
#define ORACLE_KINDS(X)        \
  X(kOpen, "open")             \
  X(kReopen, "reopen")         \
  X(kClose, "close")           \
  X(kRead, "read")             \
  X(kPread, "pread")           \
  X(kReadv, "readv")           \
  X(kWrite, "write")           \
  X(kPwrite, "pwrite")         \
  X(kWritev, "writev")         \
  X(kLseek, "lseek")           \
  X(kTruncate, "truncate")     \
  X(kFallocate, "fallocate")   \
  X(kMmap, "mmap")             \
  X(kCopyRange, "copyrange")   \
  X(kSendfile, "sendfile")     \
  X(kFsync, "fsync")           \
  X(kStat, "stat")             \
  X(kStatx, "statx")           \
  X(kMkdir, "mkdir")           \
  X(kRmdir, "rmdir")           \
  X(kMknod, "mknod")           \
  X(kSymlink, "symlink")       \
  X(kReadlink, "readlink")     \
  X(kLink, "link")             \
  X(kLinkProc, "linkproc")     \
  X(kLinkEmpty, "linkempty")   \
  X(kUnlink, "unlink")         \
  X(kRename, "rename")         \
  X(kChmod, "chmod")           \
  X(kChmod2, "chmod2")         \
  X(kChown, "chown")           \
  X(kUtimens, "utimens")       \
  X(kSetxattr, "setxattr")     \
  X(kGetxattr, "getxattr")     \
  X(kListxattr, "listxattr")   \
  X(kRmxattr, "rmxattr")       \
  X(kAccess, "access")         \
  X(kChdir, "chdir")           \
  X(kGetcwd, "getcwd")         \
  X(kListdir, "listdir")       \
  X(kLock, "lock")             \
  X(kFlock, "flock")           \
  X(kSetfl, "setfl")           \
  X(kGetflags, "getflags")     \
  X(kSetflags, "setflags")     \
  X(kFsgetxattr, "fsgetxattr") \
  X(kStatfs, "statfs")         \
  X(kUmask, "umask")

enum class Kind : uint8_t {
#define X(id, name) id,
  ORACLE_KINDS(X)
#undef X
      kCount
};
constexpr int kKinds = static_cast<int>(Kind::kCount);

enum class Base : uint8_t { kCwd, kAbs, kSlot };

constexpr int kMaxComps = 6;

// A path of name-table indexes. Base kSlot with no component names the
// descriptor itself, so one kind covers chmod and fchmod.
struct Path {
  Base base = Base::kCwd;
  uint8_t slot = 0;
  uint8_t n = 0;
  uint8_t slash = 0;
  uint8_t comp[kMaxComps] = {};

  bool IsFd() const { return base == Base::kSlot && n == 0; }
  bool operator==(const Path&) const = default;
};

enum Obs : uint8_t {
  kObsStat = 1,   // stat of every object the step names, and its parents
  kObsTimes = 2,  // which time stamps moved through the step
  kObsList = 4,   // listing of the parent of p
  kObsXattr = 8,  // all xattrs of p
  kObsWalk = 16,  // the whole tree and every open descriptor
};

struct Op {
  Kind kind = Kind::kStat;
  uint8_t ident = 0;
  uint8_t slot = 0;
  uint8_t slot2 = 0;
  uint8_t obs = 0;
  Path p, q;
  uint32_t flags = 0;
  uint32_t mode = 0;
  uint32_t val = 0;
  uint32_t n = 0;
  int64_t off = 0;
  int64_t off2 = 0;
};

constexpr int kIdents = 4;
constexpr int kSlots = 6;

struct Identity {
  const char* name;
  uint32_t uid, gid;
  int ngroups;
  uint32_t groups[2];
};
extern const Identity kIdentity[kIdents];

// Flag bits that select a form of the call rather than being passed to it.
constexpr uint32_t kNoFollow = 0x10000000;
constexpr uint32_t kVariant = 0x20000000;

// The name table: display token and the bytes it stands for.
int NameCount();
const char* NameToken(int i);
const std::string& NameBytes(int i);
int FindNameBytes(const std::string& bytes);  // -1 if not in the table
extern const int kPlainNames;   // indexes below are files by habit
extern const int kNormalNames;  // indexes below are names without surprises
extern const int kDotDot, kDot;

const char* KindName(Kind k);
bool FindKind(const std::string& name, Kind* k);
std::string PathText(const Path& p);
bool ParsePath(const std::string& text, Path* p);
// The path as passed to the kernel, without the slot.
std::string PathBytes(const Path& p);

std::string FormatOp(const Op& op);
// The human part: flags by name.
std::string DescribeOp(const Op& op);
bool ParseOp(const std::string& line, Op* op);

// Which members of an Op its kind reads; the others are zero.
bool UsesPath(Kind k);
bool UsesSecondPath(Kind k);
bool UsesSlot(Kind k);
bool UsesSecondSlot(Kind k);

// Tables which the ops index; shared by executor, generator and text.
int XattrNameCount();
const std::string& XattrName(int i);

}  // namespace oracle

#endif  // HANDLEFS_TEST_ORACLE_OP_H_
