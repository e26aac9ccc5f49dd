// Becoming the caller for one system call. The kernel's own account of the
// thread, in /proc, is what counts. Needs root: nothing can be switched
// without.
#include "daemon/credentials.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <functional>
#include <map>
#include <sstream>
#include <thread>

#include "temporary.h"

namespace handlefs::test {
namespace {

// Of the calling thread.
struct Self {
  uint32_t ruid, euid, suid, fsuid;
  uint32_t rgid, egid, sgid, fsgid;
  std::string groups;
  uint64_t permitted, effective;
  std::string umask;
  friend bool operator==(const Self&, const Self&) = default;
};

Self Me() {
  std::map<std::string, std::string> fields;
  std::istringstream status(ReadAll("/proc/thread-self/status"));
  for (std::string line; std::getline(status, line);) {
    size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    size_t from = line.find_first_not_of(" \t", colon + 1);
    if (from == std::string::npos) from = line.size();
    size_t to = line.find_last_not_of(' ') + 1;
    fields[line.substr(0, colon)] =
        line.substr(from, std::max(to, from) - from);
  }
  Self self{};
  std::istringstream(fields["Uid"]) >> self.ruid >> self.euid >> self.suid >>
      self.fsuid;
  std::istringstream(fields["Gid"]) >> self.rgid >> self.egid >> self.sgid >>
      self.fsgid;
  self.groups = fields["Groups"];
  self.permitted = std::stoull(fields["CapPrm"], nullptr, 16);
  self.effective = std::stoull(fields["CapEff"], nullptr, 16);
  self.umask = fields["Umask"];
  return self;
}

constexpr uint64_t Cap(int number) { return uint64_t{1} << number; }

bool IsRoot() {
  if (geteuid() == 0) return true;
  WARN("not run: it needs root");
  return false;
}

// On a thread that serves; the rest of this process keeps its rights. No
// assertions inside: they belong to the main thread.
void OnServerThread(const std::function<void()>& work) {
  std::thread([&] {
    ReducePrivileges();
    ThreadStart();
    work();
  }).join();
}

TEST_CASE("privileges are cut to what serving needs", "[credentials]") {
  if (!IsRoot()) return;
  const Self before = Me();
  Privileges privileges;
  Self after{};
  std::thread([&] {
    privileges = ReducePrivileges();
    after = Me();
  }).join();
  CHECK(privileges.switch_ids);
  CHECK(privileges.open_handles);
  CHECK(privileges.mount == ((before.permitted & Cap(CAP_SYS_ADMIN)) != 0));
  CHECK((after.permitted & ~before.permitted) == 0);
  CHECK(after.effective == after.permitted);
  // Quotas hold for who has no CAP_SYS_RESOURCE.
  for (int gone : {CAP_SYS_RESOURCE, CAP_SYS_PTRACE, CAP_NET_ADMIN, CAP_KILL,
                   CAP_SYS_MODULE, CAP_SYS_BOOT, CAP_SETPCAP}) {
    INFO("capability " << gone);
    CHECK((after.permitted & Cap(gone)) == 0);
  }
  for (int kept : {CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE, CAP_CHOWN, CAP_FOWNER,
                   CAP_FSETID, CAP_SETUID, CAP_SETGID}) {
    INFO("capability " << kept);
    CHECK((after.permitted & Cap(kept)) != 0);
  }
  // The calling thread alone.
  CHECK(Me() == before);
}

TEST_CASE("a serving thread has no groups and no umask", "[credentials]") {
  if (!IsRoot()) return;
  umask(027);
  const Self before = Me();
  Self inside{}, masked{}, unmasked{};
  OnServerThread([&] {
    inside = Me();
    SetThreadUmask(0123);
    masked = Me();
    SetThreadUmask(0);
    unmasked = Me();
  });
  CHECK(inside.groups.empty());
  CHECK(inside.umask == "0000");
  CHECK(masked.umask == "0123");
  CHECK(unmasked.umask == "0000");
  CHECK(Me() == before);
  umask(022);
}

struct Switched {
  Self before{}, inside{}, after{};
};

Switched Switch(uint32_t uid, uint32_t gid, std::optional<uint32_t> group,
                AsCaller::Extra extra = AsCaller::Extra::kNone) {
  Switched s;
  OnServerThread([&] {
    s.before = Me();
    {
      AsCaller caller(uid, gid, group, extra);
      s.inside = Me();
    }
    s.after = Me();
  });
  return s;
}

// What follows an identity that is not root's.
constexpr uint64_t kRights = Cap(CAP_CHOWN) | Cap(CAP_MKNOD) | Cap(CAP_FOWNER) |
                             Cap(CAP_FSETID) | Cap(CAP_LINUX_IMMUTABLE);
constexpr uint64_t kWay = Cap(CAP_DAC_OVERRIDE) | Cap(CAP_DAC_READ_SEARCH);

TEST_CASE("a thread becomes the caller and turns back", "[credentials]") {
  if (!IsRoot()) return;
  Switched s = Switch(1000, 1001, std::nullopt);
  CHECK(s.inside.fsuid == 1000);
  CHECK(s.inside.fsgid == 1001);
  CHECK(s.inside.groups.empty());
  // The process stays root, and nobody may signal or trace it.
  CHECK(s.inside.ruid == 0);
  CHECK(s.inside.euid == 0);
  CHECK(s.inside.rgid == 0);
  CHECK((s.inside.effective & kRights) == 0);
  CHECK((s.inside.effective & kWay) == kWay);
  CHECK(s.inside.permitted == s.before.permitted);
  CHECK(s.after == s.before);
}

TEST_CASE("with the one group that matters", "[credentials]") {
  if (!IsRoot()) return;
  Switched s = Switch(1000, 1001, 2000);
  CHECK(s.inside.groups == "2000");
  CHECK(s.after == s.before);
  s = Switch(0, 0, 2000);
  CHECK(s.inside.groups == "2000");
  CHECK(s.after == s.before);
}

TEST_CASE("root keeps its rights", "[credentials]") {
  if (!IsRoot()) return;
  Switched s = Switch(0, 50, std::nullopt);
  CHECK(s.inside.fsuid == 0);
  CHECK(s.inside.fsgid == 50);
  CHECK(s.inside.effective == s.before.effective);
  CHECK(s.after == s.before);
  s = Switch(0, 0, std::nullopt);
  CHECK(s.inside == s.before);
}

TEST_CASE("device nodes need one right more", "[credentials]") {
  if (!IsRoot()) return;
  Switched s = Switch(1000, 1000, std::nullopt, AsCaller::Extra::kMknod);
  CHECK((s.inside.effective & kRights) ==
        (s.before.effective & Cap(CAP_MKNOD)));
  CHECK(s.after == s.before);
}

TEST_CASE("turning back keeps errno", "[credentials]") {
  if (!IsRoot()) return;
  int seen = 0;
  OnServerThread([&] {
    {
      AsCaller caller(1000, 1000, 1000);
      errno = EXDEV;
    }
    seen = errno;
  });
  CHECK(seen == EXDEV);
}

TEST_CASE("the largest ids are ids like others", "[credentials]") {
  if (!IsRoot()) return;
  Switched s = Switch(0xfffffffe, 0xfffffffe, 0xfffffffe);
  CHECK(s.inside.fsuid == 0xfffffffe);
  CHECK(s.inside.fsgid == 0xfffffffe);
  CHECK(s.inside.groups == "4294967294");
  CHECK(s.after == s.before);
}

TEST_CASE("what a caller makes belongs to it", "[credentials]") {
  if (!IsRoot()) return;
  Temporary directory;
  // Closed to the caller: the kernel has checked access already.
  REQUIRE(chmod(directory.path().c_str(), 0700) == 0);
  std::string shared = directory / "shared";
  REQUIRE(mkdir(shared.c_str(), 0700) == 0);
  REQUIRE(chown(shared.c_str(), 0, 3000) == 0);
  REQUIRE(chmod(shared.c_str(), 02770) == 0);
  std::string file = directory / "file", heir = shared + "/file";
  int made = 0;
  OnServerThread([&] {
    SetThreadUmask(027);
    AsCaller caller(1000, 1001, std::nullopt);
    for (const std::string& path : {file, heir}) {
      UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0666));
      made += fd ? 1 : 0;
    }
  });
  REQUIRE(made == 2);
  struct stat st;
  REQUIRE(stat(file.c_str(), &st) == 0);
  CHECK(st.st_uid == 1000);
  CHECK(st.st_gid == 1001);
  CHECK((st.st_mode & 07777) == 0640);
  REQUIRE(stat(heir.c_str(), &st) == 0);
  CHECK(st.st_uid == 1000);
  CHECK(st.st_gid == 3000);
}

