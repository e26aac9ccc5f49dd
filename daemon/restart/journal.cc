#include "daemon/restart/journal.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "daemon/restart/failpoint.h"

namespace handlefs {
namespace {

// How long after the last one no resent request is expected any more.
constexpr absl::Duration kPatience = absl::Seconds(10);

// The last entries that this thread wrote. A reader has sent an answer before
// it takes the next request; a lane of io_uring may take some before.
struct Trail {
  uint64_t of = 0;
  std::array<JournalEntry*, Journal::kMostBehind> entries{};
  size_t at = 0;
};
thread_local Trail trail;
std::atomic<uint64_t> journals{0};

// The clock that file systems stamp births with: never ahead of them.
int64_t CoarseNow() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return now.tv_sec * 1000000000 + now.tv_nsec;
}

uint64_t Plain(Unique unique) { return Raw(unique) & ~kUniqueResend; }

}  // namespace

using Phase = JournalEntry::Phase;

Journal::Journal(std::span<JournalEntry> entries, uint64_t generation)
    : entries_(entries),
      generation_(generation),
      number_(journals.fetch_add(1) + 1) {
  absl::MutexLock lock(&mutex_);
  for (JournalEntry& entry : entries) {
    Phase phase = entry.phase.load();
    if (phase == Phase::kIntent || phase == Phase::kDone) {
      Collect(entry);
    } else if (phase == Phase::kClaimed) {
      // Whoever was filling it is dead.
      entry.phase = Phase::kFree;
    }
  }
  DropOldest();
  any_earlier_ = !earlier_.empty();
  asked_ = absl::Now();
}

// A request that was begun twice, because its first thread was not to wait,
// counts as it ended, or else as it was begun first.
void Journal::Collect(JournalEntry& entry) {
  JournalEntry*& kept = earlier_[entry.unique.load()];
  JournalEntry* worse = kept;
  kept = &entry;
  if (worse == nullptr) return;
  bool done = entry.phase.load() == Phase::kDone;
  bool was_done = worse->phase.load() == Phase::kDone;
  if (was_done != done ? was_done : worse->began_ns < entry.began_ns) {
    std::swap(kept, worse);
  }
  worse->phase = Phase::kFree;
}

// Each server leaves some entries whose answers did go out. Servers that follow
// each other fast would fill the journal with them, and requests would be
// executed that nothing is noted of. A request that is still waited for comes
// to every server again, and its entry is then young.
void Journal::DropOldest() {
  const size_t most = entries_.size() / 2;
  if (earlier_.size() <= most) return;
  std::vector<JournalEntry*> all;
  all.reserve(earlier_.size());
  for (const auto& [unique, entry] : earlier_) all.push_back(entry);
  auto end = all.begin() + static_cast<ptrdiff_t>(all.size() - most);
  std::nth_element(all.begin(), end, all.end(),
                   [](const JournalEntry* a, const JournalEntry* b) {
                     return std::pair(a->generation, a->began_ns) <
                            std::pair(b->generation, b->began_ns);
                   });
  for (auto it = all.begin(); it != end; ++it) {
    earlier_.erase((*it)->unique.load());
    (*it)->phase = Phase::kFree;
  }
}

std::optional<Journal::Earlier> Journal::Find(Unique unique) {
  if (!any_earlier_.load(std::memory_order_relaxed)) return std::nullopt;
  absl::MutexLock lock(&mutex_);
  asked_ = absl::Now();
  auto it = earlier_.find(Plain(unique));
  if (it == earlier_.end()) return std::nullopt;
  JournalEntry& entry = *it->second;
  entry.generation = generation_;
  Earlier out;
  out.done = entry.phase.load(std::memory_order_acquire) == Phase::kDone;
  out.began_ns = entry.began_ns;
  out.before = entry.before;
  out.error = entry.error;
  out.payload = entry.payload;
  out.payload_size =
      std::min<uint32_t>(entry.payload_size, JournalEntry::kPayload);
  out.entry = &entry;
  return out;
}

JournalEntry* Journal::Begin(Unique unique, const Before& before) {
  if (trail.of != number_) trail = {.of = number_, .entries = {}, .at = 0};
  JournalEntry*& oldest =
      trail.entries[trail.at++ % behind_.load(std::memory_order_relaxed)];
  if (oldest != nullptr) {
    oldest->phase.store(Phase::kAnswered, std::memory_order_release);
    oldest = nullptr;
  }
  for (size_t tries = 0; tries < entries_.size(); ++tries) {
    JournalEntry& entry =
        entries_[next_.fetch_add(1, std::memory_order_relaxed) %
                 entries_.size()];
    Phase phase = entry.phase.load(std::memory_order_relaxed);
    if ((phase != Phase::kFree && phase != Phase::kAnswered) ||
        !entry.phase.compare_exchange_strong(phase, Phase::kClaimed)) {
      continue;
    }
    entry.began_ns = CoarseNow();
    entry.before = before;
    entry.generation = generation_;
    entry.error = 0;
    entry.payload_size = 0;
    entry.unique.store(Plain(unique), std::memory_order_relaxed);
    entry.phase.store(Phase::kIntent, std::memory_order_release);
    oldest = &entry;
    PassFailpoint("intent", generation_);
    return &entry;
  }
  return nullptr;
}

void Journal::Done(JournalEntry& entry, std::span<const std::byte> payload,
                   int32_t error) const {
  PassFailpoint("executed", generation_);
  // A longer one stays an intent, which is settled.
  if (payload.size() > JournalEntry::kPayload) return;
  if (!payload.empty()) {
    std::memcpy(entry.payload.data(), payload.data(), payload.size());
  }
  entry.payload_size = static_cast<uint32_t>(payload.size());
  entry.error = error;
  entry.phase.store(Phase::kDone, std::memory_order_release);
  PassFailpoint("noted", generation_);
}

void Journal::Tick(absl::Time now) {
  if (!any_earlier_.load(std::memory_order_relaxed)) return;
  absl::MutexLock lock(&mutex_);
  if (now - asked_ < kPatience) return;
  // Those that were asked for may be in work still; the next server takes them
  // away.
  absl::erase_if(earlier_, [&](const auto& found) {
    JournalEntry& entry = *found.second;
    if (entry.generation == generation_) return false;
    entry.phase.store(Phase::kFree, std::memory_order_release);
    return true;
  });
  any_earlier_ = !earlier_.empty();
}

}  // namespace handlefs
