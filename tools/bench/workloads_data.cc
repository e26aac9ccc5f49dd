// Reading and writing: pread and pwrite by one thread for each job.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "fixtures.h"
#include "text.h"
#include "workload.h"

namespace handlefs::bench {
namespace {

enum class Verb { kRead, kWrite };
enum class Order { kSequential, kRandom };
enum class Way { kCached, kDirect };
enum class Start { kWarm, kCold };

struct Job {
  Verb verb;
  Order order;
  uint64_t block;
  Way way;
  int jobs;
  Start start = Start::kWarm;
};

struct State {
  int fd = -1;
  std::byte* buffer = nullptr;
  uint64_t blocks = 0;
  uint64_t random = 0;
};

void Transfer(Client& client, const Job& job, State& state, uint64_t i) {
  uint64_t at = i;
  if (job.order == Order::kRandom) {
    // xorshift64
    state.random ^= state.random << 13;
    state.random ^= state.random >> 7;
    state.random ^= state.random << 17;
    at = state.random;
  }
  off_t offset = static_cast<off_t>(at % state.blocks * job.block);
  ssize_t n = job.verb == Verb::kRead
                  ? pread(state.fd, state.buffer, job.block, offset)
                  : pwrite(state.fd, state.buffer, job.block, offset);
  if (n < 0 && errno == EINVAL && job.way == Way::kDirect) {
    client.Unsupported("no O_DIRECT in blocks of this size");
  }
  if (n < 0) client.Fail(job.verb == Verb::kRead ? "pread" : "pwrite");
  if (n != static_cast<ssize_t>(job.block)) {
    client.FailPlainly(Format("%zd of %llu bytes", n,
                              static_cast<unsigned long long>(job.block)));
  }
}

void Open(Client& client, const Job& job, State& state) {
  std::string path = client.Path(Format(
      job.verb == Verb::kRead ? "data/file%d" : "cell/file%d", client.index()));
  int flags = job.verb == Verb::kRead ? O_RDONLY : O_WRONLY;
  if (job.way == Way::kDirect) flags |= O_DIRECT;
  state.fd = open(path.c_str(), flags | O_CLOEXEC);
  if (state.fd < 0 && errno == EINVAL && job.way == Way::kDirect) {
    client.Unsupported("no O_DIRECT here");
  }
  if (state.fd < 0) client.Fail("open " + path);
  void* memory = nullptr;
  if (posix_memalign(&memory, 4096, job.block) != 0) client.Fail("memory");
  state.buffer = static_cast<std::byte*>(memory);
  std::memset(state.buffer, 0x5a, job.block);
  state.blocks = client.knobs().data_bytes / job.block;
  state.random = 0x2545f4914f6cdd1du + static_cast<uint64_t>(client.index());
}

std::string NameOf(const Job& job) {
  std::string name = job.verb == Verb::kRead ? "read" : "write";
  name += job.order == Order::kSequential ? "-seq" : "-rand";
  name += job.block == 4096 ? "-4k" : "-1m";
  if (job.way == Way::kDirect) name += "-direct";
  if (job.start == Start::kCold) name += "-cold";
  if (job.jobs > 1) name += Format("-%d", job.jobs);
  return name;
}

std::string AboutOf(const Job& job) {
  return Format("%s %s in blocks of %s, %s, %d job%s",
                job.order == Order::kSequential ? "sequential" : "random",
                job.verb == Verb::kRead ? "read" : "overwrite",
                job.block == 4096 ? "4k" : "1M",
                job.way == Way::kDirect     ? "O_DIRECT"
                : job.start == Start::kCold ? "not cached by the mount"
                : job.verb == Verb::kRead   ? "read before"
                                            : "without O_SYNC",
                job.jobs, job.jobs == 1 ? "" : "s with a file each");
}

// Those that differ most; the rest is there to be asked for.
bool IsTelling(const Job& job) {
  bool large = job.block != 4096;
  if (large != (job.order == Order::kSequential)) return false;
  return large ? job.jobs == 1
               : job.jobs == 1 || job.way == Way::kDirect ||
                     job.verb == Verb::kWrite;
}

Workload Data(const Job& job) {
  auto state = std::make_shared<State>();
  Workload workload{
      .info = {NameOf(job), "data", "us/op", AboutOf(job), job.jobs},
      .by_default = IsTelling(job) ? Workload::Default::kRuns
                                   : Workload::Default::kOnDemand,
      .warm_up =
          [=](Client& client) {
            Open(client, job, *state);
            if (job.start == Start::kCold) return;
            // Through the cache a block each; past it one says all.
            uint64_t count = job.way == Way::kCached ? state->blocks : 1;
            Job all = job;
            all.order = Order::kSequential;
            for (uint64_t i = 0; i < count; ++i) {
              Transfer(client, all, *state, i);
            }
          },
      .measure =
          [=](Client& client) {
            if (job.start == Start::kCold) {
              client.Once([&] {
                for (uint64_t i = 0; i < state->blocks; ++i) {
                  Transfer(client, job, *state, i);
                }
                return state->blocks;
              });
              return;
            }
            client.Loop(job.block == 4096 ? 16 : 1,
                        [&](uint64_t i) { Transfer(client, job, *state, i); });
          }};
  if (job.verb == Verb::kRead) {
    workload.fixtures = {kData};
  } else {
    workload.prepare = [=](Client& client) {
      for (int i = 0; i < job.jobs; ++i) {
        FillFile(client, client.Path(Format("cell/file%d", i)),
                 client.knobs().data_bytes);
      }
    };
  }
  return workload;
}

}  // namespace

std::vector<Workload> DataWorkloads() {
  std::vector<Workload> all;
  all.push_back(Data({Verb::kRead, Order::kSequential, 1 << 20, Way::kCached, 1,
                      Start::kCold}));
  for (Verb verb : {Verb::kRead, Verb::kWrite}) {
    for (Order order : {Order::kSequential, Order::kRandom}) {
      for (uint64_t block : {uint64_t{4096}, uint64_t{1} << 20}) {
        for (Way way : {Way::kCached, Way::kDirect}) {
          for (int jobs : {1, 4}) {
            all.push_back(Data({verb, order, block, way, jobs}));
          }
        }
      }
    }
  }
  return all;
}

}  // namespace handlefs::bench