TEST_CASE("whether a caller is in a group", "[credentials]") {
  if (!IsRoot()) return;
  bool own = false, first = false, last = false, other = true, part = true;
  bool nobody = true, nobodys_gid = false;
  OnServerThread([&] {
    gid_t groups[] = {7, 8, 70000};
    syscall(SYS_setgroups, 3, groups);
    Caller me{.uid = 0, .gid = 55, .pid = static_cast<uint32_t>(gettid())};
    own = CallerIsInGroup(me, 55);
    first = CallerIsInGroup(me, 7);
    last = CallerIsInGroup(me, 70000);
    other = CallerIsInGroup(me, 9);
    part = CallerIsInGroup(me, 7000);
    Caller gone{.uid = 0, .gid = 55, .pid = 0x7fffffff};
    nobody = CallerIsInGroup(gone, 7);
    nobodys_gid = CallerIsInGroup(gone, 55);
  });
  CHECK(own);
  CHECK(first);
  CHECK(last);
  CHECK_FALSE(other);
  CHECK_FALSE(part);
  CHECK_FALSE(nobody);
  CHECK(nobodys_gid);
}

struct SetIdCase {
  mode_t before;
  SetIdScope::Bits bits;
  uint32_t gid;  // of the writer; the file's group is 3000
  mode_t after;
};

