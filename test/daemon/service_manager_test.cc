// The notification protocol, over a real socket with the manager's end in the
// test's hands.
#include "daemon/service_manager.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <thread>
#include <vector>

#include "temporary.h"

namespace handlefs::test {
namespace {

using namespace std::chrono_literals;

// A variable of the environment as long as a test wants it.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    setenv(name, value.c_str(), 1);
  }
  ~Variable() { unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

struct Message {
  std::string text;
  std::vector<UniqueFd> fds;
};

// The manager's end.
class Manager {
 public:
  enum class Name { kPath, kAbstract };
  explicit Manager(Name name = Name::kPath) {
    address_.sun_family = AF_UNIX;
    std::string path = directory_ / "notify";
    variable_ = path;
    std::memcpy(address_.sun_path, path.data(), path.size());
    size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) +
                                   path.size() + 1);
    if (name == Name::kAbstract) {
      address_.sun_path[0] = '\0';
      variable_[0] = '@';
      --size_;
    }
    Listen();
  }
  void Listen() {
    if (variable_[0] == '/') unlink(variable_.c_str());
    socket_.reset(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    REQUIRE(bind(socket_.get(), reinterpret_cast<sockaddr*>(&address_),
                 size_) == 0);
  }
  void Close() { socket_.reset(); }
  const std::string& variable() const { return variable_; }

  bool HasMessage() const {
    pollfd in{socket_.get(), POLLIN, 0};
    return poll(&in, 1, 0) == 1;
  }
  Message Receive() {
    Message out;
    std::array<char, 8192> text;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 253)> control;
    iovec iov{text.data(), text.size()};
    msghdr header{};
    header.msg_iov = &iov;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    ssize_t n = recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC);
    REQUIRE(n >= 0);
    REQUIRE((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0);
    out.text.assign(text.data(), static_cast<size_t>(n));
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr;
         c = CMSG_NXTHDR(&header, c)) {
      REQUIRE(c->cmsg_type == SCM_RIGHTS);
      for (size_t at = 0; at < c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
        int fd;
        std::memcpy(&fd, CMSG_DATA(c) + at, sizeof(fd));
        out.fds.emplace_back(fd);
      }
    }
    return out;
  }

 private:
  Temporary directory_;
  std::string variable_;
  sockaddr_un address_{};
  socklen_t size_ = 0;
  UniqueFd socket_;
};

ServiceManager Service(const Manager& manager) {
  Variable socket("NOTIFY_SOCKET", manager.variable());
  auto service = ServiceManager::FromEnvironment();
  INFO(service.status().message());
  REQUIRE(service.ok());
  REQUIRE(service->present());
  return *std::move(service);
}

std::string Refusal(const absl::Status& status, const char* variable) {
  REQUIRE_FALSE(status.ok());
  std::string message(status.message());
  CHECK(message.find(variable) == 0);
  CHECK(message.find('\n') == std::string::npos);
  return message;
}

bool SameFile(BorrowedFd a, BorrowedFd b) {
  struct stat left, right;
  REQUIRE(fstat(a.get(), &left) == 0);
  REQUIRE(fstat(b.get(), &right) == 0);
  return left.st_dev == right.st_dev && left.st_ino == right.st_ino;
}

