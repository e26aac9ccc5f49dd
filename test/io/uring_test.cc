// FUSE over io_uring against the real kernel: a mount that is attached nowhere,
// served by a handler whose answers the tests control.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <thread>

#include "io/dev_transport.h"
#include "io/slot.h"
#include "io/uring_transport.h"
#include "proto/flags.h"
#include "waiting.h"

namespace handlefs::test {
namespace {

using io::Packet;
using proto::Opcode;

constexpr char kParameter[] = "/sys/module/fuse/parameters/enable_uring";
constexpr uint32_t kMaxWrite = 1 << 16;

// The kernel's switch as the test wants it, and as it was afterwards.
class Parameter {
 public:
  explicit Parameter(char value) {
    std::ifstream(kParameter) >> before_;
    Set(value);
  }
  ~Parameter() { Set(before_); }
  bool there() const { return before_ != 0; }

 private:
  void Set(char value) {
    if (there()) std::ofstream(kParameter) << value;
  }
  char before_ = 0;
};

// Answers what a mount needs: a root with one file. What is asked of the file's
// xattrs is the test's to answer.
class Service final : public io::PacketHandler {
 public:
  using OnAsk = std::function<void(std::string, Packet)>;

  OnAsk on_ask = [](const std::string&, Packet packet) {
    packet.token.ReplyError(Errno(ENODATA));
  };
  std::function<void()> on_init = [] {};
  std::atomic<int> interrupts{0}, malformed{0};

  void OnPacket(Packet packet) override {
    switch (static_cast<Opcode>(packet.raw.header.opcode)) {
      case Opcode::kInit:
        Init(std::move(packet));
        return;
      case Opcode::kGetattr: {
        abi::AttrOut out{};
        out.attr.ino = 1;
        out.attr.mode = S_IFDIR | 0755;
        out.attr.nlink = 2;
        out.attr_valid = 3600;
        std::memcpy(packet.token.payload().data(), &out, sizeof(out));
        packet.token.Reply(sizeof(out));
        return;
      }
      case Opcode::kLookup: {
        abi::EntryOut out{};
        out.nodeid = out.attr.ino = 5;
        out.attr.mode = S_IFREG | 0644;
        out.attr.nlink = 1;
        out.attr_valid = out.entry_valid = 3600;
        std::memcpy(packet.token.payload().data(), &out, sizeof(out));
        packet.token.Reply(sizeof(out));
        return;
      }
      case Opcode::kGetxattr: {
        std::string name(reinterpret_cast<const char*>(packet.raw.tail.data()));
        on_ask(name.substr(std::strlen("user.")), std::move(packet));
        return;
      }
      case Opcode::kInterrupt:
        ++interrupts;
        packet.token.NoReply();
        return;
      case Opcode::kForget:
      case Opcode::kBatchForget:
        packet.token.NoReply();
        return;
      default:
        packet.token.ReplyError(Errno(ENOSYS));
    }
  }
  void OnMalformed(size_t) override { ++malformed; }
  void OnThreadStart() override {}

