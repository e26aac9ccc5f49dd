#include "daemon/pending_signal.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <string_view>

#include "io/base/fd.h"

namespace handlefs {
namespace {

// The set behind a key of /proc/TID/status; empty if it is not there.
uint64_t SetOf(std::string_view status, std::string_view key) {
  size_t at = status.find(key);
  if (at == std::string_view::npos) return 0;
  const char* first = status.data() + at + key.size();
  const char* end = status.data() + status.size();
  while (first != end && (*first == '\t' || *first == ' ')) ++first;
  uint64_t set = 0;
  std::from_chars(first, end, set, 16);
  return set;
}

}  // namespace

bool HasPendingSignal(uint32_t tid) {
  if (tid == 0) return false;
  char path[32];
  std::snprintf(path, sizeof(path), "/proc/%u/status", tid);
  UniqueFd fd(open(path, O_RDONLY | O_CLOEXEC));
  if (!fd) return false;
  std::array<char, 8192> buffer;
  ssize_t n = read(fd.get(), buffer.data(), buffer.size());
  if (n <= 0) return false;
  std::string_view status(buffer.data(), static_cast<size_t>(n));
  uint64_t pending = SetOf(status, "\nSigPnd:") | SetOf(status, "\nShdPnd:");
  // What is ignored is not kept pending, unless it is blocked.
  return (pending & ~SetOf(status, "\nSigBlk:")) != 0;
}

}  // namespace handlefs
