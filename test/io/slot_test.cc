// Slots, their pool, and the tokens that answer through them.
#include "io/slot.h"

#include <sys/mman.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "fakes.h"
#include "io/dev_port.h"
#include "link.h"
#include "proto/flags.h"

namespace handlefs::test {
namespace {

using io::DevPort;
using io::Slot;
using io::SlotPool;

constexpr size_t kPage = 4096;
// What stands before the data of a WRITE.
constexpr size_t kWriteHeaders = sizeof(abi::InHeader) + sizeof(abi::WriteIn);

bool IsPageAligned(const std::byte* at) {
  return reinterpret_cast<uintptr_t>(at) % kPage == 0;
}

TEST_CASE("buffers have room for what a request may carry", "[slot]") {
  size_t max_write = GENERATE(4096u, 131072u, 1u << 20);
  SlotPool pool(max_write);
  Slot* slot = pool.Take();
  CHECK(pool.request_size() == slot->request().size());
  CHECK(slot->request().size() >= proto::kMinReadBuffer);
  CHECK(slot->request().size() >= kWriteHeaders + max_write);
  CHECK(slot->payload().size() >= max_write);
  // An xattr value comes and goes whatever max_write is.
  CHECK(slot->request().size() >= proto::kMaxXattr + kPage);
  CHECK(slot->payload().size() >= proto::kMaxXattr);
  pool.Return(slot);
}

TEST_CASE("data lies on page borders", "[slot]") {
  SlotPool pool(1 << 20);
  for (int i = 0; i < 3; ++i) {
    Slot* slot = pool.Take();
    CHECK(IsPageAligned(slot->request().data() + kWriteHeaders));
    CHECK(IsPageAligned(slot->payload().data()));
  }
}

TEST_CASE("memory is there before a request is read, if wanted", "[slot]") {
  auto pages =
      GENERATE(SlotPool::Pages::kAsTouched, SlotPool::Pages::kBeforeRead);
  SlotPool pool(1 << 20, pages);
  // More than are kept warm, so that some were given back to the system.
  std::vector<Slot*> slots;
  for (int i = 0; i < 10; ++i) slots.push_back(pool.Take());
  for (Slot* slot : slots) pool.Return(slot);
  for (int i = 0; i < 10; ++i) {
    auto request = pool.Take()->request();
    auto from = reinterpret_cast<uintptr_t>(request.data()) / kPage * kPage;
    auto end = reinterpret_cast<uintptr_t>(request.data() + request.size());
    std::vector<unsigned char> there((end - from + kPage - 1) / kPage);
    REQUIRE(mincore(reinterpret_cast<void*>(from), end - from, there.data()) ==
            0);
    auto missing = std::count(there.begin(), there.end(), 0);
    CHECK((missing == 0) == (pages == SlotPool::Pages::kBeforeRead));
  }
}

TEST_CASE("the whole of both buffers can be written", "[slot]") {
  SlotPool pool(4096);
  Slot* slot = pool.Take();
  std::memset(slot->request().data(), 0x11, slot->request().size());
  std::memset(slot->payload().data(), 0x22, slot->payload().size());
  for (std::byte byte : slot->request()) {
    if (byte != std::byte{0x11}) FAIL("the buffers overlap");
  }
}

TEST_CASE("slots are used again", "[slot]") {
  SlotPool pool(4096);
  Slot* first = pool.Take();
  Slot* second = pool.Take();
  CHECK(first != second);
  pool.Return(second);
  CHECK(pool.Take() == second);
  pool.Return(first);
  CHECK(pool.Take() == first);
}

TEST_CASE("few idle slots keep their pages", "[slot]") {
  SlotPool pool(4096);
  std::vector<Slot*> slots;
  for (int i = 0; i < 12; ++i) {
    slots.push_back(pool.Take());
    slots.back()->payload()[0] = std::byte{1};
    slots.back()->request()[0] = std::byte{1};
  }
  for (Slot* slot : slots) pool.Return(slot);
  size_t kept = 0;
  for (size_t i = 0; i < slots.size(); ++i) {
    Slot* slot = pool.Take();
    bool whole = slot->payload()[0] == std::byte{1};
    CHECK((slot->request()[0] == std::byte{1}) == whole);
    kept += whole ? 1 : 0;
  }
  CHECK(kept >= 1);
  CHECK(kept < slots.size());
}

TEST_CASE("threads may take and return slots at once", "[slot]") {
  SlotPool pool(4096);
  std::atomic<bool> shared{false};
  std::vector<std::thread> threads;
  for (int t = 1; t <= 4; ++t) {
    threads.emplace_back([&, mark = static_cast<std::byte>(t)] {
      for (int i = 0; i < 500; ++i) {
        Slot* slot = pool.Take();
        slot->payload()[0] = mark;
        if (slot->payload()[0] != mark) shared = true;
        pool.Return(slot);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_FALSE(shared);
}

struct SlotOnSocket {
  SlotOnSocket() : port(link.device), slot(pool.Take()) { slot->Assign(&port); }
  io::Token MakeToken(uint64_t unique) { return {slot, Unique{unique}}; }
  void Fill(std::string_view text) {
    std::memcpy(slot->payload().data(), text.data(), text.size());
  }

  Link link;
  DevPort port;
  SlotPool pool{4096};
  Slot* slot;
};

TEST_CASE("off the reader a reply is written at once", "[slot]") {
  SlotOnSocket on;
  on.Fill("payload");
  on.MakeToken(42).Reply(7);
  Answer answer = on.link.peer.Receive();
  CHECK(answer.unique == 42);
  CHECK(answer.error == 0);
  CHECK(answer.payload == "payload");
  // And the slot is free again.
  CHECK(on.pool.Take() == on.slot);
}

TEST_CASE("an error comes without payload", "[slot]") {
  SlotOnSocket on;
  on.Fill("payload");
  on.MakeToken(44).ReplyError(Errno(ENOTEMPTY));
  Answer answer = on.link.peer.Receive();
  CHECK(answer.unique == 44);
  CHECK(answer.error == ENOTEMPTY);
  CHECK(answer.payload.empty());
}

TEST_CASE("on the reader the slot keeps the reply", "[slot]") {
  SlotOnSocket on;
  on.port.Begin(on.slot);
  on.Fill("later");
  on.MakeToken(46).Reply(5);
  CHECK(on.port.End() == DevPort::Outcome::kReply);
  CHECK(on.link.peer.Quiet());
  REQUIRE(on.slot->reply().size() == sizeof(abi::OutHeader) + 5);
  on.port.Write(on.slot->reply());
  CHECK(on.link.peer.Receive().payload == "later");
}

TEST_CASE("a silent end frees the slot", "[slot]") {
  SlotOnSocket on;
  SECTION("on the reader") {
    on.port.Begin(on.slot);
    on.MakeToken(48).NoReply();
    CHECK(on.port.End() == DevPort::Outcome::kSilent);
    // The reader goes on with it: it is not in the pool.
    CHECK(on.pool.Take() != on.slot);
  }
  SECTION("elsewhere") {
    on.MakeToken(48).NoReply();
    CHECK(on.pool.Take() == on.slot);
  }
  CHECK(on.link.peer.Quiet());
}

TEST_CASE("a deferred reply needs no slot", "[slot]") {
  SlotOnSocket on;
  io::LateReply late = on.MakeToken(50).Defer();
  CHECK(on.pool.Take() == on.slot);
  CHECK(on.link.peer.Quiet());
  CHECK(late.unique() == Unique{50});
  late.Send(Ok());
  Answer answer = on.link.peer.Receive();
  CHECK(answer.unique == 50);
  CHECK(answer.error == 0);
  CHECK(answer.payload.empty());
  // Only once.
  late.Send(Ok());
  CHECK(on.link.peer.Quiet());
}

TEST_CASE("a token that dies unused answers EIO and is counted", "[token]") {
  Answers answers;
  const uint64_t before = io::Token::dropped();
  { io::Token token = answers.MakeToken(2); }
  CHECK(answers.Of(2) == EIO);
  CHECK(io::Token::dropped() == before + 1);

  SECTION("being moved from is not dying") {
    io::Token from = answers.MakeToken(4);
    {
      io::Token to = std::move(from);
      to.Reply(0);
    }
    CHECK(answers.Of(4) == 0);
  }
  SECTION("being assigned to is") {
    io::Token token = answers.MakeToken(4);
    token = answers.MakeToken(6);
    CHECK(answers.Of(4) == EIO);
    CHECK_FALSE(answers.Of(6));
    token.ReplyError(Errno(ENOENT));
    CHECK(answers.Of(6) == ENOENT);
  }
  CHECK(answers.twice() == 0);
}

TEST_CASE("a late reply that dies unused answers EIO", "[token]") {
  Answers answers;
  { io::LateReply late = answers.MakeLateReply(2); }
  CHECK(answers.Of(2) == EIO);
  {
    io::LateReply late = answers.MakeLateReply(4);
    io::LateReply moved = std::move(late);
    io::LateReply target;
    target = std::move(moved);
    CHECK_FALSE(answers.Of(4));
    target = answers.MakeLateReply(6);
    CHECK(answers.Of(4) == EIO);
    target.Send(Errno(EINTR));
  }
  CHECK(answers.Of(6) == EINTR);
  CHECK(answers.twice() == 0);
}

TEST_CASE("errors beyond the protocol's become EIO", "[token]") {
  Answers answers;
  answers.MakeToken(2).ReplyError(Errno(511));
  CHECK(answers.Of(2) == 511);
  answers.MakeToken(4).ReplyError(Errno(512));
  CHECK(answers.Of(4) == EIO);
  answers.MakeToken(6).ReplyError(kWouldWait);
  CHECK(answers.Of(6) == EIO);
}

TEST_CASE("every reason to stop has its own words", "[token]") {
  std::set<std::string_view> words;
  for (io::StopReason reason :
       {io::StopReason::kUnmounted, io::StopReason::kAborted,
        io::StopReason::kPeerClosed, io::StopReason::kStopped,
        io::StopReason::kReadError}) {
    words.insert(io::Describe(reason));
  }
  CHECK(words.size() == 5);
}

}  // namespace
}  // namespace handlefs::test