UniqueFd AnyFile() {
  UniqueFd fd(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(fd);
  return fd;
}

TEST_CASE("without a service manager everything succeeds", "[manager]") {
  unsetenv("NOTIFY_SOCKET");
  auto service = ServiceManager::FromEnvironment();
  REQUIRE(service.ok());
  CHECK_FALSE(service->present());
  CHECK_FALSE(service->watchdog());
  UniqueFd file = AnyFile();
  const BorrowedFd fds[] = {file};
  CHECK(service->Ready("x").ok());
  CHECK(service->Say("x").ok());
  CHECK(service->Reloading().ok());
  CHECK(service->Stopping("x").ok());
  CHECK(service->MainPid(getpid()).ok());
  CHECK(service->FeedWatchdog().ok());
  CHECK(service->StoreFds("x", fds, ServiceManager::OnHangup::kKeep).ok());
  CHECK(service->RemoveFds("x").ok());
  CHECK(service->Barrier(0ms).ok());
}

TEST_CASE("messages are what systemd reads", "[manager]") {
  Manager manager(GENERATE(Manager::Name::kPath, Manager::Name::kAbstract));
  ServiceManager service = Service(manager);
  REQUIRE(service.Ready("serving /a at /b").ok());
  CHECK(manager.Receive().text == "READY=1\nSTATUS=serving /a at /b\n");
  REQUIRE(service.Ready("").ok());
  CHECK(manager.Receive().text == "READY=1\n");
  REQUIRE(service.Say("").ok());
  CHECK(manager.Receive().text == "STATUS=\n");
  REQUIRE(service.Stopping("bye").ok());
  CHECK(manager.Receive().text == "STOPPING=1\nSTATUS=bye\n");
  REQUIRE(service.MainPid(1234).ok());
  CHECK(manager.Receive().text == "MAINPID=1234\n");
  CHECK_FALSE(service.MainPid(0).ok());
  REQUIRE(service.FeedWatchdog().ok());
  CHECK(manager.Receive().text == "WATCHDOG=1\n");
  CHECK_FALSE(manager.HasMessage());
}

TEST_CASE("a reload carries the time of its beginning", "[manager]") {
  Manager manager;
  ServiceManager service = Service(manager);
  auto now = [] {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return int64_t{t.tv_sec} * 1'000'000 + t.tv_nsec / 1'000;
  };
  int64_t before = now();
  REQUIRE(service.Reloading().ok());
  int64_t after = now();
  std::string text = manager.Receive().text;
  const std::string head = "RELOADING=1\nMONOTONIC_USEC=";
  REQUIRE(text.substr(0, head.size()) == head);
  int64_t said = std::stoll(text.substr(head.size()));
  CHECK(said >= before);
  CHECK(said <= after);
}

TEST_CASE("a status cannot say anything else", "[manager]") {
  Manager manager;
  ServiceManager service = Service(manager);
  REQUIRE(service.Say("a\nMAINPID=1\x7f\t\xc3\xa4").ok());
  CHECK(manager.Receive().text == "STATUS=a MAINPID=1  \xc3\xa4\n");
}

TEST_CASE("a status that is too long is cut between characters", "[manager]") {
  Manager manager;
  ServiceManager service = Service(manager);
  // Two bytes each; the cut would fall into the middle of one of them.
  std::string text = "x";
  for (int i = 0; i < 4000; ++i) text += "\xc3\xa4";
  REQUIRE(service.Ready(text).ok());
  std::string sent = manager.Receive().text;
  CHECK(sent.size() <= 4096);
  REQUIRE(sent.size() > 1000);
  CHECK(sent.substr(sent.size() - 3) == "\xc3\xa4\n");
}

TEST_CASE("descriptors are stored under a name", "[manager]") {
  Manager manager;
  ServiceManager service = Service(manager);
  UniqueFd file = AnyFile();
  UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  const BorrowedFd fds[] = {file, null};
  REQUIRE(service.StoreFds("fuse", fds, ServiceManager::OnHangup::kKeep).ok());
  Message keep = manager.Receive();
  CHECK(keep.text == "FDSTORE=1\nFDNAME=fuse\nFDPOLL=0\n");
  REQUIRE(keep.fds.size() == 2);
  CHECK(SameFile(keep.fds[0], file));
  CHECK(SameFile(keep.fds[1], null));
  REQUIRE(service.StoreFds("fuse", fds, ServiceManager::OnHangup::kDrop).ok());
  CHECK(manager.Receive().text == "FDSTORE=1\nFDNAME=fuse\n");
  REQUIRE(service.RemoveFds("fuse").ok());
  CHECK(manager.Receive().text == "FDSTOREREMOVE=1\nFDNAME=fuse\n");
}

TEST_CASE("more descriptors than a message carries", "[manager]") {
  Manager manager;
  ServiceManager service = Service(manager);
  UniqueFd file = AnyFile();
  std::vector<BorrowedFd> fds(300, file);
  REQUIRE(service.StoreFds("pins", fds, ServiceManager::OnHangup::kDrop).ok());
  CHECK(manager.Receive().fds.size() == 253);
  Message rest = manager.Receive();
  CHECK(rest.text == "FDSTORE=1\nFDNAME=pins\n");
  CHECK(rest.fds.size() == 47);
  CHECK_FALSE(manager.HasMessage());
}

TEST_CASE("names that the manager would not take are refused", "[manager]") {
  Manager manager;
  ServiceManager service = Service(manager);
  UniqueFd file = AnyFile();
  const BorrowedFd fds[] = {file};
  std::string name = GENERATE(as<std::string>{}, "", "a:b", "a\nREADY=1",
                              "\xc3\xa4", std::string(256, 'x'));
  CHECK(service.StoreFds(name, fds, ServiceManager::OnHangup::kKeep).error() ==
        Errno(EINVAL));
  CHECK(service.RemoveFds(name).error() == Errno(EINVAL));
  CHECK_FALSE(manager.HasMessage());
}

TEST_CASE("a barrier waits until its message was read", "[manager]") {
  Manager manager;
  ServiceManager service = Service(manager);
  SECTION("nobody reads") {
    CHECK(service.Barrier(1ms).error() == Errno(ETIMEDOUT));
    CHECK(manager.Receive().text == "BARRIER=1");
  }
  SECTION("read and closed") {
    std::thread reader([&] {
      Message message = manager.Receive();
      CHECK(message.text == "BARRIER=1");
      CHECK(message.fds.size() == 1);
    });
    Status status = service.Barrier(60s);
    reader.join();
    CHECK(status.ok());
  }
}

TEST_CASE("a manager that does not read holds nobody up", "[manager]") {
  Manager manager;
  ServiceManager service = Service(manager);
  int sent = 0;
  while (service.FeedWatchdog().ok()) ++sent;
  CHECK(sent > 0);
  CHECK(service.FeedWatchdog().error() == Errno(EAGAIN));
  // Others wait, but not for ever.
  CHECK(service.Ready("").error() == Errno(EAGAIN));
}

TEST_CASE("a manager that began anew is found again", "[manager]") {
  Manager manager;
  ServiceManager service = Service(manager);
  manager.Close();
  CHECK(service.Say("x").error() == Errno(ECONNREFUSED));
  manager.Listen();
  REQUIRE(service.Say("y").ok());
  CHECK(manager.Receive().text == "STATUS=y\n");
}

TEST_CASE("the variables are taken out of the environment", "[manager]") {
  Manager manager;
  Variable socket("NOTIFY_SOCKET", manager.variable());
  Variable usec("WATCHDOG_USEC", "3000000");
  Variable pid("WATCHDOG_PID", std::to_string(getpid()));
  auto service = ServiceManager::FromEnvironment();
  REQUIRE(service.ok());
  CHECK(service->watchdog() == 3s);
  CHECK(std::getenv("NOTIFY_SOCKET") == nullptr);
  CHECK(std::getenv("WATCHDOG_USEC") == nullptr);
  CHECK(std::getenv("WATCHDOG_PID") == nullptr);
}

TEST_CASE("who waits for a watchdog", "[manager]") {
  Manager manager;
  Variable socket("NOTIFY_SOCKET", manager.variable());
  Variable usec("WATCHDOG_USEC", "20");
  SECTION("for whoever asks") {
    CHECK(ServiceManager::FromEnvironment()->watchdog() == 20us);
  }
  SECTION("for another process") {
    Variable pid("WATCHDOG_PID", std::to_string(getppid()));
    auto service = ServiceManager::FromEnvironment();
    REQUIRE(service.ok());
    CHECK_FALSE(service->watchdog());
  }
}

TEST_CASE("bad values of the environment are told", "[manager]") {
  Manager manager;
  SECTION("of the socket") {
    std::string value = GENERATE(as<std::string>{}, "", "/", "@", "notify",
                                 "vsock:2:1234", "/" + std::string(200, 'x'));
    Variable socket("NOTIFY_SOCKET", value);
    Refusal(ServiceManager::FromEnvironment().status(), "NOTIFY_SOCKET");
  }
  SECTION("a socket that is not there") {
    manager.Close();
    Variable socket("NOTIFY_SOCKET", manager.variable());
    auto status = ServiceManager::FromEnvironment().status();
    CHECK(absl::IsUnavailable(status));
    Refusal(status, "NOTIFY_SOCKET");
  }
  SECTION("of the watchdog's period") {
    std::string value = GENERATE(as<std::string>{}, "", "0", "-1", "1s", " 1",
                                 "99999999999999999999");
    Variable socket("NOTIFY_SOCKET", manager.variable());
    Variable usec("WATCHDOG_USEC", value);
    Refusal(ServiceManager::FromEnvironment().status(), "WATCHDOG_USEC");
  }
  SECTION("of the watchdog's process") {
    std::string value =
        GENERATE(as<std::string>{}, "", "0", "-5", "x", "99999999999");
    Variable socket("NOTIFY_SOCKET", manager.variable());
    Variable usec("WATCHDOG_USEC", "1");
    Variable pid("WATCHDOG_PID", value);
    Refusal(ServiceManager::FromEnvironment().status(), "WATCHDOG_PID");
  }
}

TEST_CASE("the longest name of a socket", "[manager]") {
  // 108 bytes: a path needs one of them for its zero, an abstract name none.
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string name = "@handlefs-test-" + std::to_string(getpid());
  name.resize(sizeof(address.sun_path), 'x');
  std::memcpy(address.sun_path, name.data(), name.size());
  address.sun_path[0] = '\0';
  UniqueFd end(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  REQUIRE(bind(end.get(), reinterpret_cast<sockaddr*>(&address),
               sizeof(address)) == 0);
  Variable variable("NOTIFY_SOCKET", name);
  auto service = ServiceManager::FromEnvironment();
  REQUIRE(service.ok());
  REQUIRE(service->Say("x").ok());
  char buffer[32];
  CHECK(recv(end.get(), buffer, sizeof(buffer), 0) == 9);
}

// Descriptors are handed over from number 3 on, which a test has in use: each
// case runs in a child.
template <typename F>
int InChild(F body) {
  pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void Announce(const char* count, const char* names) {
  setenv("LISTEN_FDS", count, 1);
  setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
  if (names != nullptr) setenv("LISTEN_FDNAMES", names, 1);
}

bool EnvironmentIsClear() {
  return std::getenv("LISTEN_FDS") == nullptr &&
         std::getenv("LISTEN_PID") == nullptr &&
         std::getenv("LISTEN_FDNAMES") == nullptr;
}

// 3: /dev/null, 4: /, 5: not open. dup2 leaves FD_CLOEXEC off.
void Place() {
  UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC)), root = AnyFile();
  int a = fcntl(null.get(), F_DUPFD, 10), b = fcntl(root.get(), F_DUPFD, 10);
  null.reset();
  root.reset();
  dup2(a, 3);
  dup2(b, 4);
  close(5);
}

// What is seen as what, for the exit status of the child.
constexpr int kRight = 42;

TEST_CASE("descriptors are taken over with their names", "[manager]") {
  auto body = [] {
    Place();
    Announce("2", "fuse:source");
    auto taken = TakeListenedFds();
    if (!taken.ok() || taken->size() != 2) return 1;
    if ((*taken)[0].name != "fuse" || (*taken)[1].name != "source") return 2;
    if ((*taken)[0].fd.get() != 3 || (*taken)[1].fd.get() != 4) return 3;
    for (auto& one : *taken) {
      if ((fcntl(one.fd.get(), F_GETFD) & FD_CLOEXEC) == 0) return 4;
    }
    if (!EnvironmentIsClear()) return 5;
    taken->clear();
    return fcntl(3, F_GETFD) < 0 && fcntl(4, F_GETFD) < 0 ? kRight : 6;
  };
  CHECK(InChild(body) == kRight);
}

TEST_CASE("descriptors without names", "[manager]") {
  auto body = [] {
    Place();
    Announce("1", nullptr);
    auto taken = TakeListenedFds();
    if (!taken.ok() || taken->size() != 1) return 1;
    return (*taken)[0].name == "unknown" ? kRight : 2;
  };
  CHECK(InChild(body) == kRight);
}

TEST_CASE("no descriptors", "[manager]") {
  std::string what = GENERATE(as<std::string>{}, "no variables", "zero",
                              "another process", "no process");
  auto body = [&] {
    Place();
    if (what != "no variables") Announce(what == "zero" ? "0" : "2", nullptr);
    if (what == "another process") {
      setenv("LISTEN_PID", std::to_string(getppid()).c_str(), 1);
    }
    if (what == "no process") unsetenv("LISTEN_PID");
    auto taken = TakeListenedFds();
    if (!taken.ok() || !taken->empty() || !EnvironmentIsClear()) return 1;
    return fcntl(3, F_GETFD) == 0 && fcntl(4, F_GETFD) == 0 ? kRight : 2;
  };
  CHECK(InChild(body) == kRight);
}

TEST_CASE("bad announcements of descriptors are told and touch none",
          "[manager]") {
  struct Case {
    const char* count;
    const char* names;
    const char* pid;
    const char* variable;
  };
  Case c = GENERATE(values<Case>({
      {"", nullptr, nullptr, "LISTEN_FDS="},
      {"-1", nullptr, nullptr, "LISTEN_FDS="},
      {"2x", nullptr, nullptr, "LISTEN_FDS="},
      {"2147483647", nullptr, nullptr, "LISTEN_FDS="},
      {"3", nullptr, nullptr, "LISTEN_FDS="},  // 5 is not open
      {"2", "a", nullptr, "LISTEN_FDNAMES="},
      {"2", "a:b:c", nullptr, "LISTEN_FDNAMES="},
      {"2", nullptr, "0", "LISTEN_PID="},
      {"2", nullptr, "me", "LISTEN_PID="},
  }));
  CAPTURE(c.count, c.variable);
  auto body = [&] {
    Place();
    Announce(c.count, c.names);
    if (c.pid != nullptr) setenv("LISTEN_PID", c.pid, 1);
    auto taken = TakeListenedFds();
    if (taken.ok()) return 1;
    if (std::string(taken.status().message()).find(c.variable) != 0) return 2;
    if (!EnvironmentIsClear()) return 3;
    return fcntl(3, F_GETFD) == 0 && fcntl(4, F_GETFD) == 0 ? kRight : 4;
  };
  CHECK(InChild(body) == kRight);
}

}  // namespace
}  // namespace handlefs::test
