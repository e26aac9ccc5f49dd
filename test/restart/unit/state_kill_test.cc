// Records of a process that is really killed: each is there whole, or not.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <new>
#include <set>
#include <vector>

#include "records.h"
#include "support.h"

namespace handlefs::test {
namespace {

using Records = std::multiset<Record>;

// The walk of one server: the same for the same seed.
class Walk {
 public:
  Walk(State& state, uint64_t seed) : state_(state), random_(seed) {}

  // What is there after `steps` steps; `done` is told of each.
  template <typename Done>
  void Run(uint64_t steps, Done done) {
    for (uint64_t step = 1; step <= steps; ++step) {
      Step(step);
      done(step);
    }
  }
  Records records() const {
    Records out;
    for (const auto& [ref, record] : mine_) out.insert(record);
    return out;
  }

 private:
  void Step(uint64_t step) {
    if (mine_.size() < 40 && random_.OneIn(2)) {
      Bytes data = Content(step, 1 + random_.Below(Vault::kMost));
      Vault::Ref ref = state_.Reserve(data.size());
      state_.Commit(ref, Vault::Kind::kOpenFile, data);
      mine_.emplace_back(ref, Record{Vault::Kind::kOpenFile, data, 0});
    } else if (!mine_.empty()) {
      auto it = mine_.begin() + static_cast<long>(random_.Below(mine_.size()));
      state_.Erase(it->first);
      mine_.erase(it);
    }
  }

  State& state_;
  Random random_;
  std::vector<std::pair<Vault::Ref, Record>> mine_;
};

TEST_CASE("State: a server is killed between any two instructions", "[state]") {
  void* at = mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(at != MAP_FAILED);
  auto* steps = new (at) std::atomic<uint64_t>;
  Random random(7);
  for (uint64_t kill_number = 0; kill_number < 60; ++kill_number) {
    auto state = NewState();
    state->Scan();
    *steps = 0;
    const uint64_t wanted = 1 + random.Below(3000);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      Walk(*state, kill_number).Run(1000000, [&](uint64_t step) {
        *steps = step;
      });
      _exit(0);
    }
    while (*steps < wanted) {
    }
    kill(child, SIGKILL);
    REQUIRE(waitpid(child, nullptr, 0) == child);
    Records found;
    for (const auto& [ref, record] : ScanOf(*Reopen(*state))) {
      found.insert(record);
    }
    // What was done, or one step more of it.
    auto twin = NewState();
    twin->Scan();
    std::vector<Records> could;
    Walk walk(*twin, kill_number);
    const uint64_t done = *steps;
    walk.Run(done + 1, [&](uint64_t step) {
      if (step + 1 > done) could.push_back(walk.records());
    });
    CAPTURE(kill_number, done);
    CHECK((found == could.front() || found == could.back()));
  }
  munmap(at, 4096);
}

}  // namespace
}  // namespace handlefs::test
