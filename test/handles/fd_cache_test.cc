// HotFds and Pins against maps.
#include "handles/fd_cache.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <optional>
#include <thread>
#include <vector>

#include "support.h"

namespace handlefs::test {
namespace {

using Kind = HotFds::Kind;

SharedFd NewFd() {
  return std::make_shared<const UniqueFd>(
      OpenAt("/dev/null", O_PATH | O_CLOEXEC));
}

TEST_CASE("HotFds: gives what was put in last, or nothing", "[fds]") {
  size_t fds = CountFds();
  {
    HotFds hot;
    struct Last {
      SharedFd fd;
      Kind kind;
    };
    std::map<uint64_t, Last> model;
    Random random(1);
    size_t hits = 0, old = 0, dropped = 0;
    for (int step = 0; step < 100000; ++step) {
      NodeId id{2 + random.Below(100)};
      switch (random.Below(8)) {
        case 0:
        case 1: {
          Kind kind = random.OneIn(3) ? Kind::kDirectory : Kind::kFile;
          SharedFd fd = NewFd();
          hot.Insert(id, fd, kind);
          model[Raw(id)] = {fd, kind};
          // Just put in, so it is there.
          REQUIRE(hot.Find(id) == fd);
          break;
        }
        case 2:
          hot.Drop(id);
          model.erase(Raw(id));
          break;
        case 3:
          if (!random.OneIn(20)) break;
          hot.DropFiles();
          std::erase_if(model, [](const auto& entry) {
            return entry.second.kind == Kind::kFile;
          });
          break;
        default: {
          SharedFd fd = hot.Find(id);
          if (!fd) break;
          auto it = model.find(Raw(id));
          if (it == model.end()) {
            ++dropped;
          } else if (it->second.fd != fd) {
            ++old;
          } else {
            ++hits;
          }
        }
      }
    }
    CHECK(dropped == 0);
    CHECK(old == 0);
    CHECK(hits > 1000);
    // The cache holds no more than it may, whatever was put in.
    for (auto& [id, last] : model) last.fd.reset();
    CHECK(CountFds() - fds <= HotFds::kCapacity);
  }
  CHECK(CountFds() == fds);
}

TEST_CASE("HotFds: a file is not there twice", "[fds]") {
  // Files of one set: fill it, make a gap, put one of the rest in again.
  HotFds hot;
  std::vector<NodeId> ids;
  for (uint64_t i = 2; i < 34; ++i) ids.push_back(NodeId{i});
  for (NodeId id : ids) hot.Insert(id, NewFd(), Kind::kDirectory);
  size_t left_over = 0;
  for (NodeId gap : ids) {
    hot.Drop(gap);
    for (NodeId id : ids) {
      if (id == gap || !hot.Find(id)) continue;
      SharedFd fresh = NewFd();
      hot.Insert(id, fresh, Kind::kFile);
      hot.DropFiles();
      if (hot.Find(id)) ++left_over;
    }
  }
  CHECK(left_over == 0);
}

TEST_CASE("HotFds: the one used last stays", "[fds]") {
  HotFds hot;
  NodeId mine{12345};
  SharedFd fd = NewFd();
  hot.Insert(mine, fd, Kind::kFile);
  for (uint64_t i = 0; i < 1000; ++i) {
    hot.Insert(NodeId{1 + i + (uint64_t{1} << 40)}, NewFd(), Kind::kFile);
    REQUIRE(hot.Find(mine) == fd);
  }
  // Unused, it is pushed out.
  for (uint64_t i = 0; i < 1000; ++i) {
    hot.Insert(NodeId{1 + i + (uint64_t{1} << 41)}, NewFd(), Kind::kFile);
  }
  CHECK(hot.Find(mine) == nullptr);
  CHECK(hot.Find(kNoNode) == nullptr);
}

TEST_CASE("Pins: counts against a map", "[fds]") {
  size_t fds = CountFds();
  {
    Pins pins;
    struct Pin {
      SharedFd fd;
      uint64_t lookups = 0;
    };
    std::map<uint64_t, Pin> model;
    Random random(2);
    for (int step = 0; step < 100000; ++step) {
      NodeId id{2 + random.Below(40)};
      auto it = model.find(Raw(id));
      switch (random.Below(8)) {
        case 0: {
          SharedFd fd = NewFd();
          pins.Add(id, fd);
          model.try_emplace(Raw(id), Pin{fd, 0});
          break;
        }
        case 1:
        case 2:
        case 3:
          pins.AddLookup(id);
          if (it != model.end()) ++it->second.lookups;
          break;
        case 4: {
          uint64_t n = random.OneIn(8) ? ~uint64_t{0} : random.Below(5);
          pins.Forget(id, n);
          if (it == model.end()) break;
          if (it->second.lookups > n) {
            it->second.lookups -= n;
          } else {
            model.erase(it);
          }
          break;
        }
        case 5:
          if (!random.OneIn(4)) break;
          pins.Remove(id);
          if (it != model.end()) model.erase(it);
          break;
        default:
          REQUIRE(pins.Find(id) ==
                  (it == model.end() ? nullptr : it->second.fd));
      }
      REQUIRE(pins.size() == model.size());
    }
    for (uint64_t id = 2; id < 42; ++id) pins.Forget(NodeId{id}, ~uint64_t{0});
    CHECK(pins.size() == 0);
    model.clear();
    CHECK(CountFds() == fds);
  }
  CHECK(CountFds() == fds);
}

TEST_CASE("Pins and HotFds: many threads", "[fds]") {
  size_t fds = CountFds();
  {
    Pins pins;
    HotFds hot;
    // What an id's descriptor is can be told by its file position.
    int memory = memfd_create("marks", MFD_CLOEXEC);
    UniqueFd owner(memory);
    std::string path = "/proc/self/fd/" + std::to_string(memory);
    std::atomic<size_t> wrong{0};
    auto marked = [&](NodeId id) {
      UniqueFd fd = OpenAt(path, O_RDONLY);
      lseek(fd.get(), static_cast<off_t>(Raw(id)), SEEK_SET);
      return std::make_shared<const UniqueFd>(std::move(fd));
    };
    auto check = [&](NodeId id, const SharedFd& fd) {
      if (!fd) return;
      off_t at = lseek(fd->get(), 0, SEEK_CUR);
      if (at != static_cast<off_t>(Raw(id))) ++wrong;
    };
    auto work = [&](uint64_t seed) {
      Random random(seed);
      for (int i = 0; i < 20000; ++i) {
        NodeId id{2 + random.Below(50)};
        switch (random.Below(8)) {
          case 0:
            hot.Insert(id, marked(id),
                       random.OneIn(2) ? Kind::kFile : Kind::kDirectory);
            break;
          case 1:
            pins.Add(id, marked(id));
            break;
          case 2:
            pins.AddLookup(id);
            break;
          case 3:
            pins.Forget(id, random.Below(3));
            break;
          case 4:
            hot.Drop(id);
            break;
          case 5:
            if (random.OneIn(50)) hot.DropFiles();
            break;
          case 6:
            check(id, hot.Find(id));
            break;
          default:
            check(id, pins.Find(id));
        }
      }
    };
    std::vector<std::thread> threads;
    for (uint64_t i = 0; i < 6; ++i) threads.emplace_back(work, i);
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
  }
  CHECK(CountFds() == fds);
}

}  // namespace
}  // namespace handlefs::test
