// A line on the terminal that tells how far a run is. Nothing where stderr is
// no terminal, and nothing is written while something is measured.
#ifndef HANDLEFS_TOOLS_BENCH_PROGRESS_H_
#define HANDLEFS_TOOLS_BENCH_PROGRESS_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace handlefs::bench {

class Progress {
 public:
  explicit Progress(size_t steps);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void Step(const std::string& what);

 private:
  const bool visible_;
  const size_t steps_;
  const uint64_t start_;
  size_t done_ = 0;
};

// The line itself: a bar of `done` steps, the time left, what comes now.
std::string ProgressLine(size_t done, size_t steps, double seconds,
                         const std::string& what);

}  // namespace handlefs::bench

#endif  // HANDLEFS_TOOLS_BENCH_PROGRESS_H_
