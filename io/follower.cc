#include "io/follower.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <utility>

namespace handlefs::io {
namespace {

// Requests in a row of one client, until it counts as the only one.
constexpr int kAlone = 32;
// From one request to the next: less is a sign that no CPU had to be woken.
constexpr auto kApart = std::chrono::microseconds(25);
constexpr int kMostSkipped = 64;
// Of the numbers behind the name, which is in parentheses (proc_pid_stat(5)).
constexpr int kProcessorField = 39 - 3;

}  // namespace

std::optional<int> CpuInStat(std::string_view text) {
  size_t at = text.rfind(')');
  if (at == std::string_view::npos) return std::nullopt;
  at += 2;
  for (int field = 0; field < kProcessorField; ++field) {
    at = text.find(' ', at);
    if (at == std::string_view::npos) return std::nullopt;
    ++at;
  }
  int cpu = -1;
  auto [end, error] =
      std::from_chars(text.data() + at, text.data() + text.size(), cpu);
  if (error != std::errc() || cpu < 0 || cpu >= CPU_SETSIZE) {
    return std::nullopt;
  }
  return cpu;
}

bool FollowRule::OnRequest(uint32_t client, Clock::time_point now) {
  const auto since = now - std::exchange(last_, now);
  if (client != client_) {
    client_ = client;
    in_row_ = skip_ = next_skip_ = 0;
    return false;
  }
  in_row_ = std::min(in_row_ + 1, kAlone);
  if (in_row_ < kAlone || since < kApart) return false;
  if (skip_ > 0) {
    --skip_;
    return false;
  }
  return true;
}

void FollowRule::FoundHere() {
  next_skip_ = std::min(2 * next_skip_ + 1, kMostSkipped);
  skip_ = next_skip_;
}

void Follower::Attach() {
  is_attached_ = sched_getaffinity(0, sizeof(home_), &home_) == 0;
}

std::optional<int> Follower::CpuOf(uint32_t client) {
  if (client != client_) {
    char path[32];
    std::snprintf(path, sizeof(path), "/proc/%u/stat", client);
    stat_.reset(open(path, O_RDONLY | O_CLOEXEC));
    client_ = client;
  }
  std::array<char, 512> text;
  ssize_t n = pread(stat_.get(), text.data(), text.size(), 0);
  if (n <= 0) {
    client_ = 0;  // has ended
    return std::nullopt;
  }
  return CpuInStat({text.data(), static_cast<size_t>(n)});
}

void Follower::OnRequest(uint32_t client) {
  // FORGET is nobody's.
  if (!is_attached_ || client == 0) return;
  if (client != client_) Release();
  if (!rule_.OnRequest(client, FollowRule::Clock::now())) return;
  const auto cpu = CpuOf(client);
  if (!cpu || *cpu == sched_getcpu() ||
      !CPU_ISSET(static_cast<size_t>(*cpu), &home_)) {
    rule_.FoundHere();
    return;
  }
  rule_.FoundElsewhere();
  cpu_set_t there;
  CPU_ZERO(&there);
  CPU_SET(static_cast<size_t>(*cpu), &there);
  if (sched_setaffinity(0, sizeof(there), &there) == 0) is_kept_ = true;
}

void Follower::Release() {
  if (!is_kept_) return;
  is_kept_ = false;
  (void)sched_setaffinity(0, sizeof(home_), &home_);
}

}  // namespace handlefs::io
