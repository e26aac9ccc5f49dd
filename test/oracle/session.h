// Both sides in lock step: sends a step to the two workers of its identity and
// compares what came back.
#ifndef HANDLEFS_TEST_ORACLE_SESSION_H_
#define HANDLEFS_TEST_ORACLE_SESSION_H_

#include <string>
#include <vector>

#include "memory.h"
#include "op.h"
#include "quirks.h"
#include "result.h"
#include "worker.h"

namespace oracle {

struct Difference {
  int step = -1;  // -1: none; the number of steps: found at the end
  std::vector<DiffRow> rows;
  std::string where;
  bool fatal = false;  // a worker hangs or died, nothing more can run

  bool found() const { return step >= 0; }
};

class Session {
 public:
  explicit Session(const Quirks& quirks) : quirks_(quirks) {}

  bool Start(const std::string& left, const std::string& right,
             const std::string& host_of_right, std::string* error);
  // Empties both sides and brings every worker back to its first state.
  bool Reset(std::string* error);
  // Runs one step with the given observations; false on a difference.
  bool Step(const Op& op, Difference* diff);
  // Compares the whole trees, and the one behind the right side.
  bool Final(Difference* diff);
  int64_t left_ret() const { return left_ret_; }

 private:
  enum { kLeft, kRight };

  bool Both(int ident, Request request, const Op& op, Result out[2],
            Difference* diff);
  // op is null for the whole tree.
  bool CompareAll(const Op* op, Result out[2], const char* where,
                  Difference* diff);
  // Notes what the step did to the left side's objects.
  void Remember(const Op& op);
  static void CompareTimes(const Result before[2], const Result after[2],
                           Result rel[2]);
  bool WalkBoth(Difference* diff);

  Quirks quirks_;
  Memory memory_;
  Worker workers_[2][kIdents];
  Worker host_;
  bool has_host_ = false;
  int64_t left_ret_ = 0;
  unsigned tick_us_ = 0;
  pid_t* pids_ = nullptr;
};

}  // namespace oracle

#endif  // HANDLEFS_TEST_ORACLE_SESSION_H_
