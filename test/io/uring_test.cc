// FUSE over io_uring against the real kernel.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "kernel_mount.h"

namespace handlefs::test {
namespace {

TEST_CASE("lists of CPUs as the kernel writes them", "[uring]") {
  using Cpus = std::vector<bool>;
  CHECK(io::ParseCpuList("0\n") == Cpus{true});
  CHECK(io::ParseCpuList("0-1") == Cpus{true, true});
  CHECK(io::ParseCpuList("0-1,4") == Cpus{true, true, false, false, true});
  CHECK(io::ParseCpuList("3,1-2") == Cpus{false, true, true, true});
  for (const char* bad : {"", "\n", "-", "1-", "2-1", "a", "0,", ",0", "0-1x",
                          "0--1", "99999999999", "70000"}) {
    CAPTURE(bad);
    CHECK(io::ParseCpuList(bad).empty());
  }
}

TEST_CASE("requests come over the rings, on the CPU that asks", "[uring]") {
  Parameter on('Y');
  NEED_URING(on);
  std::mutex mutex;
  std::set<std::string> names;
  std::atomic<int> strangers{0};
  Mounted m;
  m.service.on_ask = [&](const std::string& name, Packet packet) {
    // "cpu-N-..." was asked for on CPU N.
    if (!IsLane() || sched_getcpu() != std::stoi(name.substr(4))) ++strangers;
    {
      std::lock_guard lock(mutex);
      names.insert(name);
    }
    packet.token.ReplyError(Errno(name.ends_with("7") ? EXDEV : ENODATA));
  };
  m.Serve();
  const size_t cpus = std::thread::hardware_concurrency();
  for (size_t cpu = 0; cpu < cpus; ++cpu) {
    m.Start(cpu, [&m, cpu] {
      for (int i = 0; i < 500; ++i) {
        std::string name =
            "cpu-" + std::to_string(cpu) + "-" + std::to_string(i);
        if (m.Ask(name) != (i % 10 == 7 ? EXDEV : ENODATA)) return 1;
      }
      return 0;
    });
  }
  for (size_t cpu = 0; cpu < cpus; ++cpu) CHECK(m.clients.Next() == 0);
  CHECK(strangers == 0);
  {
    std::lock_guard lock(mutex);
    CHECK(names.size() == cpus * 500);
  }
  CHECK(m.Reports() == 0);
  CHECK(m.service.malformed == 0);
}

// As where CPUs are offline when the mount is made, and come later.
io::Cpus WithoutLast() {
  io::Cpus cpus = Mounted::RealCpus();
  cpus.online[std::thread::hardware_concurrency() - 1] = false;
  return cpus;
}

TEST_CASE("many requests of one CPU wait elsewhere at once", "[uring]") {
  Parameter on('Y');
  NEED_URING(on);
  const bool as_late = GENERATE(true, false);
  // Its own lane, or the one of CPUs that were offline when it was made.
  const bool was_there = GENERATE(true, false);
  const size_t cpu = std::thread::hardware_concurrency() - 1;
  constexpr int kWaiters = 60;
  std::mutex mutex;
  std::vector<io::LateReply> late;
  std::vector<Packet> packets;
  Mounted m({.depth = GENERATE(size_t{1}, size_t{4}), .report = {}},
            was_there ? Mounted::RealCpus() : WithoutLast());
  m.at_end = [&] {
    late.clear();
    packets.clear();
  };
  m.service.on_ask = [&](const std::string& name, Packet packet) {
    if (name == "now") {
      packet.token.ReplyError(Errno(ENODATA));
      return;
    }
    std::lock_guard lock(mutex);
    if (as_late) {
      late.push_back(packet.token.Defer());
    } else {
      packets.push_back(std::move(packet));
    }
  };
  m.Serve();
  for (int i = 0; i < kWaiters; ++i) {
    m.Start(cpu, [&m, i] { return m.Ask("later" + std::to_string(i)); });
  }
  REQUIRE(Eventually([&] {
    std::lock_guard lock(mutex);
    return late.size() + packets.size() == kWaiters;
  }));
  // The queue has room for those that need not wait.
  CHECK(m.AskOn(cpu, "now") == ENODATA);
  {
    std::lock_guard lock(mutex);
    for (auto& reply : late) reply.Send(Errno(EXDEV));
    for (auto& packet : packets) packet.token.ReplyError(Errno(EXDEV));
  }
  for (int i = 0; i < kWaiters; ++i) CHECK(m.clients.Next() == EXDEV);
  CHECK(m.AskOn(cpu, "now") == ENODATA);
}

TEST_CASE("a lane that sits in a request gets another beside it", "[uring]") {
  Parameter on('Y');
  NEED_URING(on);
  // With one entry, the second request has to wait in the kernel.
  Gate gate;
  std::atomic<int> sitting{0};
  Mounted m({.max_lanes = 2, .depth = 1, .report = {}});
  m.service.on_ask = [&](const std::string& name, Packet packet) {
    if (name == "slow") {
      ++sitting;
      gate.Wait();
    }
    packet.token.ReplyError(Errno(ENODATA));
  };
  m.dev->SetTick([&] { return m.rings->Tick(); });
  m.Serve();
  m.Start(0, [&m] { return m.Ask("slow"); });
  REQUIRE(Eventually([&] { return sitting == 1; }));
  CHECK(m.AskOn(0, "quick") == ENODATA);
  gate.Open();
  CHECK(m.clients.Next() == ENODATA);
  CHECK(m.AskOn(0, "afterwards") == ENODATA);
}

// Threads of this process that yield.
int Yielding() {
  int count = 0;
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/self/task")) {
    count +=
        sched_getscheduler(std::stoi(task.path().filename())) == SCHED_IDLE;
  }
  return count;
}

TEST_CASE("a lane that yields and sits in a request gets another, too",
          "[uring]") {
  Parameter on('Y');
  NEED_URING(on);
  const int cpus = static_cast<int>(std::thread::hardware_concurrency());
  const std::string why_not(io::Yielder::WhyNot());
  if (cpus < 2 || !why_not.empty()) {
    WARN("not tried: it takes two CPUs; " << why_not);
    return;
  }
  Gate gate;
  std::atomic<int> sitting{0}, quick{0};
  std::atomic<bool> opened{false};
  Mounted m({.max_lanes = 2,
             .depth = 1,
             .scheduling = io::Scheduling::kAuto,
             .report = {}});
  m.service.on_ask = [&](const std::string& name, Packet packet) {
    if (name == "slow") {
      ++sitting;
      opened = gate.Wait();
    }
    quick += name == "quick";
    packet.token.ReplyError(Errno(ENODATA));
  };
  m.dev->SetTick([&] { return m.rings->Tick(); });
  m.Serve();
  // On another CPU requests come fast all the time.
  Clients busy;
  busy.Start(1, m.root.get(), [&m] {
    while (m.Ask("fast") == ENODATA) {
    }
    return 1;
  });
  REQUIRE(Eventually([&] { return Yielding() == cpus; }));
  m.Start(0, [&m] { return m.Ask("slow"); });
  REQUIRE(Eventually([&] { return sitting == 1; }));
  m.Start(0, [&m] { return m.Ask("quick"); });
  CHECK(Eventually([&] { return quick == 1; }));
  gate.Open();
  CHECK(m.clients.Next() == ENODATA);
  CHECK(m.clients.Next() == ENODATA);
  CHECK(opened);  // the quick one did not wait until the slow one gave up
}

TEST_CASE("INTERRUPT reaches a request that came over a ring", "[uring]") {
  Parameter on('Y');
  NEED_URING(on);
  std::mutex mutex;
  std::vector<io::LateReply> late;
  Mounted m;
  m.at_end = [&] { late.clear(); };
  m.service.on_ask = [&](const std::string&, Packet packet) {
    std::lock_guard lock(mutex);
    late.push_back(packet.token.Defer());
  };
  m.Serve();
  pid_t client = m.clients.Start(0, m.root.get(), [&m] {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    sigaction(SIGUSR1, &action, nullptr);
    return m.Ask("waits");
  });
  REQUIRE(Eventually([&] {
    std::lock_guard lock(mutex);
    return late.size() == 1;
  }));
  kill(client, SIGUSR1);
  CHECK(Eventually([&] { return m.service.interrupts == 1; }));
  late[0].Send(Errno(EINTR));
  CHECK(m.clients.Next() == EINTR);
}

// Serves a hundred requests and counts those that came by a lane.
int ServedByLanes(Mounted& m) {
  std::atomic<int> by_lane{0};
  m.service.on_ask = [&](const std::string&, Packet packet) {
    by_lane += IsLane();
    packet.token.ReplyError(Errno(ENODATA));
  };
  m.Serve();
  m.Start(0, [&m] {
    for (int i = 0; i < 100; ++i) {
      if (m.Ask(std::to_string(i)) != ENODATA) return 1;
    }
    return 0;
  });
  CHECK(m.clients.Next() == 0);
  return by_lane;
}

TEST_CASE("where the kernel refuses a queue, the device serves", "[uring]") {
  Parameter on('Y');
  NEED_URING(on);
  // Less than max_write: EINVAL.
  Mounted m({.payload_size = 8192, .report = {}});
  CHECK(ServedByLanes(m) == 0);
  CHECK(Eventually([&] { return m.Reports() > 0; }));
}

TEST_CASE("where the kernel has it off, the device serves", "[uring]") {
  Parameter off('N');
  NEED_URING(off);
  Mounted m;
  CHECK(ServedByLanes(m) == 0);
  CHECK(Eventually([&] { return m.Reports() > 0; }));
}

// Descriptors of this process that are rings.
std::vector<int> Rings() {
  std::vector<int> rings;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code ec;
    auto target = std::filesystem::read_symlink(entry.path(), ec);
    if (!ec && target == "anon_inode:[io_uring]") {
      rings.push_back(std::stoi(entry.path().filename()));
    }
  }
  return rings;
}

