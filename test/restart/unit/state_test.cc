// The memory that outlives the server: what is refused, and records against a
// map.
#include "daemon/restart/state.h"

#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "daemon/restart/journal.h"
#include "records.h"
#include "support.h"

namespace handlefs::test {
namespace {

constexpr size_t kCell = 64;
// In front of a record's bytes.
constexpr size_t kHead = 24;

SessionRecord SessionOf(const std::string& dialect) {
  SessionRecord session{};
  session.init.minor = 45;
  session.init.flags = 0x12345678;
  dialect.copy(session.dialect.data(), session.dialect.size() - 1);
  return session;
}

// It is refused with a line that has `words`, and nothing is changed in it.
void Refused(BorrowedFd memory, const std::string& words) {
  std::vector<char> before(1 << 20), after(1 << 20);
  auto size = pread(memory.get(), before.data(), before.size(), 0);
  auto opened = State::Open(Copy(memory));
  REQUIRE(absl::IsFailedPrecondition(opened.status()));
  CAPTURE(opened.status().ToString());
  CHECK(opened.status().ToString().find(words) != std::string::npos);
  CHECK(pread(memory.get(), after.data(), after.size(), 0) == size);
  CHECK(before == after);
}

TEST_CASE("State: what was settled comes back", "[state]") {
  auto state = NewState();
  CHECK_FALSE(state->session());
  HashKey random = state->key();
  CHECK(random != HashKey{});
  CHECK(NewState()->key() != random);
  state->SetKey({7, 8});
  state->SetSession(SessionOf("lookup-handle-v3"));
  state->counters().generation = 5;
  auto next = Reopen(*state);
  CHECK(next->key() == HashKey{7, 8});
  REQUIRE(next->session());
  CHECK(next->session()->init.flags == 0x12345678);
  CHECK(std::string(next->session()->dialect.data()) == "lookup-handle-v3");
  CHECK(next->counters().generation == 5);
  // And again: two copies take turns.
  next->SetSession(SessionOf("mainline"));
  next->SetSession(SessionOf("compound-v6"));
  CHECK(std::string(Reopen(*state)->session()->dialect.data()) ==
        "compound-v6");
}

TEST_CASE("State: killed while the session changed", "[state]") {
  auto state = NewState();
  state->SetSession(SessionOf("first"));
  auto other = NewState();
  other->SetSession(SessionOf("first"));
  other->SetSession(SessionOf("second"));
  // The second is written to where the first is not: a half-written one harms
  // nothing.
  size_t at = Raw(other->memory()).Find(BytesOf("second"));
  Raw(state->memory()).all()[at] = std::byte{'x'};
  CHECK(std::string(Reopen(*state)->session()->dialect.data()) == "first");
}

TEST_CASE("State: what is not such a memory is refused", "[state]") {
  SECTION("a file of another size") {
    UniqueFd memory(memfd_create("other", MFD_CLOEXEC));
    Refused(memory, "its size");
  }
  SECTION("no file") { CHECK_FALSE(State::Open(UniqueFd()).ok()); }
  auto state = NewState();
  state->SetSession(SessionOf("mainline"));
  SECTION("another content") {
    Raw(state->memory()).all()[0] = std::byte{'x'};
    Refused(state->memory(), "not of this program");
  }
  SECTION("another version") {
    uint32_t version = State::kVersion + 1;
    std::memcpy(Raw(state->memory()).all().data() + 8, &version, 4);
    Refused(state->memory(), "unmount and mount again");
  }
  SECTION("the same version of another build") {
    Raw(state->memory()).all()[12] ^= std::byte{1};
    Refused(state->memory(), "unmount and mount again");
  }
  SECTION("truncated") {
    REQUIRE(ftruncate(state->memory().get(), 1 << 20) == 0);
    Refused(state->memory(), "its size");
  }
  SECTION("damaged session") {
    Raw raw(state->memory());
    raw.all()[raw.Find(BytesOf("mainline"))] ^= std::byte{1};
    Refused(state->memory(), "damaged");
  }
  SECTION("damaged key") {
    HashKey key = state->key();
    auto bytes = std::as_bytes(std::span(key));
    Raw raw(state->memory());
    // The other copy has it too.
    size_t first = raw.Find({bytes.begin(), bytes.end()});
    raw.all()[raw.Find({bytes.begin(), bytes.end()}, first + 1)] ^=
        std::byte{1};
    Refused(state->memory(), "damaged");
  }
  SECTION("more records than there is room for") {
    uint32_t cells = 0xffffffff;
    std::memcpy(Raw(state->memory()).all().data() + 20, &cells, 4);
    Refused(state->memory(), "damaged");
  }
}

TEST_CASE("State: records against a map, opened anew at any point", "[state]") {
  constexpr Vault::Kind kKinds[] = {Vault::Kind::kOpenFile, Vault::Kind::kPin,
                                    Vault::Kind::kLockOwner,
                                    Vault::Kind::kNode};
  uint64_t seed = GENERATE(1, 2, 3, 4);
  CAPTURE(seed);
  Random random(seed);
  auto state = NewState();
  CHECK(state->Scan().empty());
  ByRef model;
  uint32_t highest = 0;
  // Reserved by a server that is killed before it says so.
  std::vector<Vault::Ref> reserved;
  auto any = [&] {
    auto it = model.begin();
    std::advance(it, random.Below(model.size()));
    return it;
  };
  for (uint64_t step = 0; step < 6000; ++step) {
    uint64_t dice = random.Below(100);
    if (dice < 45 && model.size() < 400) {
      Bytes data = Content(step, random.Below(Vault::kMost + 1));
      Vault::Kind kind = kKinds[random.Below(std::size(kKinds))];
      Vault::Ref ref = state->Reserve(data.size());
      REQUIRE(ref != Vault::kNoRef);
      REQUIRE(model.count(static_cast<uint32_t>(ref)) == 0);
      if (random.OneIn(20)) {
        reserved.push_back(ref);
        continue;
      }
      state->Commit(ref, kind, data);
      model[static_cast<uint32_t>(ref)] = {kind, std::move(data), 0};
      highest = std::max(highest, static_cast<uint32_t>(ref));
    } else if (dice < 75 && !model.empty()) {
      auto it = any();
      state->Erase(Vault::Ref{it->first});
      model.erase(it);
    } else if (dice < 95 && !model.empty()) {
      auto it = any();
      it->second.word = random.Next();
      state->Word(Vault::Ref{it->first})->store(it->second.word);
    } else {
      state = Reopen(*state);
      reserved.clear();
      REQUIRE(ScanOf(*state) == model);
    }
  }
  state = Reopen(*state);
  REQUIRE(ScanOf(*state) == model);
  // Room is used again: 400 of the longest, and what lies between them.
  CHECK(highest < 2 * 400 * 8);
  for (const auto& [ref, record] : model) state->Erase(Vault::Ref{ref});
  CHECK(state->counters().record_bytes == 0);
  state = Reopen(*state);
  CHECK(state->Scan().empty());
}

TEST_CASE("State: sizes", "[state]") {
  auto state = NewState();
  state->Scan();
  CHECK(state->Reserve(Vault::kMost + 1) == Vault::kNoRef);
  CHECK(state->Word(Vault::kNoRef) == nullptr);
  state->Erase(Vault::kNoRef);
  ByRef model;
  for (size_t size : {size_t{0}, size_t{1}, kCell - kHead, kCell - kHead + 1,
                      Vault::kMost - 1, Vault::kMost}) {
    Vault::Ref ref = state->Reserve(size);
    REQUIRE(ref != Vault::kNoRef);
    state->Commit(ref, Vault::Kind::kPin, Content(size, size));
    model[static_cast<uint32_t>(ref)] = {Vault::Kind::kPin, Content(size, size),
                                         0};
  }
  CHECK(ScanOf(*Reopen(*state)) == model);
}

TEST_CASE("State: a damaged record is not seen, the others are", "[state]") {
  auto state = NewState();
  state->Scan();
  std::vector<Vault::Ref> refs;
  for (int i = 0; i < 3; ++i) {
    refs.push_back(state->Reserve(200));
    state->Commit(refs.back(), Vault::Kind::kNode,
                  Content(static_cast<uint64_t>(i), 200));
  }
  {
    Raw raw(state->memory());
    size_t at = raw.Find(Content(1, 200));
    // Its bytes, its length, its kind.
    size_t where = GENERATE_REF(size_t{0}, size_t{199}, -kHead + 6, -kHead);
    raw.all()[at + where] ^= std::byte{1};
  }
  ByRef found = ScanOf(*Reopen(*state));
  REQUIRE(found.size() == 2);
  CHECK(found[static_cast<uint32_t>(refs[0])].data == Content(0, 200));
  CHECK(found[static_cast<uint32_t>(refs[2])].data == Content(2, 200));
}

TEST_CASE("State: bytes of a record that look like one are none", "[state]") {
  auto state = NewState();
  state->Scan();
  Vault::Ref real = state->Reserve(16);
  state->Commit(real, Vault::Kind::kPin, Content(1, 16));
  Raw raw(state->memory());
  size_t cell = raw.Find(Content(1, 16)) - kHead;
  REQUIRE(cell % kCell == 0);
  // A client put the cell of another record, which it cannot even see, to where
  // cells of the memory begin.
  Bytes data = Content(2, Vault::kMost);
  for (size_t at = kCell - kHead; at + kCell <= data.size(); at += kCell) {
    std::memcpy(data.data() + at, raw.all().data() + cell, kCell);
  }
  Vault::Ref forged = state->Reserve(data.size());
  state->Commit(forged, Vault::Kind::kNode, data);
  CHECK(ScanOf(*Reopen(*state)).size() == 2);
  // The server is killed directly before the record is valid, or while it is
  // taken away.
  size_t head = raw.Find(data) - kHead;
  std::memset(raw.all().data() + head, 0, 4);
  ByRef found = ScanOf(*Reopen(*state));
  REQUIRE(found.size() == 1);
  CHECK(found.begin()->first == static_cast<uint32_t>(real));
}

TEST_CASE("State: records of earlier servers can be changed and erased",
          "[state]") {
  auto state = NewState();
  state->Scan();
  std::vector<Vault::Ref> refs;
  for (uint64_t generation = 0; generation < 50; ++generation) {
    Vault::Ref ref = state->Reserve(100);
    state->Commit(ref, Vault::Kind::kPin, Content(generation, 100));
    refs.push_back(ref);
    state = Reopen(*state);
    ByRef found = ScanOf(*state);
    REQUIRE(found.size() == std::min<size_t>(refs.size(), 10));
    for (Vault::Ref kept : refs) {
      REQUIRE(found.count(static_cast<uint32_t>(kept)) == 1);
      state->Word(kept)->store(generation);
    }
    if (refs.size() == 10) {
      state->Erase(refs.front());
      refs.erase(refs.begin());
    }
  }
}

TEST_CASE("State: the journal is free, and as large as promised", "[state]") {
  auto state = NewState();
  REQUIRE(state->journal().size() == State::kJournalEntries);
  for (const JournalEntry& entry : state->journal()) {
    REQUIRE(entry.phase.load() == JournalEntry::Phase::kFree);
  }
  state->journal()[4095].unique = 42;
  // It does not lie in the records' place.
  state->Scan();
  state->Commit(state->Reserve(1), Vault::Kind::kPin, Content(1, 1));
  CHECK(Reopen(*state)->journal()[4095].unique == 42);
}

}  // namespace
}  // namespace handlefs::test
