// DirStream: what the host gives, from every offset, while names come and go.
#include "handles/dir_stream.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "sandbox.h"
#include "support.h"

namespace handlefs::test {
namespace {

struct Seen {
  std::string name;
  uint64_t ino;
  uint64_t next;
  int type;
  friend bool operator==(const Seen&, const Seen&) = default;
};

// From `offset` on, at most `limit` entries.
std::vector<Seen> Read(DirStream& stream, BorrowedFd dir, uint64_t offset,
                       size_t limit = ~size_t{0}) {
  REQUIRE(ErrorOf(stream.Seek(dir, offset)) == 0);
  std::vector<Seen> out;
  while (out.size() < limit) {
    auto item = stream.Peek(dir);
    REQUIRE(item.ok());
    if (!*item) break;
    const DirStream::Item& i = **item;
    out.push_back({std::string(i.name, i.name_size), i.ino, i.next, i.type});
    stream.Advance();
  }
  return out;
}

// The same by the C library, on a descriptor of its own.
std::vector<Seen> HostRead(const std::string& path) {
  std::vector<Seen> out;
  DIR* dir = opendir(path.c_str());
  REQUIRE(dir != nullptr);
  while (dirent* e = readdir(dir)) {
    out.push_back(
        {e->d_name, e->d_ino, static_cast<uint64_t>(e->d_off), e->d_type});
  }
  closedir(dir);
  return out;
}

struct Subject {
  explicit Subject(const std::string& place, size_t files) : path(place) {
    mkdir(path.c_str(), 0755);
    for (size_t i = 0; i < files; ++i) Add("file" + std::to_string(i));
    mkdir((path + "/sub").c_str(), 0755);
    symlink("to", (path + "/link").c_str());
    mkfifo((path + "/fifo").c_str(), 0644);
    Add(std::string(255, 'n'));
    dir = OpenAt(path, O_RDONLY | O_DIRECTORY);
  }
  void Add(const std::string& name) {
    UniqueFd(OpenAt(path + "/" + name, O_RDWR | O_CREAT));
  }
  void Remove(const std::string& name) { unlink((path + "/" + name).c_str()); }
  std::string path;
  UniqueFd dir;
};

void CheckSeeks(Subject& subject, Random& random) {
  auto all = HostRead(subject.path);
  DirStream stream;
  REQUIRE(Read(stream, subject.dir, 0) == all);
  REQUIRE(Read(stream, subject.dir, 0) == all);
  // At the end, and again at the end.
  REQUIRE(Read(stream, subject.dir, all.back().next).empty());
  REQUIRE(Read(stream, subject.dir, all.back().next).empty());
  for (int i = 0; i < 200; ++i) {
    size_t at = random.Below(all.size());
    size_t limit = random.OneIn(3) ? all.size() : random.Below(20);
    auto got = Read(stream, subject.dir, at == 0 ? 0 : all[at - 1].next, limit);
    size_t end = std::min(all.size(), at + limit);
    REQUIRE(got ==
            std::vector<Seen>(all.begin() + static_cast<ptrdiff_t>(at),
                              all.begin() + static_cast<ptrdiff_t>(end)));
  }
  // Another stream of another descriptor understands the same offsets.
  UniqueFd again = OpenAt(subject.path, O_RDONLY | O_DIRECTORY);
  DirStream other;
  size_t half = all.size() / 2;
  REQUIRE(
      Read(other, again, all[half - 1].next) ==
      std::vector<Seen>(all.begin() + static_cast<ptrdiff_t>(half), all.end()));
}

// Reads in pages while names are removed and added: what was there all the time
// is seen exactly once, what was added at most once.
void CheckChanges(Subject& subject, Random& random, size_t files) {
  DirStream stream;
  std::map<std::string, int> seen;
  std::set<std::string> removed;
  size_t added = 0;
  uint64_t offset = 0;
  for (;;) {
    size_t page = 1 + random.Below(40);
    auto got = Read(stream, subject.dir, offset, page);
    if (got.empty()) break;
    for (const Seen& entry : got) ++seen[entry.name];
    offset = got.back().next;
    for (int i = 0; i < 5; ++i) {
      std::string name = "file" + std::to_string(random.Below(files));
      // Also the very entry that the offset came from.
      if (random.OneIn(4)) name = got.back().name;
      if (name.starts_with("file") && removed.insert(name).second) {
        subject.Remove(name);
      }
    }
    if (added < 200) subject.Add("added" + std::to_string(added++));
    // A reader that goes back a page and forth again.
    if (random.OneIn(5)) Read(stream, subject.dir, 0, 3);
  }
  for (const auto& [name, n] : seen) {
    CAPTURE(name);
    REQUIRE(n == 1);
  }
  for (size_t i = 0; i < files; ++i) {
    std::string name = "file" + std::to_string(i);
    if (!removed.contains(name)) REQUIRE(seen.contains(name));
  }
  // From the start: what is there now.
  auto now = Read(stream, subject.dir, 0);
  REQUIRE(now == HostRead(subject.path));
  for (const Seen& entry : now) REQUIRE_FALSE(removed.contains(entry.name));
}

void CheckRemovedDirectory(const std::string& path) {
  std::string gone = path + "/gone";
  Subject subject(gone, 3);
  DirStream stream;
  REQUIRE(Read(stream, subject.dir, 0, 2).size() == 2);
  std::filesystem::remove_all(gone);
  CHECK(Read(stream, subject.dir, 0).empty());
  CHECK(Read(stream, subject.dir, 0).empty());
}

TEST_CASE("DirStream: on each file system", "[mounted][dir]") {
  for (FsKind kind : {FsKind::kExt4, FsKind::kXfs, FsKind::kBtrfs,
                      FsKind::kTmpfs, FsKind::kOverlay}) {
    CAPTURE(NameOf(kind));
    MountedFs fs(kind);
    Random random(4);
    // A few entries; and more than a buffer of 32 KiB holds.
    for (size_t files : {size_t{5}, size_t{1500}}) {
      Subject subject(fs.path() + "/dir" + std::to_string(files), files);
      CheckSeeks(subject, random);
      // An overlay reads the merged directory when it is opened.
      if (kind != FsKind::kOverlay) CheckChanges(subject, random, files);
    }
    CheckRemovedDirectory(fs.path());
  }
}

// A server that goes on with another's open directory may begin at its end.
TEST_CASE("DirStream: rewound after a first look at the end",
          "[mounted][dir]") {
  for (FsKind kind :
       {FsKind::kExt4, FsKind::kXfs, FsKind::kBtrfs, FsKind::kTmpfs}) {
    CAPTURE(NameOf(kind));
    MountedFs fs(kind);
    Subject subject(fs.path() + "/dir", 3);
    std::vector<Seen> all = HostRead(subject.path);
    REQUIRE(all.size() > 3);
    UniqueFd fd(open(subject.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    DirStream stream;
    CHECK(Read(stream, fd, all.back().next).empty());
    CHECK(Read(stream, fd, 0) == all);
  }
}

TEST_CASE("DirStream: what is new after the end is seen", "[dir]") {
  TempDir temp;
  Subject subject(temp / "d", 3);
  DirStream stream;
  size_t before = Read(stream, subject.dir, 0).size();
  subject.Add("new");
  CHECK(Read(stream, subject.dir, 0).size() == before + 1);
  // Begun anew although nothing was consumed.
  REQUIRE(ErrorOf(stream.Seek(subject.dir, 0)) == 0);
  REQUIRE(stream.Peek(subject.dir).ok());
  subject.Add("newer");
  CHECK(Read(stream, subject.dir, 0).size() == before + 2);
}

TEST_CASE("DirStream: a refused seek changes nothing", "[dir]") {
  TempDir temp;
  Subject subject(temp / "d", 20);
  auto all = HostRead(subject.path);
  DirStream stream;
  REQUIRE(Read(stream, subject.dir, 0, 5).size() == 5);
  REQUIRE(ErrorOf(stream.Seek(subject.dir, ~uint64_t{0})) == EINVAL);
  CHECK(Read(stream, subject.dir, all[4].next) ==
        std::vector<Seen>(all.begin() + 5, all.end()));
}

TEST_CASE("DirStream: no directory, no entries", "[dir]") {
  TempDir temp;
  UniqueFd file = OpenAt(temp / "f", O_RDWR | O_CREAT);
  DirStream stream;
  REQUIRE(ErrorOf(stream.Seek(file, 0)) == 0);
  CHECK(ErrorOf(stream.Peek(file)) == ENOTDIR);
}

}  // namespace
}  // namespace handlefs::test