TEST_CASE("a ring that breaks is replaced, and no request is lost", "[uring]") {
  Parameter on('Y');
  NEED_URING(on);
  Mounted m;
  const std::vector<int> rings = Rings();
  REQUIRE(rings.size() == std::thread::hardware_concurrency());
  m.Serve();
  CHECK(m.AskOn(0, "before") == ENODATA);
  // Their numbers stay taken, by something that is no ring.
  UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  for (int ring : rings) dup3(null.get(), ring, O_CLOEXEC);
  for (size_t cpu = 0; cpu < rings.size(); ++cpu) {
    m.Start(cpu, [&m] {
      for (int i = 0; i < 50; ++i) {
        if (m.Ask("after" + std::to_string(i)) != ENODATA) return 1;
      }
      return 0;
    });
  }
  for (size_t cpu = 0; cpu < rings.size(); ++cpu) {
    CHECK(m.clients.Next() == 0);
  }
  CHECK(m.Reports() == rings.size());
}

TEST_CASE("the queue of a CPU that was offline is served", "[uring]") {
  Parameter on('Y');
  NEED_URING(on);
  const size_t cpus = std::thread::hardware_concurrency();
  std::atomic<int> by_device{0}, strangers{0};
  Mounted m({}, WithoutLast());
  m.service.on_ask = [&](const std::string& name, Packet packet) {
    by_device += serves_device;
    strangers += IsLane() != (name != "last");
    packet.token.ReplyError(Errno(ENODATA));
  };
  m.Serve();
  for (int i = 0; i < 100; ++i) {
    for (size_t cpu = 0; cpu < cpus; ++cpu) {
      REQUIRE(m.AskOn(cpu, cpu == cpus - 1 ? "last" : "others") == ENODATA);
    }
  }
  CHECK(by_device == 0);
  CHECK(strangers == 0);
  CHECK(m.Reports() == 0);
}

