// Which opens go through the kernel, and with which backing id.
#include "daemon/backings.h"

#include <catch2/catch.hpp>
#include <random>
#include <set>
#include <thread>
#include <vector>

namespace handlefs::test {
namespace {

using Wish = Backings::Wish;
using Access = Backings::Access;

constexpr NodeId kNode{10}, kOther{20};
constexpr BorrowedFd kFile{0};

class FakeConnection final : public io::Connection {
 public:
  Status Notify(const proto::Notification&, proto::Bytes) override {
    return Ok();
  }
  Result<BackingId> OpenBacking(BorrowedFd) override {
    std::lock_guard lock(mutex_);
    if (refusal != 0) return Errno(refusal);
    ++opened;
    open_.insert(++last_);
    return BackingId{last_};
  }
  Status CloseBacking(BackingId id) override {
    std::lock_guard lock(mutex_);
    if (open_.erase(Raw(id)) == 0) {
      ++closed_wrongly;
      return Errno(ENOENT);
    }
    return Ok();
  }
  bool Has(BackingId id) { return open_.contains(Raw(id)); }
  size_t open() const { return open_.size(); }

  int refusal = 0;
  int opened = 0;
  int closed_wrongly = 0;

 private:
  std::mutex mutex_;
  std::set<int32_t> open_;
  int32_t last_ = 0;
};

TEST_CASE("all opens of a node have one id", "[backings]") {
  FakeConnection kernel;
  Backings backings(&kernel);
  auto open = [&](NodeId node) {
    return backings.Open(node, kFile, Wish::kPassthrough, Access::kRead);
  };
  BackingId id = open(kNode);
  CHECK(id != kNoBacking);
  CHECK(open(kNode) == id);
  CHECK(open(kNode) == id);
  CHECK(kernel.opened == 1);
  BackingId other = open(kOther);
  CHECK(other != id);
  CHECK(kernel.open() == 2);

  backings.Release(kNode, id, Access::kRead);
  backings.Release(kNode, id, Access::kRead);
  CHECK(kernel.Has(id));
  backings.Release(kNode, id, Access::kRead);
  CHECK_FALSE(kernel.Has(id));
  CHECK(kernel.Has(other));

  // A new life gets a new id.
  BackingId next = open(kNode);
  CHECK(next != kNoBacking);
  CHECK(kernel.opened == 3);
  CHECK(kernel.closed_wrongly == 0);
}

TEST_CASE("the first open decides for all that come while it lasts",
          "[backings]") {
  FakeConnection kernel;
  Backings backings(&kernel);
  SECTION("through the kernel") {
    BackingId id =
        backings.Open(kNode, kFile, Wish::kPassthrough, Access::kRead);
    CHECK(backings.Open(kNode, kFile, Wish::kServer, Access::kRead) == id);
    backings.Release(kNode, id, Access::kRead);
    CHECK(kernel.Has(id));
    backings.Release(kNode, id, Access::kRead);
    CHECK(kernel.open() == 0);
  }
  SECTION("through the server") {
    CHECK(backings.Open(kNode, kFile, Wish::kServer, Access::kRead) ==
          kNoBacking);
    CHECK(backings.Open(kNode, kFile, Wish::kPassthrough, Access::kRead) ==
          kNoBacking);
    CHECK(kernel.opened == 0);
    backings.Release(kNode, kNoBacking, Access::kRead);
    CHECK(backings.Open(kNode, kFile, Wish::kPassthrough, Access::kRead) ==
          kNoBacking);
    backings.Release(kNode, kNoBacking, Access::kRead);
    backings.Release(kNode, kNoBacking, Access::kRead);
    // Now nobody is left who decided otherwise.
    CHECK(backings.Open(kNode, kFile, Wish::kPassthrough, Access::kRead) !=
          kNoBacking);
  }
  CHECK(kernel.closed_wrongly == 0);
}

TEST_CASE("a refusal of the kernel leaves the node to the server",
          "[backings]") {
  FakeConnection kernel;
  Backings backings(&kernel);
  CHECK(backings.last_refusal() == 0);
  kernel.refusal = ELOOP;
  CHECK(backings.Open(kNode, kFile, Wish::kPassthrough, Access::kRead) ==
        kNoBacking);
  CHECK(backings.last_refusal() == ELOOP);
  // While it is open that way it stays so.
  kernel.refusal = 0;
  CHECK(backings.Open(kNode, kFile, Wish::kPassthrough, Access::kRead) ==
        kNoBacking);
  CHECK(kernel.opened == 0);
  CHECK(backings.Open(kOther, kFile, Wish::kPassthrough, Access::kRead) !=
        kNoBacking);
  backings.Release(kNode, kNoBacking, Access::kRead);
  backings.Release(kNode, kNoBacking, Access::kRead);
  CHECK(backings.Open(kNode, kFile, Wish::kPassthrough, Access::kRead) !=
        kNoBacking);
}

TEST_CASE("writers are counted", "[backings]") {
  FakeConnection kernel;
  Backings backings(&kernel);
  BackingId id = backings.Open(kNode, kFile, Wish::kPassthrough, Access::kRead);
  CHECK_FALSE(backings.IsWritten(kNode));
  backings.Open(kNode, kFile, Wish::kPassthrough, Access::kWrite);
  backings.Open(kNode, kFile, Wish::kPassthrough, Access::kWrite);
  CHECK(backings.IsWritten(kNode));
  CHECK(backings.HasWriters(kNode));
  CHECK_FALSE(backings.IsWritten(kOther));
  CHECK_FALSE(backings.HasWriters(kOther));
  backings.Release(kNode, id, Access::kWrite);
  CHECK(backings.IsWritten(kNode));
  backings.Release(kNode, id, Access::kWrite);
  CHECK_FALSE(backings.IsWritten(kNode));
  backings.Release(kNode, id, Access::kRead);
}

TEST_CASE("a writer through the server is no unseen one", "[backings]") {
  FakeConnection kernel;
  Backings backings(&kernel);
  backings.Open(kNode, kFile, Wish::kServer, Access::kWrite);
  CHECK_FALSE(backings.IsWritten(kNode));
  CHECK(backings.HasWriters(kNode));
  backings.Open(kNode, kFile, Wish::kServer, Access::kRead);
  backings.Release(kNode, kNoBacking, Access::kWrite);
  CHECK_FALSE(backings.HasWriters(kNode));
}

TEST_CASE("a release of what is not open changes nothing", "[backings]") {
  FakeConnection kernel;
  Backings backings(&kernel);
  backings.Release(kNode, kNoBacking, Access::kRead);
  backings.Release(kNode, BackingId{5}, Access::kWrite);
  CHECK(kernel.closed_wrongly == 0);
}

TEST_CASE("a release that does not match changes nothing", "[backings]") {
  FakeConnection kernel;
  Backings backings(&kernel);
  auto wish = GENERATE(Wish::kPassthrough, Wish::kServer);
  auto open = [&](Access access) {
    return backings.Open(kNode, kFile, wish, access);
  };
  BackingId id = open(Access::kWrite);
  const BackingId wrong = id == kNoBacking ? BackingId{5} : kNoBacking;
  const bool unseen = wish == Wish::kPassthrough;
  auto unchanged = [&] {
    CHECK(kernel.closed_wrongly == 0);
    CHECK(kernel.open() == (unseen ? 1 : 0));
    CHECK(backings.HasWriters(kNode));
    CHECK(backings.IsWritten(kNode) == unseen);
  };
  for (int i = 0; i < 3; ++i) {
    backings.Release(kNode, wrong, Access::kWrite);
    backings.Release(kNode, BackingId{99}, Access::kWrite);
    backings.Release(kNode, wrong, Access::kRead);
    // Nobody reads.
    backings.Release(kNode, id, Access::kRead);
    unchanged();
  }
  // Another node is counted for itself.
  BackingId other =
      backings.Open(kOther, kFile, Wish::kPassthrough, Access::kWrite);
  CHECK(backings.IsWritten(kOther));
  backings.Release(kOther, other, Access::kWrite);
  unchanged();
  backings.Release(kNode, id, Access::kWrite);
  CHECK(kernel.open() == 0);
  CHECK_FALSE(backings.HasWriters(kNode));
}

TEST_CASE("many opens and releases on many threads end with nothing open",
          "[backings]") {
  FakeConnection kernel;
  Backings backings(&kernel);
  std::atomic<bool> mixed{false};
  std::vector<std::thread> threads;
  for (unsigned seed = 1; seed <= 4; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937 random(seed);
      struct Open {
        NodeId node;
        BackingId id;
        Access access;
      };
      std::vector<Open> mine;
      for (int i = 0; i < 2000; ++i) {
        if (mine.empty() || random() % 2 == 0) {
          NodeId node{random() % 5 + 2};
          Access access = random() % 2 == 0 ? Access::kRead : Access::kWrite;
          Wish wish = random() % 3 == 0 ? Wish::kServer : Wish::kPassthrough;
          BackingId id = backings.Open(node, kFile, wish, access);
          for (const Open& open : mine) {
            if (open.node == node && open.id != id) mixed = true;
          }
          mine.push_back({node, id, access});
        } else {
          size_t at = random() % mine.size();
          backings.Release(mine[at].node, mine[at].id, mine[at].access);
          mine.erase(mine.begin() + static_cast<ptrdiff_t>(at));
        }
      }
      for (const Open& o : mine) backings.Release(o.node, o.id, o.access);
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_FALSE(mixed);
  CHECK(kernel.open() == 0);
  CHECK(kernel.closed_wrongly == 0);
  for (uint64_t node = 2; node < 7; ++node) {
    CHECK_FALSE(backings.HasWriters(NodeId{node}));
  }
}

}  // namespace
}  // namespace handlefs::test
