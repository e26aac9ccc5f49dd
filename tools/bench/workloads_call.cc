// Single calls: round trips, warm and cold names, opening, making files.
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "fixtures.h"
#include "text.h"
#include "workload.h"

namespace handlefs::bench {
namespace {

constexpr uint64_t kBatch = 16;
constexpr uint64_t kWarmUp = 64;

// A trusted attribute: every file system and every server lets root ask.
constexpr char kAttribute[] = "trusted.handlefs-bench";

// What a client keeps between warming up and measuring.
struct Opened {
  int fd = -1;
};
using State = std::shared_ptr<Opened>;

void GetXattr(Client& client, int fd) {
  char value[16];
  if (fgetxattr(fd, kAttribute, value, sizeof(value)) >= 0) {
    client.FailPlainly("getxattr: there is an attribute that nobody set");
  }
  // The kernel answers any other error itself from the second call on.
  if (errno != ENODATA) client.Fail("getxattr");
}

void ForceStatx(Client& client, int fd) {
  struct statx stx;
  if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS,
            &stx) != 0) {
    client.Fail("statx");
  }
}

Workload RoundTrip(const char* name, int clients, const char* about, int flags,
                   void (*call)(Client&, int)) {
  auto state = std::make_shared<Opened>();
  return {.info = {Format("%s-%d", name, clients), "round-trip", "us/op",
                   Format("%s, %d client%s", about, clients,
                          clients == 1 ? "" : "s"),
                   clients},
          .on_floor = Workload::Floor::kRuns,
          .fixtures = {kCalls},
          .warm_up =
              [=](Client& client) {
                std::string path = client.Path(Format("f%d", client.index()));
                state->fd = open(path.c_str(), flags | O_CLOEXEC);
                if (state->fd < 0) client.Fail("open " + path);
                for (uint64_t i = 0; i < kWarmUp; ++i) call(client, state->fd);
              },
          .measure =
              [=](Client& client) {
                client.Loop(kBatch, [&](uint64_t) { call(client, state->fd); });
              }};
}

std::string FewFile(const Client& client, uint64_t i) {
  return client.Path(
      Format("%s/f%llu", kFew, static_cast<unsigned long long>(i % kFewFiles)));
}

std::vector<std::string> FewPaths(const Client& client, const char* suffix) {
  std::vector<std::string> paths;
  for (uint64_t i = 0; i < kFewFiles; ++i) {
    paths.push_back(FewFile(client, i) + suffix);
  }
  return paths;
}

// `call` on the paths of a small directory, one behind the other, after all of
// them were visited once.
Workload OnFew(const char* name, const char* about, const char* suffix,
               void (*call)(Client&, const std::string&)) {
  auto paths = std::make_shared<std::vector<std::string>>();
  return {.info = {name, "names", "us/op", about},
          .fixtures = {kFew},
          .warm_up =
              [=](Client& client) {
                *paths = FewPaths(client, suffix);
                for (const std::string& path : *paths) call(client, path);
              },
          .measure =
              [=](Client& client) {
                client.Loop(kBatch, [&](uint64_t i) {
                  call(client, (*paths)[i % kFewFiles]);
                });
              }};
}

void Stat(Client& client, const std::string& path) {
  struct stat st;
  if (stat(path.c_str(), &st) != 0) client.Fail("stat " + path);
}

void StatMissing(Client& client, const std::string& path) {
  struct stat st;
  if (stat(path.c_str(), &st) == 0) client.FailPlainly(path + " is there");
  if (errno != ENOENT) client.Fail("stat " + path);
}

void OpenClose(Client& client, const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) client.Fail("open " + path);
  close(fd);
}

void MakeOwnDirectories(Client& client, int clients) {
  for (int i = 0; i < clients; ++i) {
    std::string path = client.Path(Format("cell/c%d", i));
    if (mkdir(path.c_str(), 0755) != 0) client.Fail("mkdir " + path);
  }
}

void MknodUnlink(Client& client, uint64_t i) {
  std::string path = client.Path(Format("cell/c%d/n%llu", client.index(),
                                        static_cast<unsigned long long>(i)));
  if (mknod(path.c_str(), S_IFREG | 0644, 0) != 0) client.Fail("mknod");
  if (unlink(path.c_str()) != 0) client.Fail("unlink");
}

void CreateWriteUnlink(Client& client, uint64_t i) {
  static const char block[4096] = "handlefs-bench";
  std::string path = client.Path(Format("cell/c%d/n%llu", client.index(),
                                        static_cast<unsigned long long>(i)));
  int fd = open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
  if (fd < 0) client.Fail("create");
  if (write(fd, block, sizeof(block)) != sizeof(block)) client.Fail("write");
  if (close(fd) != 0) client.Fail("close");
  if (unlink(path.c_str()) != 0) client.Fail("unlink");
}

