// Named comparisons and step forms which can be switched off.
#ifndef HANDLEFS_TEST_ORACLE_QUIRKS_H_
#define HANDLEFS_TEST_ORACLE_QUIRKS_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "memory.h"
#include "op.h"
#include "result.h"

namespace oracle {

// A step which the generator is about to add.
struct Planned {
  const Op& op;
  uint32_t open_flags;  // with which the step's slot was opened
};

// The object of a difference, as the left side has it.
struct Seen {
  const Op* op = nullptr;  // null when the whole tree is compared
  uint32_t mode = 0;       // 0 if nothing is known of the object
  uint32_t past = 0;       // see memory.h
  uint32_t any_past = 0;   // of all objects of the step together
  bool cached = false;     // its data goes through the page cache of the mount
};

struct Quirk {
  const char* name = nullptr;
  const char* group = nullptr;  // names which switch several rows on
  uint64_t ignore = 0;          // mask of Tag
  bool (*drop)(const Planned& planned) = nullptr;  // step forms not made
  bool (*excuse)(const Seen& seen, const DiffRow& row) = nullptr;
  bool cached = false;          // all data goes through the mount's page cache
  const char* on_fs = nullptr;  // host file systems where it is always on
  const char* only_fs = nullptr;  // those which know the limit at all
  const char* reason = nullptr;
};

// Limits of the FUSE client in the kernel; quirks_fuse.cc.
std::span<const Quirk> FuseQuirks();

class Quirks {
 public:
  // Switches on the rows which the host file system of this directory needs.
  void AddForHost(const std::string& dir);
  // A row, or a group of rows.
  bool Add(const std::string& name);
  uint64_t ignore() const { return ignore_; }
  bool Drops(const Op& op, uint32_t open_flags) const;
  // Whether any row asks for the past of an inode.
  bool NeedsPast() const;
  // Removes the rows which a quirk explains; left is that side's result, its
  // inode numbers replaced by places in inos, counted from 1.
  void Excuse(const Op* op, const Result& left,
              const std::vector<uint64_t>& inos, const Memory& memory,
              std::vector<DiffRow>* rows) const;
  static void PrintTable();

 private:
  uint64_t ignore_ = 0;
  std::string host_ = "other";
  bool cached_ = false;
  std::vector<Quirk> on_;
};

}  // namespace oracle

#endif  // HANDLEFS_TEST_ORACLE_QUIRKS_H_
