#include "progress.h"

#include <unistd.h>

#include <cstdio>

#include "client.h"
#include "text.h"

namespace handlefs::bench {
namespace {
constexpr size_t kWidth = 24;
}  // namespace

std::string ProgressLine(size_t done, size_t steps, double seconds,
                         const std::string& what) {
  size_t filled = steps == 0 ? kWidth : done * kWidth / steps;
  std::string left;
  if (done > 0) {
    double rest =
        seconds / static_cast<double>(done) * static_cast<double>(steps - done);
    left = Format(" %d:%02d left", static_cast<int>(rest) / 60,
                  static_cast<int>(rest) % 60);
  }
  return "[" + std::string(filled, '#') + std::string(kWidth - filled, ' ') +
         Format("] %zu/%zu", done, steps) + left + "  " + what;
}

Progress::Progress(size_t steps)
    : visible_(isatty(STDERR_FILENO) == 1), steps_(steps), start_(Now()) {}

Progress::~Progress() {
  if (visible_) std::fputs("\r\x1b[K", stderr);
}

void Progress::Step(const std::string& what) {
  if (visible_) {
    double seconds = static_cast<double>(Now() - start_) / 1e9;
    std::string line = ProgressLine(done_, steps_, seconds, what);
    std::fprintf(stderr, "\r\x1b[K%s", line.substr(0, 79).c_str());
  }
  ++done_;
}

}  // namespace handlefs::bench
