// OpenFiles: an fh means one open file, before and after never another.
#include "handles/open_files.h"

#include <fcntl.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "support.h"

namespace handlefs::test {
namespace {

std::shared_ptr<OpenFile> NewFile(uint64_t mark) {
  auto file = std::make_shared<OpenFile>();
  file->node = NodeId{mark};
  return file;
}

TEST_CASE("OpenFiles: against a map; a stale fh is an error", "[open]") {
  for (uint32_t incarnation : {0u, 1u, 0xabcdefu, 0xffffffffu}) {
    CAPTURE(incarnation);
    OpenFiles files(incarnation);
    std::map<uint64_t, std::shared_ptr<OpenFile>> open;
    std::vector<uint64_t> stale;
    std::set<uint64_t> ever;
    Random random(incarnation);
    for (uint64_t step = 1; step <= 40000; ++step) {
      bool growing = step / 5000 % 2 == 0;
      uint64_t dice = random.Below(10);
      if (dice < (growing ? 5u : 3u)) {
        auto file = NewFile(step);
        auto fh = files.Insert(file);
        REQUIRE(fh.ok());
        REQUIRE_FALSE(files.IsForeign(*fh));
        REQUIRE(Raw(*fh) >> 40 == (incarnation & 0xffffff));
        // Never one that was given out before.
        REQUIRE(ever.insert(Raw(*fh)).second);
        open.emplace(Raw(*fh), file);
      } else if (dice < 7 && !open.empty()) {
        auto it = open.begin();
        std::advance(it, random.Below(std::min<size_t>(open.size(), 50)));
        auto removed = files.Remove(Fh{it->first});
        REQUIRE(removed.ok());
        REQUIRE(*removed == it->second);
        stale.push_back(it->first);
        open.erase(it);
      } else if (dice < 8 && !open.empty()) {
        auto it = open.begin();
        std::advance(it, random.Below(std::min<size_t>(open.size(), 50)));
        auto found = files.Find(Fh{it->first});
        REQUIRE(found.ok());
        REQUIRE(*found == it->second);
      } else if (dice < 9 && !stale.empty()) {
        Fh fh{stale[random.Below(stale.size())]};
        REQUIRE(ErrorOf(files.Find(fh)) == EBADF);
        REQUIRE(ErrorOf(files.Remove(fh)) == EBADF);
      } else {
        uint64_t fh = random.Next() >> random.Below(64);
        if (open.contains(fh)) continue;
        REQUIRE(ErrorOf(files.Find(Fh{fh})) == EBADF);
        REQUIRE(ErrorOf(files.Remove(Fh{fh})) == EBADF);
      }
      REQUIRE(files.size() == open.size());
    }
  }
}

TEST_CASE("OpenFiles: every changed bit of an fh is another fh", "[open]") {
  OpenFiles files(0x123456);
  std::vector<Fh> all;
  for (uint64_t i = 0; i < 20; ++i) all.push_back(*files.Insert(NewFile(i)));
  std::set<uint64_t> given;
  for (Fh fh : all) given.insert(Raw(fh));
  for (Fh fh : all) {
    for (int bit = 0; bit < 64; ++bit) {
      Fh other{Raw(fh) ^ uint64_t{1} << bit};
      CHECK(files.IsForeign(other) == (bit >= 40));
      CHECK(files.Find(other).ok() == given.contains(Raw(other)));
    }
  }
}

TEST_CASE("OpenFiles: one place used again and again", "[open]") {
  // Generations have 16 bits: so long must a place be reused before an old fh
  // could mean something again.
  OpenFiles files(7);
  Fh first = *files.Insert(NewFile(0));
  REQUIRE(files.Remove(first).ok());
  size_t wrong = 0;
  for (uint64_t i = 1; i < 65536; ++i) {
    Fh fh = *files.Insert(NewFile(i));
    if (files.Find(first).ok() || fh == first) ++wrong;
    if ((*files.Find(fh))->node != NodeId{i}) ++wrong;
    if (!files.Remove(fh).ok()) ++wrong;
  }
  CHECK(wrong == 0);
  CHECK(files.size() == 0);
}

TEST_CASE("OpenFiles: a file stays open while it is in use", "[open]") {
  size_t fds = CountFds();
  {
    OpenFiles files(1);
    auto file = NewFile(1);
    file->fd = OpenAt("/dev/null", O_RDONLY);
    Fh fh = *files.Insert(std::move(file));
    auto used = *files.Find(fh);
    REQUIRE(files.Remove(fh).ok());
    CHECK(fcntl(used->fd.get(), F_GETFL) >= 0);
    CHECK(CountFds() == fds + 1);
    used.reset();
    CHECK(CountFds() == fds);
    auto kept = NewFile(2);
    kept->fd = OpenAt("/dev/null", O_RDONLY);
    REQUIRE(files.Insert(std::move(kept)).ok());
  }
  CHECK(CountFds() == fds);
}

TEST_CASE("OpenFiles: many threads", "[open]") {
  OpenFiles files(9);
  std::atomic<size_t> wrong{0};
  auto work = [&](uint64_t thread) {
    Random random(thread);
    std::vector<std::pair<Fh, uint64_t>> mine;
    std::vector<Fh> closed;
    for (uint64_t i = 0; i < 20000; ++i) {
      if (mine.size() < 20 && random.OneIn(2)) {
        uint64_t mark = thread << 32 | i;
        mine.emplace_back(*files.Insert(NewFile(mark)), mark);
        continue;
      }
      if (mine.empty()) continue;
      size_t at = random.Below(mine.size());
      auto [fh, mark] = mine[at];
      auto found = files.Find(fh);
      if (!found.ok() || (*found)->node != NodeId{mark}) ++wrong;
      if (!random.OneIn(2)) continue;
      auto removed = files.Remove(fh);
      if (!removed.ok() || (*removed)->node != NodeId{mark}) ++wrong;
      if (files.Find(fh).ok()) ++wrong;
      mine.erase(mine.begin() + static_cast<ptrdiff_t>(at));
    }
    for (auto& [fh, mark] : mine) {
      if (!files.Remove(fh).ok()) ++wrong;
    }
  };
  std::vector<std::thread> threads;
  for (uint64_t i = 1; i <= 6; ++i) threads.emplace_back(work, i);
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(files.size() == 0);
}

TEST_CASE("OpenFiles: flocks of an adopted file stay on one description",
          "[open]") {
  OpenFiles earlier(1);
  OpenFiles files(2);
  auto fh = earlier.Insert(NewFile(1));
  REQUIRE(fh.ok());
  CHECK(files.IsForeign(*fh));
  CHECK_FALSE(files.Find(*fh).ok());
  std::vector<std::shared_ptr<OpenFile>> opened;
  for (int i = 0; i < 3; ++i) {
    auto again = NewFile(1);
    again->fd = UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC));
    opened.push_back(again);
    files.Adopt(*fh, again);
    auto found = files.Find(*fh);
    REQUIRE(found.ok());
    CHECK(*found == again);
    CHECK((*found)->flock_fd().get() == opened[0]->fd.get());
  }
  CHECK(files.size() == 1);
  auto removed = files.Remove(*fh);
  REQUIRE(removed.ok());
  CHECK(*removed == opened[2]);
  CHECK(files.size() == 0);
  CHECK_FALSE(files.Remove(*fh).ok());
}

TEST_CASE("OpenFiles: an open file of a node, while it is open", "[open]") {
  OpenFiles files(1);
  const NodeId node{7};
  CHECK(files.OfNode(node) == nullptr);
  auto first = files.Insert(NewFile(7));
  auto second = files.Insert(NewFile(7));
  auto other = files.Insert(NewFile(8));
  REQUIRE(files.OfNode(node) == *files.Find(*second));
  REQUIRE(files.Remove(*first).ok());
  CHECK(files.OfNode(node) == *files.Find(*second));
  REQUIRE(files.Remove(*second).ok());
  CHECK(files.OfNode(node) == nullptr);
  CHECK(files.OfNode(NodeId{8}) == *files.Find(*other));
}

}  // namespace
}  // namespace handlefs::test
