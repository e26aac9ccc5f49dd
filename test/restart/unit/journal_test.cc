// The journal: what a successor finds of requests that were not answered.
#include "daemon/restart/journal.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "records.h"

namespace handlefs::test {
namespace {

using Phase = JournalEntry::Phase;

Unique Again(uint64_t unique) { return Unique{unique | kUniqueResend}; }

// Memory that servers take over, one after the other.
struct Memory {
  explicit Memory(size_t size) : entries(size) {}
  // The next server, after the one before was killed.
  Journal& Next() {
    journal.emplace(entries, ++generation);
    return *journal;
  }
  size_t Count(Phase phase) const {
    size_t n = 0;
    for (const JournalEntry& entry : entries) n += entry.phase == phase;
    return n;
  }
  std::vector<JournalEntry> entries;
  uint64_t generation = 0;
  std::optional<Journal> journal;
};

// A request that is begun; each on a thread of its own is one that no later
// request of the thread declares answered.
template <typename F>
void OnThread(F body) {
  std::thread(body).join();
}

JournalEntry* Begun(Journal& journal, uint64_t unique,
                    const Before& before = {}) {
  JournalEntry* entry = nullptr;
  OnThread([&] { entry = journal.Begin(Unique{unique}, before); });
  REQUIRE(entry != nullptr);
  return entry;
}

TEST_CASE("Journal: intent and answer are found by the next server",
          "[journal]") {
  Memory memory(16);
  Journal& first = memory.Next();
  CHECK_FALSE(first.Find(Again(2)));
  int64_t before_ns = absl::ToUnixNanos(absl::Now());
  Begun(first, 2, {.first = 11, .second = 12, .size = 13});
  JournalEntry* done = Begun(first, 4);
  first.Done(*done, BytesOf("the answer"), 0);
  JournalEntry* failed = Begun(first, 6);
  first.Done(*failed, {}, ENOTEMPTY);
  // It does not look at its own.
  CHECK_FALSE(first.Find(Again(2)));

  Journal& second = memory.Next();
  auto intent = second.Find(Again(2));
  REQUIRE(intent);
  CHECK_FALSE(intent->done);
  CHECK(intent->before.first == 11);
  CHECK(intent->before.second == 12);
  CHECK(intent->before.size == 13);
  // By the clock that stamps files, which is never ahead.
  CHECK(intent->began_ns <= absl::ToUnixNanos(absl::Now()));
  CHECK(intent->began_ns > before_ns - 1'000'000'000);
  auto answer = second.Find(Again(4));
  REQUIRE(answer);
  CHECK(answer->done);
  CHECK(answer->error == 0);
  CHECK(Bytes(answer->payload.begin(),
              answer->payload.begin() + answer->payload_size) ==
        BytesOf("the answer"));
  auto error = second.Find(Again(6));
  REQUIRE(error);
  CHECK(error->done);
  CHECK(error->error == ENOTEMPTY);
  CHECK(error->payload_size == 0);
  CHECK_FALSE(second.Find(Again(8)));
}

TEST_CASE("Journal: a request in hand again is the same entry", "[journal]") {
  Memory memory(16);
  Begun(memory.Next(), 2, {.size = 1});
  for (int i = 0; i < 5; ++i) {
    Intent intent(&memory.Next(), Again(2));
    REQUIRE(intent.earlier() != nullptr);
    CHECK(intent.answer() == nullptr);
    // What was so before the first server began is what counts.
    intent.Mark({.size = 99});
    CHECK(memory.Count(Phase::kIntent) == 1);
    CHECK(intent.earlier()->before.size == 1);
  }
  Intent last(&memory.Next(), Again(2));
  last.Mark({});
  last.Done(BytesOf("x"), 0);
  CHECK(memory.Count(Phase::kIntent) == 0);
  CHECK(memory.Count(Phase::kDone) == 1);
  Intent settled(&memory.Next(), Again(2));
  CHECK(settled.earlier() == nullptr);
  REQUIRE(settled.answer() != nullptr);
  CHECK(settled.answer()->payload[0] == std::byte{'x'});
}

TEST_CASE("Journal: one that is new, or kept by nobody", "[journal]") {
  Memory memory(16);
  Begun(memory.Next(), 2);
  Journal& next = memory.Next();
  // The number without the mark is another request.
  Intent fresh(&next, Unique{2});
  CHECK(fresh.earlier() == nullptr);
  CHECK(fresh.is_kept());
  Intent none;
  CHECK_FALSE(none.is_kept());
  none.Mark({});
  none.Done({}, 0);
  CHECK(memory.Count(Phase::kIntent) == 1);
}

TEST_CASE("Journal: an answer is over with the thread's next request",
          "[journal]") {
  Memory memory(64);
  Journal& journal = memory.Next();
  SECTION("as a reader works") {
    for (uint64_t i = 1; i <= 1000; ++i) {
      JournalEntry* entry = journal.Begin(Unique{2 * i}, {});
      REQUIRE(entry != nullptr);
      journal.Done(*entry, {}, 0);
      CHECK(memory.Count(Phase::kDone) == 1);
    }
    Journal& next = memory.Next();
    CHECK(next.Find(Again(2000)));
    CHECK_FALSE(next.Find(Again(1998)));
  }
  SECTION("as a lane of io_uring works") {
    journal.SetBehind(Journal::kMostBehind);
    for (uint64_t i = 1; i <= 1000; ++i) {
      JournalEntry* entry = journal.Begin(Unique{2 * i}, {});
      REQUIRE(entry != nullptr);
      journal.Done(*entry, {}, 0);
    }
    CHECK(memory.Count(Phase::kDone) == Journal::kMostBehind);
    Journal& next = memory.Next();
    for (uint64_t i = 0; i < Journal::kMostBehind; ++i) {
      CHECK(next.Find(Again(2 * (1000 - i))));
    }
  }
}

TEST_CASE("Journal: a full one notes nothing, and recovers", "[journal]") {
  Memory memory(4);
  Journal& journal = memory.Next();
  for (uint64_t i = 1; i <= 4; ++i) Begun(journal, 2 * i);
  OnThread([&] { CHECK(journal.Begin(Unique{10}, {}) == nullptr); });
  OnThread([&] {
    Intent intent(&journal, Unique{12});
    intent.Mark({});
    intent.Done({}, 0);
  });
  memory.entries[1].phase = Phase::kAnswered;
  Begun(journal, 14);
}

TEST_CASE("Journal: an answer that is too long stays an intent", "[journal]") {
  Memory memory(4);
  Journal& journal = memory.Next();
  JournalEntry* longest = Begun(journal, 2);
  journal.Done(*longest, Content(1, JournalEntry::kPayload), 0);
  JournalEntry* longer = Begun(journal, 4);
  journal.Done(*longer, Content(2, JournalEntry::kPayload + 1), 0);
  Journal& next = memory.Next();
  CHECK(next.Find(Again(2))->done);
  CHECK(next.Find(Again(2))->payload_size == JournalEntry::kPayload);
  CHECK_FALSE(next.Find(Again(4))->done);
}

TEST_CASE("Journal: what was being filled is free", "[journal]") {
  Memory memory(2);
  Begun(memory.Next(), 2);
  memory.entries[0].phase = Phase::kClaimed;
  memory.entries[1].phase = Phase::kClaimed;
  Journal& next = memory.Next();
  CHECK_FALSE(next.Find(Again(2)));
  Begun(next, 4);
  Begun(next, 6);
}

TEST_CASE("Journal: a damaged length reads no further than the entry",
          "[journal]") {
  Memory memory(2);
  Journal& first = memory.Next();
  JournalEntry* entry = Begun(first, 2);
  first.Done(*entry, BytesOf("x"), 0);
  entry->payload_size = 1 << 20;
  CHECK(memory.Next().Find(Again(2))->payload_size == JournalEntry::kPayload);
}

TEST_CASE("Journal: a request that was begun twice", "[journal]") {
  Memory memory(8);
  Journal& first = memory.Next();
  SECTION("counts as it ended") {
    int done = GENERATE(0, 1);
    JournalEntry* entries[2] = {Begun(first, 2), Begun(first, 2)};
    first.Done(*entries[done], BytesOf("x"), 0);
    CHECK(memory.Next().Find(Again(2))->done);
  }
  SECTION("counts as it was begun first") {
    int early = GENERATE(0, 1);
    JournalEntry* entries[2] = {Begun(first, 2, {.size = 0}),
                                Begun(first, 2, {.size = 1})};
    entries[early]->began_ns = entries[1 - early]->began_ns - 1;
    CHECK(memory.Next().Find(Again(2))->before.size ==
          static_cast<uint64_t>(early));
  }
  // And is there once.
  CHECK(memory.Count(Phase::kIntent) + memory.Count(Phase::kDone) == 1);
}

TEST_CASE("Journal: what nobody asks for is kept, and in the end let go",
          "[journal]") {
  Memory memory(32);
  Journal& first = memory.Next();
  Begun(first, 2);
  Begun(first, 4);
  Journal& next = memory.Next();
  absl::Time now = absl::Now();
  next.Tick(now + absl::Seconds(5));
  REQUIRE(next.Find(Again(4)));
  CHECK(memory.Count(Phase::kIntent) == 2);
  next.Tick(now + absl::Hours(1));
  // One that was asked for may be in work as long as it likes.
  CHECK(memory.Count(Phase::kIntent) == 1);
  CHECK_FALSE(next.Find(Again(2)));
  CHECK(next.Find(Again(4)));
  Intent intent(&next, Again(4));
  intent.Mark({});
  next.Tick(now + absl::Hours(2));
  for (uint64_t i = 1; i <= 7; ++i) Begun(next, 100 + 2 * i);
  intent.Done(BytesOf("x"), 0);
  Journal& third = memory.Next();
  CHECK(third.Find(Again(4))->done);
  for (uint64_t i = 1; i <= 7; ++i) CHECK(third.Find(Again(100 + 2 * i)));
}

TEST_CASE("Journal: a thousand servers that die at once do not fill it",
          "[journal]") {
  Memory memory(128);
  // This one waits all the time; each server has it in hand again.
  Begun(memory.Next(), 2, {.size = 77});
  for (uint64_t i = 1; i <= 1000; ++i) {
    Journal& journal = memory.Next();
    auto waiting = journal.Find(Again(2));
    REQUIRE(waiting);
    REQUIRE(waiting->before.size == 77);
    for (uint64_t k = 1; k <= 8; ++k) {
      JournalEntry* entry = Begun(journal, 1000 * i + 2 * k);
      journal.Done(*entry, {}, 0);
    }
  }
  // The last servers' answers are there.
  Journal& last = memory.Next();
  for (uint64_t i = 1000; i > 995; --i) {
    for (uint64_t k = 1; k <= 8; ++k) CHECK(last.Find(Again(1000 * i + 2 * k)));
  }
}

TEST_CASE("Journal: many threads", "[journal]") {
  constexpr uint64_t kThreads = 8, kEach = 3000;
  Memory memory(64);
  Journal& journal = memory.Next();
  std::atomic<bool> wrong{false};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 1; i <= kEach; ++i) {
        uint64_t unique = 2 * (t * kEach + i);
        Bytes answer = Content(unique, 24);
        JournalEntry* entry = journal.Begin(Unique{unique}, {.first = unique});
        if (entry == nullptr || entry->unique != unique) {
          wrong = true;
          return;
        }
        if (i % 3 != 0) journal.Done(*entry, answer, 0);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_FALSE(wrong);
  // The last of each.
  Journal& next = memory.Next();
  for (uint64_t t = 0; t < kThreads; ++t) {
    uint64_t unique = 2 * (t * kEach + kEach);
    auto found = next.Find(Again(unique));
    REQUIRE(found);
    CHECK(found->before.first == unique);
    CHECK_FALSE(found->done);
    CHECK_FALSE(next.Find(Again(unique - 2)));
  }
}

}  // namespace
}  // namespace handlefs::test
