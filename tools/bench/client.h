// The side of a workload that runs in a process of its own: it makes its calls,
// measures itself with CLOCK_MONOTONIC, and leaves what it found in memory that
// it shares with the harness. It ends by Fail or Unsupported, or by itself.
//
// The harness never touches a mount: a server that hangs would take it along.
#ifndef HANDLEFS_TOOLS_BENCH_CLIENT_H_
#define HANDLEFS_TOOLS_BENCH_CLIENT_H_

#include <time.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace handlefs::bench {

// Sizes and limits of all workloads.
struct Knobs {
  double seconds = 0.5;            // of one measurement
  uint64_t max_ops = 1000000;      // of one measurement
  uint64_t walk_files = 10000;     // the tree of the walks
  uint64_t flat_files = 15000;     // the directory of the readdir workloads
  uint64_t text_files = 1600;      // the tree of tar, git, grep and rm
  uint64_t data_bytes = 32 << 20;  // each file of the data workloads
  std::vector<uint64_t> files = {100000};  // the trees of files-N
};

// In shared memory.
struct ClientReport {
  enum State : int { kRunning, kDone, kFailed, kUnsupported };
  static constexpr int kExtras = 4;
  std::atomic<int> state{kRunning};
  uint64_t ops = 0;
  uint64_t nanoseconds = 0;
  char reason[512] = "";
  int extras = 0;
  struct {
    char name[24];
    double value;
  } extra[kExtras] = {};
};

inline uint64_t Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000u +
         static_cast<uint64_t>(now.tv_nsec);
}

class Client {
 public:
  struct Setup {
    int index = 0;
    int count = 1;
    std::string root;  // the mount, or the source itself
    const Knobs* knobs = nullptr;
    ClientReport* report = nullptr;
    // From client 0 to the others.
    int relay_read = -1;
    int relay_write = -1;
    std::atomic<int>* stop = nullptr;
  };
  explicit Client(Setup setup) : setup_(std::move(setup)) {}

  int index() const { return setup_.index; }
  int count() const { return setup_.count; }
  const Knobs& knobs() const { return *setup_.knobs; }
  // A path below the served tree. "cell" is a directory for this measurement
  // alone; what lies beside it is shared by all and must not change.
  std::string Path(const std::string& name) const {
    return setup_.root + "/" + name;
  }

  // Calls `op(i)` until a limit is reached; the clock is read after each batch.
  template <typename Op>
  void Loop(uint64_t batch, Op op) {
    LoopFor(knobs().seconds, batch, op);
  }
  template <typename Op>
  void LoopFor(double seconds, uint64_t batch, Op op) {
    const uint64_t start = Now();
    const uint64_t limit = start + static_cast<uint64_t>(seconds * 1e9);
    uint64_t now = start, i = 0;
    do {
      for (uint64_t end = i + batch; i < end; ++i) op(i);
      now = Now();
    } while (now < limit && i < knobs().max_ops);
    Measured(i, now - start);
  }
  // The same for calls that return how many operations they were.
  template <typename Op>
  void LoopMany(Op op) {
    const uint64_t start = Now();
    const uint64_t limit = start + static_cast<uint64_t>(knobs().seconds * 1e9);
    uint64_t now = start, ops = 0;
    do {
      ops += op();
      now = Now();
    } while (now < limit && ops < knobs().max_ops);
    Measured(ops, now - start);
  }
  template <typename Op>
  void Once(Op op) {
    const uint64_t start = Now();
    uint64_t ops = op();
    Measured(ops, Now() - start);
  }
  void Measured(uint64_t ops, uint64_t nanoseconds) const {
    setup_.report->ops = ops;
    setup_.report->nanoseconds = nanoseconds;
  }
  uint64_t ops() const { return setup_.report->ops; }
  uint64_t nanoseconds() const { return setup_.report->nanoseconds; }
  void Extra(const char* name, double value) const;

  // Runs a program with stdin, stdout and stderr away; ends as Fail unless it
  // ends with 0, and as Unsupported if it is not installed.
  void Run(const std::vector<std::string>& command);

  // With the text of errno.
  [[noreturn]] void Fail(const std::string& what);
  [[noreturn]] void FailPlainly(const std::string& why);
  [[noreturn]] void Unsupported(const std::string& why);

  // Client 0 lets the others go on, once each; StopOthers tells them to end.
  void Release();
  void AwaitRelease();
  void StopOthers() const { setup_.stop->store(1); }
  bool stopped() const { return setup_.stop->load() != 0; }

 private:
  [[noreturn]] void End(int state, const std::string& reason) const;
  const Setup setup_;
};

}  // namespace handlefs::bench

#endif  // HANDLEFS_TOOLS_BENCH_CLIENT_H_