Workload Making(const std::string& name, const std::string& about, int clients,
                void (*call)(Client&, uint64_t)) {
  return {
      .info = {name, "names", "us/op", about, clients},
      .prepare = [=](Client& client) { MakeOwnDirectories(client, clients); },
      .warm_up =
          [=](Client& client) {
            for (uint64_t i = 0; i < kWarmUp; ++i) call(client, i);
          },
      .measure =
          [=](Client& client) {
            client.Loop(kBatch, [&](uint64_t i) { call(client, i); });
          }};
}

// Client 0 asks, at first alone; client 1 writes and syncs on the same CPU.
void PinToOneCpu(Client& client) {
  cpu_set_t allowed, one;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) {
    client.Fail("sched_getaffinity");
  }
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    CPU_SET(cpu, &one);
    break;
  }
  if (sched_setaffinity(0, sizeof(one), &one) != 0) {
    client.Fail("sched_setaffinity");
  }
}

void AskBesideNeighbour(Client& client, int fd) {
  auto ask = [&](uint64_t) { GetXattr(client, fd); };
  client.Loop(kBatch, ask);
  double alone = static_cast<double>(client.nanoseconds()) /
                 static_cast<double>(client.ops());
  client.Release();
  client.Loop(kBatch, ask);
  double beside = static_cast<double>(client.nanoseconds()) /
                  static_cast<double>(client.ops());
  client.StopOthers();
  client.Extra("alone", alone / 1e3);
  client.Extra("over_alone", beside / alone);
}

void WriteAndSync(Client& client, int fd) {
  static const char block[4096] = "handlefs-bench";
  client.AwaitRelease();
  uint64_t start = Now(), syncs = 0;
  while (!client.stopped()) {
    if (pwrite(fd, block, sizeof(block), 0) != sizeof(block)) {
      client.Fail("pwrite");
    }
    if (fsync(fd) != 0) client.Fail("fsync");
    ++syncs;
  }
  client.Extra("fsyncs_per_second", static_cast<double>(syncs) * 1e9 /
                                        static_cast<double>(Now() - start));
  client.Measured(0, 0);
}

Workload FsyncNeighbour() {
  auto state = std::make_shared<Opened>();
  return {
      .info = {"fsync-neighbour", "neighbour", "us/op",
               "getxattr as in getxattr-1, beside a loop of write and fsync "
               "on the same CPU",
               2},
      .fixtures = {kCalls},
      .prepare = [](Client& client) { MakeOwnDirectories(client, 1); },
      .warm_up =
          [state](Client& client) {
            PinToOneCpu(client);
            bool asks = client.index() == 0;
            std::string path = client.Path(asks ? "f0" : "cell/c0/log");
            state->fd =
                open(path.c_str(),
                     (asks ? O_RDONLY : O_CREAT | O_RDWR) | O_CLOEXEC, 0644);
            if (state->fd < 0) client.Fail("open " + path);
            for (uint64_t i = 0; asks && i < kWarmUp; ++i) {
              GetXattr(client, state->fd);
            }
          },
      .measure =
          [state](Client& client) {
            if (client.index() == 0) {
              AskBesideNeighbour(client, state->fd);
            } else {
              WriteAndSync(client, state->fd);
            }
          }};
}

}  // namespace

std::vector<Workload> CallWorkloads() {
  std::vector<Workload> all;
  for (int clients : {1, 2, 4}) {
    all.push_back(RoundTrip("getxattr", clients,
                            "an attribute that does not exist, of an open file",
                            O_RDONLY, GetXattr));
  }
  for (int clients : {1, 2, 4}) {
    all.push_back(RoundTrip("statx", clients,
                            "attributes with AT_STATX_FORCE_SYNC, by O_PATH",
                            O_PATH, ForceStatx));
  }
  all.push_back(FsyncNeighbour());
  all.push_back(
      OnFew("stat-warm", "stat of 1000 files in turn, known before", "", Stat));
  all.push_back(OnFew("lookup-missing",
                      "stat of 1000 names in turn that do not exist",
                      "-missing", StatMissing));
  all.push_back(OnFew("open-close", "open and close of 1000 files in turn", "",
                      OpenClose));
  all.push_back(
      Making("mknod-unlink", "make a file and unlink it", 1, MknodUnlink));
  for (int clients : {1, 4}) {
    all.push_back(
        Making(Format("create-%d", clients),
               Format("create, write 4k, close, unlink, %d client%s", clients,
                      clients == 1 ? "" : "s, each in a directory of its own"),
               clients, CreateWriteUnlink));
  }
  return all;
}

}  // namespace handlefs::bench