 private:
  void Init(Packet packet) {
    proto::InitFlags flags;
    flags.Add(proto::init::kInitExt)
        .Add(proto::init::kOverIoUring)
        .Add(proto::init::kParallelDirops)
        .Add(proto::init::kMaxPages);
    abi::InitOut out{};
    out.major = proto::kMajor;
    out.minor = proto::kMinor;
    out.max_write = kMaxWrite;
    out.max_pages = kMaxWrite / 4096;
    out.flags = flags.low();
    out.flags2 = flags.high();
    std::memcpy(packet.token.payload().data(), &out, sizeof(out));
    packet.token.Reply(sizeof(out));
    on_init();
  }
};

// Processes that use the mount: one of the server's own threads could not be
// killed while it waits for itself.
class Clients {
 public:
  Clients() = default;
  Clients(const Clients&) = delete;
  Clients& operator=(const Clients&) = delete;
  ~Clients() {
    for (pid_t pid : running_) kill(pid, SIGKILL);
    while (!running_.empty()) (void)Next();
  }
  // On `cpu`, with `root` alone of this process's descriptors. The body's
  // value must be below 128.
  pid_t Start(size_t cpu, int root, const std::function<int()>& body) {
    pid_t pid = fork();
    if (pid == 0) {
      cpu_set_t cpus;
      CPU_ZERO(&cpus);
      CPU_SET(cpu, &cpus);
      if (sched_setaffinity(0, sizeof(cpus), &cpus) != 0) _exit(127);
      close_range(3, static_cast<unsigned>(root) - 1, 0);
      close_range(static_cast<unsigned>(root) + 1, ~0u, 0);
      _exit(body());
    }
    running_.push_back(pid);
    return pid;
  }
  // Waits for the one that started first; its body's value.
  int Next() {
    int status = 0;
    waitpid(running_.front(), &status, 0);
    running_.erase(running_.begin());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  std::vector<pid_t> running_;
};

struct Mounted {
  explicit Mounted(io::UringTransport::Config config = {}) {
    UniqueFd device(open("/dev/fuse", O_RDWR | O_CLOEXEC));
    REQUIRE(device);
    UniqueFd context(fsopen("fuse", FSOPEN_CLOEXEC));
    REQUIRE(context);
    std::string fd = std::to_string(device.get());
    auto set = [&](const char* key, const char* value) {
      REQUIRE(fsconfig(context.get(), FSCONFIG_SET_STRING, key, value, 0) == 0);
    };
    set("source", "test");
    set("fd", fd.c_str());
    set("rootmode", "40000");
    set("user_id", "0");
    set("group_id", "0");
    REQUIRE(fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) ==
            0);
    root = UniqueFd(fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
    REQUIRE(root);
    auto made =
        io::DevTransport::Create(std::move(device), {.max_write = kMaxWrite});
    REQUIRE(made.ok());
    dev = *std::move(made);
    if (config.payload_size == io::UringTransport::Config{}.payload_size) {
      config.payload_size = io::PayloadSize(kMaxWrite);
    }
    config.report = [this](const std::string& what) {
      std::lock_guard lock(mutex);
      reports.push_back(what);
    };
    auto cpus = io::ReadCpus();
    REQUIRE(cpus.ok());
    auto rings_made =
        io::UringTransport::Create(dev->device(), *cpus, config, service);
    REQUIRE(rings_made.ok());
    rings = *std::move(rings_made);
    service.on_init = [this] { rings->Start(); };
  }
  ~Mounted() {
    dev->Stop();
    if (thread.joinable()) thread.join();
    rings->Stop();
    at_end();
  }

  void Serve() {
    thread = std::thread([this] { dev->Run(service); });
  }
  void Start(size_t cpu, const std::function<int()>& body) {
    clients.Start(cpu, root.get(), body);
  }
  // By a client of its own.
  int AskOn(size_t cpu, const std::string& name) {
    Clients other;
    other.Start(cpu, root.get(), [&] { return Ask(name); });
    return other.Next();
  }
  // What getxattr(2) says.
  int Ask(const std::string& name) const {
    std::string path = "/proc/self/fd/" + std::to_string(root.get()) + "/file";
    return getxattr(path.c_str(), ("user." + name).c_str(), nullptr, 0) >= 0
               ? 0
               : errno;
  }
  size_t Reports() {
    std::lock_guard lock(mutex);
    return reports.size();
  }

  // Ends last: when the device is closed, nobody waits any more.
  Clients clients;
  Service service;
  UniqueFd root;
  std::unique_ptr<io::DevTransport> dev;
  std::unique_ptr<io::UringTransport> rings;
  std::thread thread;
  std::mutex mutex;
  std::vector<std::string> reports;
  // While tokens may still be used, and no request comes any more.
  std::function<void()> at_end = [] {};
};

bool IsLane() {
  // A lane is pinned to one CPU; a reader of the device is not.
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  return sched_getaffinity(0, sizeof(cpus), &cpus) == 0 &&
         CPU_COUNT(&cpus) == 1;
}

#define NEED_URING(parameter)                                             \
  if (!(parameter).there()) {                                             \
    WARN("skipped: this kernel has no FUSE over io_uring (" << kParameter \
                                                            << ")");      \
    return;                                                               \
  }

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

TEST_CASE("many requests of one CPU wait elsewhere at once", "[uring]") {
  Parameter on('Y');
  NEED_URING(on);
  const bool as_late = GENERATE(true, false);
  constexpr int kWaiters = 60;
  std::mutex mutex;
  std::vector<io::LateReply> late;
  std::vector<Packet> packets;
  Mounted m({.depth = GENERATE(size_t{1}, size_t{4}), .report = {}});
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
    m.Start(0, [&m, i] { return m.Ask("later" + std::to_string(i)); });
  }
  REQUIRE(Eventually([&] {
    std::lock_guard lock(mutex);
    return late.size() + packets.size() == kWaiters;
  }));
  // The queue has room for those that need not wait.
  CHECK(m.AskOn(0, "now") == ENODATA);
  {
    std::lock_guard lock(mutex);
    for (auto& reply : late) reply.Send(Errno(EXDEV));
    for (auto& packet : packets) packet.token.ReplyError(Errno(EXDEV));
  }
  for (int i = 0; i < kWaiters; ++i) CHECK(m.clients.Next() == EXDEV);
  CHECK(m.AskOn(0, "now") == ENODATA);
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

TEST_CASE("rings that were never begun can be stopped", "[uring]") {
  Mounted m;
  m.rings->Stop();
}

}  // namespace
}  // namespace handlefs::test
