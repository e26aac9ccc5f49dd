// Reduces a sequence of steps with a difference to a minimal one.
#ifndef HANDLEFS_TEST_ORACLE_SHRINK_H_
#define HANDLEFS_TEST_ORACLE_SHRINK_H_

#include <string>
#include <vector>

#include "op.h"
#include "session.h"

namespace oracle {

// Runs the steps on emptied directories up to the first difference. Exits the
// program with status 2 if a side cannot be emptied.
Difference RunOps(Session* session, const std::vector<Op>& ops);

class Shrinker {
 public:
  Shrinker(Session* session, const Difference& first)
      : session_(session), first_(first) {}

  // Replaces both by the smallest failing sequence found and its difference.
  // A sequence which does not fail again is left as it is.
  void Run(std::vector<Op>* ops, Difference* diff);
  int runs() const { return runs_; }
  bool reproduced() const { return reproduced_; }

 private:
  bool Try(const std::vector<Op>& ops);
  bool Expired() const;
  bool SameKind(const std::vector<Op>& ops, const Difference& diff) const;
  void DropChunks();
  void Simplify();

  Session* session_;
  Difference first_;
  Kind kind_ = Kind::kCount;
  std::vector<Op> best_;
  Difference best_diff_;
  int runs_ = 0;
  int64_t deadline_ = 0;
  bool reproduced_ = false;
};

// The sequence in replay format, and both results of the differing step.
void PrintReport(const std::vector<Op>& ops, const Difference& diff);

}  // namespace oracle

#endif  // HANDLEFS_TEST_ORACLE_SHRINK_H_
