// What a step returned or an observation saw, as tagged fields which can be
// compared between the two sides.
#ifndef HANDLEFS_TEST_ORACLE_RESULT_H_
#define HANDLEFS_TEST_ORACLE_RESULT_H_

#include <cstdint>
#include <string>
#include <vector>

namespace oracle {

#define ORACLE_TAGS(X)               \
  X(kRet, "ret")                     \
  X(kData, "data")                   \
  X(kPos, "file position")           \
  X(kSeekHole, "data/hole position") \
  X(kStatErr, "stat")                \
  X(kMode, "mode")                   \
  X(kNlink, "nlink")                 \
  X(kUid, "uid")                     \
  X(kGid, "gid")                     \
  X(kSize, "size")                   \
  X(kDirSize, "dir size")            \
  X(kRdev, "rdev")                   \
  X(kBlksize, "blksize")             \
  X(kBlocks, "blocks")               \
  X(kIno, "ino")                     \
  X(kDev, "st_dev is the root's")    \
  X(kAtime, "atime")                 \
  X(kMtime, "mtime")                 \
  X(kCtime, "ctime")                 \
  X(kBtime, "btime is present")      \
  X(kAttrs, "statx attributes")      \
  X(kRaw, "raw")                     \
  X(kNames, "names")                 \
  X(kDino, "d_ino is st_ino")        \
  X(kXattrs, "xattr names")          \
  X(kXattr, "xattr")                 \
  X(kHash, "content")                \
  X(kTarget, "link target")          \
  X(kLockInfo, "lock")               \
  X(kFlags, "inode flags")           \
  X(kStatfs, "statfs")               \
  X(kSignal, "signal")               \
  X(kMoveA, "atime moved")           \
  X(kMoveM, "mtime moved")           \
  X(kMoveC, "ctime moved")           \
  X(kMoveB, "btime moved")           \
  X(kSame, "still the same inode")   \
  X(kWorker, "worker")

enum class Tag : uint8_t {
#define X(id, name) id,
  ORACLE_TAGS(X)
#undef X
      kCount
};
constexpr int kTags = static_cast<int>(Tag::kCount);

const char* TagName(Tag t);

struct Field {
  Tag tag;
  std::string label;  // the object: a path, "@slot", or empty for the call
  int64_t num = 0;
  std::string text;

  bool operator==(const Field&) const = default;
};

// Identity and time stamps of one object; travels as the text of a kRaw field
// and is never compared by value.
struct RawTimes {
  uint64_t ino;
  uint64_t mode;
  uint64_t attributes;
  int64_t t[4][2];  // atime, mtime, ctime, btime
};

using Result = std::vector<Field>;

void Pack(const Result& r, std::string* out);
bool Unpack(const std::string& in, Result* r);

// Replaces inode numbers by the order of their first appearance, counted from
// 1, which keeps only the equality structure. Returns them in that order.
std::vector<uint64_t> Canonicalize(Result* r);

struct DiffRow {
  Tag tag;
  std::string label, left, right;
};

// Fields with a tag in the ignore mask are not compared.
std::vector<DiffRow> Compare(const Result& l, const Result& r, uint64_t ignore);

std::string ValueText(const Field& f);
std::string ErrnoText(int64_t ret);

// 64 bit content hash with the length and the first bytes, readable.
std::string DataText(const char* data, size_t n);
uint64_t Hash(const char* data, size_t n, uint64_t h);

}  // namespace oracle

#endif  // HANDLEFS_TEST_ORACLE_RESULT_H_
