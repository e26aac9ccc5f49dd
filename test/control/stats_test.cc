// Counting requests, and what is made of the counters.
#include "daemon/stats/stats.h"

#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "daemon/stats/report.h"
#include "support.h"

namespace handlefs::test {
namespace {

using proto::Opcode;

class NoExchange final : public io::Exchange {
 public:
  void Finish(const abi::OutHeader&) override {}
  void FinishSilently() override {}
  io::LateReply Release(Unique) override { return {}; }
};

struct Asked {
  explicit Asked(Opcode op, uint64_t unique = 2, uint64_t node = 1)
      : packet{.raw = {}, .token = io::Token(&exchange, Unique{unique})} {
    packet.raw.header.opcode = static_cast<uint32_t>(op);
    packet.raw.header.unique = unique;
    packet.raw.header.nodeid = node;
  }
  ~Asked() { packet.token.NoReply(); }
  NoExchange exchange;
  io::Packet packet;
};

const StatsSum::Op& Of(const StatsSum& sum, Opcode op) {
  return sum.ops[proto::RowIndex(static_cast<uint32_t>(op))];
}

TEST_CASE("histogram: each time has one bucket", "[stats]") {
  CHECK(kBucketLimits.front() == 1000);
  CHECK(kBucketLimits[1] == 2000);
  CHECK(kBucketLimits[2] == 5000);
  CHECK(kBucketLimits.back() == 10'000'000'000);
  CHECK(BucketOf(0) == 0);
  for (size_t i = 0; i < kBucketLimits.size(); ++i) {
    CHECK(BucketOf(kBucketLimits[i]) == i);
    CHECK(BucketOf(kBucketLimits[i] + 1) == i + 1);
  }
  CHECK(BucketOf(UINT64_MAX) == kBuckets - 1);
  // Against the plain way, at all sizes.
  for (uint64_t ns = 1; ns < uint64_t{1} << 40; ns += ns / 7 + 1) {
    size_t wanted = 0;
    while (wanted < kBucketLimits.size() && ns > kBucketLimits[wanted]) {
      ++wanted;
    }
    REQUIRE(BucketOf(ns) == wanted);
  }
}

TEST_CASE("histogram: quantiles", "[stats]") {
  std::array<uint64_t, kBuckets> counts{};
  CHECK(Quantile(counts, 0.5) == 0);
  counts[BucketOf(1500)] = 100;  // between 1 and 2 us
  CHECK(Quantile(counts, 0.5) == 1500);
  CHECK(Quantile(counts, 1) == 2000);
  counts[BucketOf(40'000)] = 100;
  CHECK(Quantile(counts, 0.5) == 2000);
  CHECK(Quantile(counts, 0.75) == 35'000);
  CHECK(Quantile(counts, 0.99) > 49'000);
  // What takes longer than all limits is that long at the least.
  counts = {};
  counts.back() = 1;
  CHECK(Quantile(counts, 0.5) == 10'000'000'000);
}

TEST_CASE("stats: requests are counted by operation and error", "[stats]") {
  auto stats = Stats::Alone(TraceLevel::kOff);
  stats->JoinThread();
  for (int error : {0, 0, ENOENT, EACCES, ENOENT, 4000}) {
    Asked asked(Opcode::kLookup);
    stats->Begin(asked.packet);
    stats->End(asked.packet, error);
  }
  std::vector<std::byte> data(4096);
  Asked read(Opcode::kRead);
  stats->Begin(read.packet);
  stats->End(read.packet, 0, data);
  abi::WriteOut out{};
  out.size = 77;
  Asked write(Opcode::kWrite);
  stats->Begin(write.packet);
  stats->End(write.packet, 0, std::as_bytes(std::span(&out, 1)));
  Asked unknown(static_cast<Opcode>(999));
  stats->Begin(unknown.packet);
  stats->End(unknown.packet, ENOSYS);
  stats->CountMalformed();

  StatsSum sum = stats->Read();
  CHECK(Of(sum, Opcode::kLookup).count() == 6);
  CHECK(Of(sum, Opcode::kLookup).failed() == 4);
  CHECK(Of(sum, Opcode::kLookup).errors[ENOENT] == 2);
  CHECK(Of(sum, Opcode::kLookup).errors[0] == 1);
  CHECK(Of(sum, Opcode::kGetattr).count() == 0);
  CHECK(sum.ops[kStatRows - 1].errors[ENOSYS] == 1);
  CHECK(sum.bytes_read == 4096);
  CHECK(sum.bytes_written == 77);
  CHECK(sum.malformed == 1);
  CHECK(sum.in_flight.empty());
}

TEST_CASE("stats: what is under way is seen", "[stats]") {
  auto stats = Stats::Alone(TraceLevel::kOff);
  stats->JoinThread();
  Asked queued(Opcode::kFsync, 10, 5);
  stats->Begin(queued.packet);
  CHECK(stats->Read().in_flight.size() == 1);
  CHECK(stats->Read().in_flight[0].where == Whereabouts::kThread);
  stats->Queue(queued.packet);
  Asked lock(Opcode::kSetlkw, 12, 6);
  stats->Begin(lock.packet);
  Stats::Ticket ticket = stats->Wait(lock.packet);
  Asked read(Opcode::kRead, 14, 7);
  stats->Begin(read.packet);

  StatsSum sum = stats->Read();
  REQUIRE(sum.in_flight.size() == 3);
  // The oldest first.
  CHECK(sum.in_flight[0].unique == 10);
  CHECK(sum.in_flight[0].node == 5);
  CHECK(sum.in_flight[0].where == Whereabouts::kQueued);
  CHECK(sum.in_flight[0].age_ns >= sum.in_flight[1].age_ns);
  CHECK(sum.in_flight[1].where == Whereabouts::kLock);
  CHECK(sum.in_flight[2].where == Whereabouts::kThread);
  CHECK(sum.offloaded == 1);
  stats->Run(queued.packet);
  CHECK(stats->Read().in_flight[0].where == Whereabouts::kPool);
  stats->End(queued.packet, 0);
  stats->End(read.packet, 0);
  stats->End(ticket, EINTR);
  sum = stats->Read();
  CHECK(sum.in_flight.empty());
  CHECK(Of(sum, Opcode::kSetlkw).errors[EINTR] == 1);
}

TEST_CASE("stats: more wait than there are seats", "[stats]") {
  auto stats = Stats::Alone(TraceLevel::kOff);
  stats->JoinThread();
  std::vector<std::unique_ptr<Asked>> all;
  for (uint64_t i = 1; i <= 600; ++i) {
    all.push_back(std::make_unique<Asked>(Opcode::kFsync, i));
    stats->Begin(all.back()->packet);
    stats->Queue(all.back()->packet);
  }
  CHECK(stats->Read().in_flight.size() == 512);
  for (auto& asked : all) stats->End(asked->packet, 0);
  CHECK(stats->Read().in_flight.empty());
  CHECK(Of(stats->Read(), Opcode::kFsync).count() == 600);
}

TEST_CASE("stats: threads of their own and without", "[stats]") {
  auto stats = Stats::Alone(TraceLevel::kOff);
  constexpr int kThreads = 300;  // more than there are shards
  constexpr uint64_t kEach = 200;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      if (i % 4 != 0) stats->JoinThread();
      for (uint64_t n = 1; n <= kEach; ++n) {
        Asked asked(Opcode::kGetattr, n);
        stats->Begin(asked.packet);
        stats->End(asked.packet, n % 2 == 0 ? 0 : ESTALE);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  StatsSum sum = stats->Read();
  CHECK(Of(sum, Opcode::kGetattr).count() == kThreads * kEach);
  CHECK(Of(sum, Opcode::kGetattr).failed() == kThreads * kEach / 2);
}

TEST_CASE("stats: they outlive the server, and what it was at does not",
          "[stats]") {
  UniqueFd memory(memfd_create("stats", MFD_CLOEXEC));
  const size_t size = (Stats::Size() + 4095) / 4096 * 4096;
  REQUIRE(ftruncate(memory.get(), static_cast<off_t>(size)) == 0);
  void* at =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  REQUIRE(at != MAP_FAILED);
  std::span<std::byte> area(static_cast<std::byte*>(at), size);
  {
    auto first = Stats::In(area, TraceLevel::kLines);
    first->BeginServer();
    first->JoinThread();
    Asked done(Opcode::kMkdir, 2), hangs(Opcode::kUnlink, 4);
    first->Begin(done.packet);
    first->End(done.packet, 0);
    first->Begin(hangs.packet);
    first->NoteFallback("io_uring", "it is off");
    first->SetTrace(TraceLevel::kOff);
  }
  auto keeper = Stats::In(area, TraceLevel::kLines);
  CHECK(keeper->trace() == TraceLevel::kOff);
  CHECK(keeper->Read().in_flight.size() == 1);
  auto second = Stats::In(area, TraceLevel::kOff);
  second->BeginServer();
  second->JoinThread();
  Asked again(Opcode::kMkdir, 6);
  second->Begin(again.packet);
  second->End(again.packet, EEXIST);
  second->NoteFallback("io_uring", "it is off");
  second->NoteFallback("io_uring", std::string(1000, 'x'));
  StatsSum sum = keeper->Read();
  CHECK(Of(sum, Opcode::kMkdir).count() == 2);
  CHECK(Of(sum, Opcode::kUnlink).count() == 0);
  CHECK(sum.in_flight.empty());
  REQUIRE(sum.fallbacks.size() == 2);
  CHECK(sum.fallbacks[0].count == 2);
  CHECK(sum.fallbacks[1].reason.size() < 1000);

  // Another layout is begun anew.
  area[8] ^= std::byte{0xff};
  auto other = Stats::In(area, TraceLevel::kOff);
  CHECK(other->trace() == TraceLevel::kOff);
  sum = other->Read();
  CHECK(Of(sum, Opcode::kMkdir).count() == 0);
  CHECK(sum.fallbacks.empty());
  munmap(at, size);
}

StatsReport Example() {
  auto stats = Stats::Alone(TraceLevel::kOff);
  stats->JoinThread();
  for (int error : {0, 0, ENOENT}) {
    Asked asked(Opcode::kLookup);
    stats->Begin(asked.packet);
    stats->End(asked.packet, error);
  }
  Asked slow(Opcode::kFsync, 8, 3);
  stats->Begin(slow.packet);
  stats->Queue(slow.packet);
  stats->NoteFallback("io_uring", "a \"reason\" with \\ and\nlines");
  stats->SetGauges({.nodes = 5, .open_files = 3});
  return {.mount_point = "/mnt/a\"b",
          .sum = stats->Read(),
          .server = ReadProcess(getpid()),
          .waiting = 1,
          .generation = 2,
          .crashes = 1};
}

TEST_CASE("stats: as JSON", "[stats]") {
  auto json = ToJson(Example());
  CHECK(json["ok"] == true);
  CHECK(json["requests"] == 3);
  CHECK(json["errors"] == 1);
  CHECK(json["by_error"]["ENOENT"] == 1);
  CHECK(json["open_files"] == 3);
  REQUIRE(json["ops"].size() == 1);
  CHECK(json["ops"][0]["op"] == "LOOKUP");
  CHECK(json["ops"][0]["count"] == 3);
  CHECK(json["ops"][0]["buckets"].size() == kBuckets);
  REQUIRE(json["in_flight"].size() == 1);
  CHECK(json["in_flight"][0]["op"] == "FSYNC");
  CHECK(json["in_flight"][0]["where"] == "queue");
  CHECK(json["in_flight"][0]["age_seconds"] >= 0);
  CHECK(json["descriptors"] > 3);
  CHECK(json["descriptor_limit"] > 3);
  CHECK(json["memory_bytes"] > 4096);
  CHECK_FALSE(ReadProcess(0));
}

TEST_CASE("stats: as text for Prometheus", "[stats]") {
  std::string text = ToPrometheus(Example());
  auto has = [&](const std::string& line) {
    INFO(text);
    return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
  };
  const std::string mount = "mount=\"/mnt/a\\\"b\"";
  CHECK(has("# TYPE handlefs_requests_total counter"));
  CHECK(has("handlefs_requests_total{" + mount +
            ",op=\"LOOKUP\",result=\"ok\"} 2"));
  CHECK(has("handlefs_requests_total{" + mount +
            ",op=\"LOOKUP\",result=\"ENOENT\"} 1"));
  CHECK(has("handlefs_request_seconds_bucket{" + mount +
            ",op=\"LOOKUP\",le=\"+Inf\"} 3"));
  CHECK(has("handlefs_request_seconds_count{" + mount + ",op=\"LOOKUP\"} 3"));
  CHECK(has("handlefs_in_flight{" + mount + ",where=\"queue\"} 1"));
  CHECK(has("handlefs_open_files{" + mount + "} 3"));
  CHECK(has("handlefs_fallbacks_total{" + mount +
            ",feature=\"io_uring\",reason=\"a \\\"reason\\\" with \\\\ "
            "and\\nlines\"} 1"));
  CHECK(text.find("le=\"1e-06\"") != std::string::npos);
  CHECK(text.find("le=\"10\"") != std::string::npos);
  CHECK(text.ends_with('\n'));
  // Help and type once, before the samples.
  std::set<std::string> types;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# TYPE ")) CHECK(types.insert(line).second);
  }
  CHECK(types.size() > 20);
}

}  // namespace
}  // namespace handlefs::test
