// What every test begins with: a tree, and a daemon that serves it. The end of
// the scope is the end of the connection, and a test of its own: the daemon
// must leave with status 0 and must not have answered anything twice.
#ifndef HANDLEFS_TEST_WIRE_SERVED_H_
#define HANDLEFS_TEST_WIRE_SERVED_H_

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <catch2/catch.hpp>

#include "fake_kernel.h"

namespace handlefs::test {

using proto::Opcode;

constexpr uint64_t kRoot = 1;
// No daemon ever gave these out: too small, packed, and from the table.
constexpr uint64_t kForeignNodes[] = {
    0, 2, 77, 0x7ffffff0'12345678, 0x80000000'00000001, ~uint64_t{0}};

// Open files of this server that are none (any more): another index, another
// generation.
inline std::vector<uint64_t> UnknownFiles(uint64_t fh) {
  return {fh ^ 1 << 10, fh ^ 0xffffff, fh ^ 1 << 24, fh ^ 1 << 30};
}
// One that a server before this one had given out.
constexpr uint64_t FileOfBefore(uint64_t fh) {
  return fh ^ uint64_t { 1 } << 40;
}

struct Served {
  TempTree tree;
  FakeKernel kernel;

  Served() : kernel(tree.source()) {}
  explicit Served(const FakeKernel::Setup& setup)
      : kernel(tree.source(), setup) {}
  explicit Served(std::vector<std::string> options)
      : Served(FakeKernel::Setup{.options = std::move(options)}) {}
};

inline int ErrorOf(const Answer& answer) { return answer.error; }

// ENOENT, or an entry that says so and may be remembered.
inline bool IsNegative(const Answer& answer) {
  if (answer.error == ENOENT) return true;
  return answer.ok() && answer.Get<abi::EntryOut>().nodeid == 0;
}

inline struct stat HostStat(const std::filesystem::path& path) {
  struct stat st {};
  REQUIRE(lstat(path.c_str(), &st) == 0);
  return st;
}

// The attributes that the kernel gets are those of the host's file.
inline void CheckAttr(const abi::Attr& attr,
                      const std::filesystem::path& path) {
  struct stat st = HostStat(path);
  CHECK(attr.ino == st.st_ino);
  CHECK(attr.size == static_cast<uint64_t>(st.st_size));
  CHECK(attr.blocks == static_cast<uint64_t>(st.st_blocks));
  CHECK(attr.mode == st.st_mode);
  CHECK(attr.nlink == st.st_nlink);
  CHECK(attr.uid == st.st_uid);
  CHECK(attr.gid == st.st_gid);
  CHECK(attr.atime == static_cast<uint64_t>(st.st_atim.tv_sec));
  CHECK(attr.mtime == static_cast<uint64_t>(st.st_mtim.tv_sec));
  CHECK(attr.ctime == static_cast<uint64_t>(st.st_ctim.tv_sec));
  CHECK(attr.atimensec == st.st_atim.tv_nsec);
  CHECK(attr.mtimensec == st.st_mtim.tv_nsec);
  CHECK(attr.ctimensec == st.st_ctim.tv_nsec);
  CHECK(attr.blksize == static_cast<uint64_t>(st.st_blksize));
  CHECK(attr.flags == 0);
  unsigned minor_bits = minor(st.st_rdev), major_bits = major(st.st_rdev);
  CHECK(attr.rdev == ((minor_bits & 0xff) | (major_bits << 8) |
                      ((minor_bits & ~0xffu) << 12)));
}

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_WIRE_SERVED_H_
