#include "daemon/pending_signal.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <optional>
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

struct Signals {
  uint64_t pending = 0, blocked = 0;
};
// Nothing for a thread that is gone.
std::optional<Signals> SignalsOf(uint32_t tid) {
  char path[32];
  std::snprintf(path, sizeof(path), "/proc/%u/status", tid);
  UniqueFd fd(open(path, O_RDONLY | O_CLOEXEC));
  if (!fd) return {};
  std::array<char, 8192> buffer;
  ssize_t n = read(fd.get(), buffer.data(), buffer.size());
  if (n <= 0) return {};
  std::string_view status(buffer.data(), static_cast<size_t>(n));
  return Signals{
      .pending = SetOf(status, "\nSigPnd:") | SetOf(status, "\nShdPnd:"),
      .blocked = SetOf(status, "\nSigBlk:")};
}

}  // namespace

bool HasPendingSignal(uint32_t tid) {
  if (tid == 0) return false;
  auto signals = SignalsOf(tid);
  // What is ignored is not kept pending, unless it is blocked.
  return signals && (signals->pending & ~signals->blocked) != 0;
}

bool IsDying(uint32_t tid) {
  if (tid == 0) return false;
  auto signals = SignalsOf(tid);
  // Whatever signal it is that kills a process, each thread gets this one.
  return !signals || (signals->pending >> (SIGKILL - 1) & 1) != 0;
}

}  // namespace handlefs
