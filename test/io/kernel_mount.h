// A mount of the real kernel that is attached nowhere, served by a handler
// whose answers the tests control, and processes that use it.
#ifndef HANDLEFS_TEST_IO_KERNEL_MOUNT_H_
#define HANDLEFS_TEST_IO_KERNEL_MOUNT_H_

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "io/dev_transport.h"
#include "io/slot.h"
#include "io/uring_transport.h"
#include "proto/flags.h"
#include "waiting.h"

namespace handlefs::test {

using io::Packet;
using proto::Opcode;

inline constexpr char kParameter[] = "/sys/module/fuse/parameters/enable_uring";
inline constexpr uint32_t kMaxWrite = 1 << 16;

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
  proto::InitFlags wanted = proto::InitFlags()
                                .Add(proto::init::kInitExt)
                                .Add(proto::init::kParallelDirops)
                                .Add(proto::init::kMaxPages)
                                .Add(proto::init::kAbortError);
  std::atomic<int> inits{0}, interrupts{0}, malformed{0};

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
        packet.token.Reply(Put(packet, out));
        return;
      }
      case Opcode::kLookup: {
        abi::EntryOut out{};
        out.nodeid = out.attr.ino = 5;
        out.attr.mode = S_IFREG | 0644;
        out.attr.nlink = 1;
        out.attr_valid = out.entry_valid = 3600;
        packet.token.Reply(Put(packet, out));
        return;
      }
      case Opcode::kGetxattr: {
        std::string name(reinterpret_cast<const char*>(packet.raw.tail.data()));
        on_ask(name.substr(std::strlen("user.")), std::move(packet));
        return;
      }
      case Opcode::kOpen:
        packet.token.Reply(Put(packet, abi::OpenOut{}));
        return;
      case Opcode::kFlush:
      case Opcode::kRelease:
        packet.token.Reply(0);
        return;
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
  template <typename T>
  static size_t Put(Packet& packet, const T& out) {
    std::memcpy(packet.token.payload().data(), &out, sizeof(out));
    return sizeof(out);
  }
  void Init(Packet packet) {
    abi::InitOut out{};
    out.major = proto::kMajor;
    out.minor = proto::kMinor;
    out.max_write = kMaxWrite;
    out.max_pages = kMaxWrite / 4096;
    out.flags = wanted.low();
    out.flags2 = wanted.high();
    packet.token.Reply(Put(packet, out));
    on_init();
    ++inits;
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
  // On `cpu`, with `root` alone of this process's descriptors. The body
  // allocates nothing (short strings are none); its value must be below 128.
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

// Whether this thread is the device's first reader.
inline thread_local bool serves_device = false;

// Served over /dev/fuse alone.
struct DevMount {
  DevMount() {
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
  }
  ~DevMount() {
    dev->Stop();
    if (thread.joinable()) thread.join();
  }

  void Serve() {
    thread = std::thread([this] {
      serves_device = true;
      end = dev->Run(service);
    });
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
  std::string Path() const {
    return "/proc/self/fd/" + std::to_string(root.get()) + "/file";
  }
  // What getxattr(2) says. Allocates nothing, so that clients can do it: of a
  // process with threads they have but one, and an allocator's lock may stay
  // taken in them for ever.
  int Ask(const std::string& name) const {
    char path[64], attribute[64];
    std::snprintf(path, sizeof(path), "/proc/self/fd/%d/file", root.get());
    std::snprintf(attribute, sizeof(attribute), "user.%s", name.c_str());
    return getxattr(path, attribute, nullptr, 0) >= 0 ? 0 : errno;
  }

  // Ends last: when the device is closed, nobody waits any more.
  Clients clients;
  Service service;
  UniqueFd root;
  std::unique_ptr<io::DevTransport> dev;
  io::DevTransport::End end{};
  std::thread thread;
};

// Served over io_uring too.
struct Mounted : DevMount {
  static io::Cpus RealCpus() {
    auto cpus = io::ReadCpus();
    REQUIRE(cpus.ok());
    return *std::move(cpus);
  }
  explicit Mounted(io::UringTransport::Config config = {},
                   const io::Cpus& cpus = RealCpus()) {
    if (config.payload_size == io::UringTransport::Config{}.payload_size) {
      config.payload_size = io::PayloadSize(kMaxWrite);
    }
    config.report = [this](const std::string& what) {
      std::lock_guard lock(mutex);
      reports.push_back(what);
    };
    auto made =
        io::UringTransport::Create(dev->device(), cpus, config, service);
    REQUIRE(made.ok());
    rings = *std::move(made);
    service.wanted.Add(proto::init::kOverIoUring);
    service.on_init = [this] { rings->Start(); };
  }
  ~Mounted() {
    dev->Stop();
    if (thread.joinable()) thread.join();
    rings->Stop();
    at_end();
  }
  size_t Reports() {
    std::lock_guard lock(mutex);
    return reports.size();
  }

  std::unique_ptr<io::UringTransport> rings;
  std::mutex mutex;
  std::vector<std::string> reports;
  // While tokens may still be used, and no request comes any more.
  std::function<void()> at_end = [] {};
};

inline bool IsLane() {
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

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_IO_KERNEL_MOUNT_H_
