// Whole directories and trees, cold and warm. Cold is the mount: its server was
// started for this measurement. The host is warm for all, native included.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "fixtures.h"
#include "text.h"
#include "workload.h"

namespace handlefs::bench {
namespace {

enum class Look { kNames, kStat };

struct Part {
  uint64_t index = 0;
  uint64_t count = 1;
};

// Counts entries below a directory. Of the top directory only the entries of
// this part are entered and counted.
uint64_t Walk(Client& client, int parent, const char* name, Look look,
              Part part) {
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) client.Fail(std::string("open directory ") + name);
  DIR* dir = fdopendir(fd);
  if (dir == nullptr) client.Fail("fdopendir");
  uint64_t count = 0, seen = 0;
  while (true) {
    errno = 0;
    dirent* entry = readdir(dir);
    if (entry == nullptr && errno != 0) client.Fail("readdir");
    if (entry == nullptr) break;
    if (std::strcmp(entry->d_name, ".") == 0 ||
        std::strcmp(entry->d_name, "..") == 0) {
      continue;
    }
    if (seen++ % part.count != part.index) continue;
    ++count;
    bool directory = entry->d_type == DT_DIR;
    if (look == Look::kStat) {
      struct stat st;
      if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        client.Fail(std::string("stat ") + entry->d_name);
      }
      directory = S_ISDIR(st.st_mode);
    }
    if (directory) count += Walk(client, fd, entry->d_name, look, {});
  }
  closedir(dir);
  return count;
}

uint64_t WalkAll(Client& client, const std::string& name, Look look,
                 Part part = {}) {
  return Walk(client, AT_FDCWD, client.Path(name).c_str(), look, part);
}

// Every client has its own part of the second level, so the first is walked by
// each: the trees have few directories there.
uint64_t WalkPart(Client& client, const std::string& name, Look look) {
  Part part{static_cast<uint64_t>(client.index()),
            static_cast<uint64_t>(client.count())};
  if (part.count == 1) return WalkAll(client, name, look);
  std::string top = client.Path(name);
  DIR* dir = opendir(top.c_str());
  if (dir == nullptr) client.Fail("open directory " + top);
  uint64_t count = 0;
  while (dirent* entry = readdir(dir)) {
    if (entry->d_name[0] == '.') continue;
    count += Walk(client, dirfd(dir), entry->d_name, look, part);
  }
  closedir(dir);
  return count;
}

void MustHave(Client& client, uint64_t found, uint64_t wanted) {
  if (found >= wanted) return;
  client.FailPlainly(Format("the tree has %llu entries, of %llu files",
                            static_cast<unsigned long long>(found),
                            static_cast<unsigned long long>(wanted)));
}

Workload ColdWalk(int clients) {
  return {.info = {clients == 1 ? "walk-cold" : Format("walk-cold-%d", clients),
                   "walk", "us/file",
                   Format("readdir and stat of a tree that was not seen, %d "
                          "client%s",
                          clients, clients == 1 ? "" : "s with a part each"),
                   clients},
          .fixtures = {kWalk},
          .measure = [](Client& client) {
            client.Once([&] { return WalkPart(client, kWalk, Look::kStat); });
            // A part is about a half; a fraction of that is a broken tree.
            uint64_t clients = static_cast<uint64_t>(client.count());
            MustHave(
                client, client.ops(),
                client.knobs().walk_files / (clients == 1 ? 1 : 2 * clients));
          }};
}

Workload Files(uint64_t files) {
  std::string name =
      kFilesPrefix + Format("%llu", static_cast<unsigned long long>(files));
  return {.info = {name, "memory", "us/file",
                   "the same with that many files; memory and descriptors of "
                   "the server afterwards"},
          .memory = Workload::Memory::kLookedAt,
          .fixtures = {kCalls, name},
          .warm_up =
              [](Client& client) {
                // What the first request costs is not the files'.
                struct stat st;
                if (stat(client.Path("f0").c_str(), &st) != 0) {
                  client.Fail("stat");
                }
              },
          .measure =
              [=](Client& client) {
                client.Once([&] { return WalkAll(client, name, Look::kStat); });
                MustHave(client, client.ops(), files);
              }};
}

}  // namespace

std::vector<Workload> WalkWorkloads(const Knobs& knobs) {
  std::vector<Workload> all;
  all.push_back(
      {.info = {"walk-warm", "walk", "us/file",
                "readdir and stat of a tree that was walked before"},
       .fixtures = {kWalk},
       .warm_up = [](Client& client) { WalkAll(client, kWalk, Look::kStat); },
       .measure =
           [](Client& client) {
             client.LoopMany(
                 [&] { return WalkAll(client, kWalk, Look::kStat); });
           }});
  all.push_back(ColdWalk(1));
  all.push_back(ColdWalk(2));
  all.push_back(
      {.info = {"readdir-warm", "walk", "us/entry",
                "names of one large directory, listed before"},
       .fixtures = {kFlat},
       .warm_up = [](Client& client) { WalkAll(client, kFlat, Look::kNames); },
       .measure =
           [](Client& client) {
             client.LoopMany(
                 [&] { return WalkAll(client, kFlat, Look::kNames); });
           }});
  all.push_back({.info = {"readdir-cold", "walk", "us/entry",
                          "names of one large directory, not seen before"},
                 .fixtures = {kFlat},
                 .measure = [](Client& client) {
                   client.Once(
                       [&] { return WalkAll(client, kFlat, Look::kNames); });
                   MustHave(client, client.ops(), client.knobs().flat_files);
                 }});
  for (uint64_t files : knobs.files) all.push_back(Files(files));
  return all;
}

}  // namespace handlefs::bench