TEST_CASE("all CPUs may be unknown", "[uring]") {
  Parameter on('Y');
  NEED_URING(on);
  // As where their numbers have gaps: the kernel's queues have none.
  io::Cpus cpus = Mounted::RealCpus();
  cpus.online.assign(cpus.possible, false);
  cpus.online.push_back(true);
  std::atomic<int> by_device{0};
  Mounted m({}, cpus);
  m.service.on_ask = [&](const std::string&, Packet packet) {
    by_device += serves_device || IsLane();
    packet.token.ReplyError(Errno(ENODATA));
  };
  m.Serve();
  for (size_t cpu = 0; cpu < std::thread::hardware_concurrency(); ++cpu) {
    CHECK(m.AskOn(cpu, "x") == ENODATA);
  }
  CHECK(by_device == 0);
}

TEST_CASE("a queue that is refused late leaves all to the device", "[uring]") {
  Parameter on('Y');
  NEED_URING(on);
  const size_t cpus = Mounted::RealCpus().possible;
  std::atomic<int> served{0}, by_device{0}, reports{0};
  DevMount m;
  m.service.on_ask = [&](const std::string&, Packet packet) {
    ++served;
    by_device += serves_device;
    packet.token.ReplyError(Errno(ENODATA));
  };
  std::vector<std::unique_ptr<io::UringLane>> lanes;
  for (size_t i = 0; i < cpus; ++i) {
    // All but the last are as they should be.
    lanes.push_back(std::make_unique<io::UringLane>(io::UringLane::Setup{
        .device = m.dev->device(),
        .queues = {static_cast<uint16_t>(i)},
        .cpu = {},
        .payload_size = i + 1 < cpus ? io::PayloadSize(kMaxWrite) : 8192,
        .handler = &m.service,
        .report = [&](const std::string&) { ++reports; }}));
    REQUIRE(lanes.back()->WaitUntilMade().ok());
  }
  m.service.wanted.Add(proto::init::kOverIoUring);
  m.service.on_init = [&] {
    for (size_t i = 0; i + 1 < cpus; ++i) lanes[i]->Begin();
  };
  m.Serve();
  // Waits, as everybody does while the kernel has not all of its queues.
  m.Start(0, [&m] { return m.Ask("first"); });
  REQUIRE(Eventually([&] { return m.service.inits > 0; }));
  lanes.back()->Begin();
  CHECK(m.clients.Next() == ENODATA);
  for (size_t cpu = 0; cpu < std::thread::hardware_concurrency(); ++cpu) {
    CHECK(m.AskOn(cpu, "x") == ENODATA);
  }
  CHECK(served > 0);
  CHECK(by_device == served);
  CHECK(reports == 1);
  m.dev->Stop();
  m.thread.join();
  for (auto& lane : lanes) lane->Stop();
}

TEST_CASE("a ring that cannot be replaced is tried again", "[uring]") {
  Parameter on('Y');
  NEED_URING(on);
  Mounted m;
  const std::vector<int> rings = Rings();
  REQUIRE(rings.size() == std::thread::hardware_concurrency());
  m.Serve();
  CHECK(m.AskOn(0, "before") == ENODATA);
  UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
  for (int ring : rings) dup3(null.get(), ring, O_CLOEXEC);
  REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
  m.Start(0, [&m, &before] {
    setrlimit(RLIMIT_NOFILE, &before);
    return m.Ask("after");
  });
  // The ring has broken, and no other can be made.
  CHECK(Eventually([&] { return m.Reports() >= 2; }));
  REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(m.clients.Next() == ENODATA);
  CHECK(m.AskOn(0, "afterwards") == ENODATA);
}

TEST_CASE("rings that were never begun can be stopped", "[uring]") {
  Mounted m;
  m.rings->Stop();
}

}  // namespace
}  // namespace handlefs::test