TEST_CASE("writing clears set-id bits where it shall", "[credentials]") {
  if (!IsRoot()) return;
  constexpr auto kKeep = SetIdScope::Bits::kKeep;
  constexpr auto kClear = SetIdScope::Bits::kClear;
  auto c = GENERATE(SetIdCase{06755, kKeep, 1000, 06755},
                    SetIdCase{06755, kClear, 1000, 0755},
                    SetIdCase{04755, kClear, 1000, 0755},
                    SetIdCase{02755, kClear, 1000, 0755},
                    SetIdCase{0755, kClear, 1000, 0755},
                    // Without group execution it depends on the writer's group.
                    SetIdCase{02644, kClear, 3000, 02644},
                    SetIdCase{02644, kClear, 1000, 0644},
                    SetIdCase{02644, kKeep, 1000, 02644});
  Temporary directory;
  std::string path = directory / "file";
  WriteAll(path, "old");
  REQUIRE(chown(path.c_str(), 1000, 3000) == 0);
  REQUIRE(chmod(path.c_str(), c.before) == 0);
  ssize_t written = 0;
  Self before{}, after{};
  OnServerThread([&] {
    UniqueFd fd(open(path.c_str(), O_WRONLY));
    before = Me();
    {
      SetIdScope scope(c.bits, fd, {.uid = 1000, .gid = c.gid, .pid = 0});
      written = write(fd.get(), "new", 3);
    }
    after = Me();
  });
  CHECK(written == 3);
  CHECK(after == before);
  struct stat st;
  REQUIRE(stat(path.c_str(), &st) == 0);
  CHECK((st.st_mode & 07777) == c.after);
}

}  // namespace
}  // namespace handlefs::test
