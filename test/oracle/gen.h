// The seeded step generator. It learns from the left side only, so that a seed
// gives the same steps whatever the right side does.
#ifndef HANDLEFS_TEST_ORACLE_GEN_H_
#define HANDLEFS_TEST_ORACLE_GEN_H_

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "op.h"
#include "quirks.h"

namespace oracle {

struct LiveEntry {
  Path path;  // absolute
  char type;  // 'f', 'd', 'l', or 'o' for others
};

// What is below dir now, as far as the name table can spell it, in a fixed
// order. Does not move any atime.
std::vector<LiveEntry> ListLive(const std::string& dir);

class Gen {
 public:
  Gen(uint64_t seed, const Quirks& quirks, uint64_t kinds, int times)
      : state_(seed), quirks_(quirks), kinds_(kinds), times_(times) {
    // A plain multiple would make each seed the shifted stream of another.
    state_ = Random() ^ (seed << 32);
    state_ = Random();
  }

  Op Next();
  void Feedback(const Op& op, int64_t ret);
  void SetLive(std::vector<LiveEntry> live) { live_ = std::move(live); }

 private:
  enum class Want { kAny, kFile, kDir, kLink, kNew };
  enum class State : uint8_t { kClosed, kFile, kDir, kPath };

  uint64_t Random();
  uint32_t Below(uint32_t n) {
    return n == 0 ? 0 : static_cast<uint32_t>(Random() % n);
  }
  bool Chance(uint32_t percent) { return Below(100) < percent; }
  template <typename T, size_t N>
  T Pick(const T (&table)[N]) {
    return table[Below(N)];
  }

  uint8_t PickIdent();
  uint8_t PickName(bool plain);
  uint8_t PickSlot(int ident, State want);
  void PickOpen(Op* op, State want);
  Path PickPath(Want want);
  Path PickTarget(Op* op, Want want, bool fd_form);
  Path Rebase(const Op& op, Path p, bool fd_form);
  uint32_t PickSize();
  int64_t PickOffset();
  uint32_t PickMode(bool dir);

  Kind PickKind();
  Op Random(Kind kind);
  void FillIo(Op* op);
  void FillOpen(Op* op);
  void FillNames(Op* op);
  void FillMeta(Op* op);
  void FillXattr(Op* op);
  uint8_t PickObs();

  // gen_script.cc: short stories which chance would hardly tell.
  void Script();
  Op Make(Kind kind, int ident, const Path& p);
  Op MakeFd(Kind kind, int ident, int slot);
  void Add(const Op& op) { queue_.push_back(op); }
  void ScriptRemovedCwd();
  void ScriptIflags();
  void ScriptUnlinkedOpen();
  void ScriptTmpfile();
  void ScriptLocks();
  void ScriptSuid();
  void ScriptAclInherit();
  void ScriptAppend();
  void ScriptSparse();
  void ScriptRenameOpen();
  void ScriptSticky();

  uint64_t state_;
  const Quirks& quirks_;
  uint64_t kinds_;
  int times_;
  bool started_ = false;
  std::deque<Op> queue_;
  std::vector<LiveEntry> live_;
  State open_[kIdents][kSlots] = {};
  uint32_t flags_[kIdents][kSlots] = {};
};

}  // namespace oracle

#endif  // HANDLEFS_TEST_ORACLE_GEN_H_
