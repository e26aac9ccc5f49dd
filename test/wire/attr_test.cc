// Attributes of files and of the file system.
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "served.h"

namespace handlefs::test {
namespace {

namespace fs = std::filesystem;

TEST_CASE("GETATTR", "[attr]") {
  Served served;
  served.tree.Write("a", "12345");
  Answer answer = served.kernel.Getattr(kRoot);
  REQUIRE(answer.ok());
  CheckAttr(answer.Get<abi::AttrOut>().attr, served.tree.source());
  uint64_t a = served.kernel.Node(kRoot, "a");
  answer = served.kernel.Getattr(a);
  REQUIRE(answer.ok());
  CHECK(answer.Get<abi::AttrOut>().attr_valid_nsec < 1000000000);
  CheckAttr(answer.Get<abi::AttrOut>().attr, served.tree.Path("a"));
  // What changes on the host is seen.
  served.tree.Write("a", "1234567");
  CHECK(served.kernel.Getattr(a).Get<abi::AttrOut>().attr.size == 7);
  for (uint64_t node : kForeignNodes) {
    CAPTURE(node);
    CHECK(ErrorOf(served.kernel.Getattr(node)) == ESTALE);
  }
}

TEST_CASE("GETATTR of an open file", "[attr]") {
  Served served;
  served.tree.Write("a", "12345");
  uint64_t a = served.kernel.Node(kRoot, "a");
  uint64_t fh = served.kernel.OpenFh(a, O_RDONLY);
  abi::GetattrIn in{.getattr_flags = proto::kGetattrFh, .dummy = 0, .fh = fh};
  Answer answer = served.kernel.Call(Message(Opcode::kGetattr, a).Put(in));
  REQUIRE(answer.ok());
  CheckAttr(answer.Get<abi::AttrOut>().attr, served.tree.Path("a"));
}

TEST_CASE("a file that is deleted on the host is stale", "[attr]") {
  Served served;
  served.tree.Write("a", "");
  uint64_t a = served.kernel.Node(kRoot, "a");
  fs::remove(served.tree.Path("a"));
  CHECK(ErrorOf(served.kernel.Getattr(a)) == ESTALE);
  // And its inode, if it is used again, is another file.
  served.tree.Write("b", "");
  CHECK(ErrorOf(served.kernel.Getattr(a)) == ESTALE);
}

TEST_CASE("STATX", "[attr]") {
  Served served;
  served.tree.Write("a", "12345");
  uint64_t a = served.kernel.Node(kRoot, "a");
  abi::StatxIn in{};
  in.sx_mask = 0xfff;
  Answer answer = served.kernel.Call(Message(Opcode::kStatx, a).Put(in));
  REQUIRE(answer.ok());
  auto out = answer.Get<abi::StatxOut>();
  struct statx stx {};
  REQUIRE(statx(AT_FDCWD, served.tree.Path("a").c_str(), AT_SYMLINK_NOFOLLOW,
                0xfff, &stx) == 0);
  CHECK((out.stat.mask & 0x7ff) == 0x7ff);
  CHECK(out.stat.ino == stx.stx_ino);
  CHECK(out.stat.size == 5);
  CHECK(out.stat.mode == stx.stx_mode);
  CHECK(out.stat.nlink == 1);
  CHECK(out.stat.blocks == stx.stx_blocks);
  CHECK(out.stat.blksize == stx.stx_blksize);
  CHECK(out.stat.mtime.tv_sec == stx.stx_mtime.tv_sec);
  CHECK(out.stat.mtime.tv_nsec == stx.stx_mtime.tv_nsec);
  CHECK(out.stat.ctime.tv_nsec == stx.stx_ctime.tv_nsec);
  CHECK(out.stat.atime.tv_nsec == stx.stx_atime.tv_nsec);
  if ((stx.stx_mask & STATX_BTIME) != 0) {
    CHECK((out.stat.mask & STATX_BTIME) != 0);
    CHECK(out.stat.btime.tv_sec == stx.stx_btime.tv_sec);
    CHECK(out.stat.btime.tv_nsec == stx.stx_btime.tv_nsec);
  }
  CHECK(out.flags == 0);
  CHECK(ErrorOf(served.kernel.Call(Message(Opcode::kStatx, 77).Put(in))) ==
        ESTALE);
}

TEST_CASE("SETATTR changes what its bits say, and nothing else", "[attr]") {
  Served served;
  served.tree.Write("a", "12345");
  fs::permissions(served.tree.Path("a"), fs::perms(0644));
  uint64_t a = served.kernel.Node(kRoot, "a");
  auto setattr = [&](const abi::SetattrIn& in) {
    return served.kernel.Call(Message(Opcode::kSetattr, a).Put(in));
  };
  abi::SetattrIn in{};
  in.mode = 0700;
  in.size = 1;
  in.atime = 5;
  in.uid = 1;
  struct stat before = HostStat(served.tree.Path("a"));
  Answer answer = setattr(in);
  REQUIRE(answer.ok());
  struct stat after = HostStat(served.tree.Path("a"));
  CHECK(after.st_mode == before.st_mode);
  CHECK(after.st_size == before.st_size);
  CHECK(after.st_uid == before.st_uid);
  CHECK(after.st_atim.tv_sec == before.st_atim.tv_sec);

  in.valid = proto::fattr::kMode;
  answer = setattr(in);
  REQUIRE(answer.ok());
  CHECK(HostStat(served.tree.Path("a")).st_mode == (S_IFREG | 0700));
  CheckAttr(answer.Get<abi::AttrOut>().attr, served.tree.Path("a"));

  in.valid = proto::fattr::kSize;
  in.size = 3;
  answer = setattr(in);
  REQUIRE(answer.ok());
  CHECK(served.tree.Read("a") == "123");
  in.size = 6;
  REQUIRE(setattr(in).ok());
  CHECK(served.tree.Read("a") == std::string("123\0\0\0", 6));

  in.valid = proto::fattr::kAtime | proto::fattr::kMtime;
  in.atime = 1000;
  in.atimensec = 7;
  in.mtime = 2000;
  in.mtimensec = 8;
  answer = setattr(in);
  REQUIRE(answer.ok());
  after = HostStat(served.tree.Path("a"));
  CHECK(after.st_atim.tv_sec == 1000);
  CHECK(after.st_atim.tv_nsec == 7);
  CHECK(after.st_mtim.tv_sec == 2000);
  CHECK(after.st_mtim.tv_nsec == 8);
  CheckAttr(answer.Get<abi::AttrOut>().attr, served.tree.Path("a"));

  in.valid = proto::fattr::kMtime | proto::fattr::kMtimeNow;
  REQUIRE(setattr(in).ok());
  after = HostStat(served.tree.Path("a"));
  CHECK(after.st_atim.tv_sec == 1000);
  CHECK(after.st_mtim.tv_sec > 1000000);

  if (geteuid() == 0) {
    in.valid = proto::fattr::kUid;
    in.uid = 12345;
    REQUIRE(setattr(in).ok());
    after = HostStat(served.tree.Path("a"));
    CHECK(after.st_uid == 12345);
    CHECK(after.st_gid == before.st_gid);
    in.valid = proto::fattr::kGid;
    in.gid = 23456;
    REQUIRE(setattr(in).ok());
    CHECK(HostStat(served.tree.Path("a")).st_gid == 23456);
    CHECK(HostStat(served.tree.Path("a")).st_uid == 12345);
  }
}

TEST_CASE("SETATTR through an open file, and of what is none", "[attr]") {
  Served served;
  served.tree.Write("a", "12345");
  uint64_t a = served.kernel.Node(kRoot, "a");
  uint64_t fh = served.kernel.OpenFh(a, O_RDWR);
  abi::SetattrIn in{};
  in.valid = proto::fattr::kSize | proto::fattr::kFh;
  in.fh = fh;
  in.size = 2;
  CHECK(served.kernel.Call(Message(Opcode::kSetattr, a).Put(in)).ok());
  CHECK(served.tree.Read("a") == "12");
  in.valid = proto::fattr::kSize;
  // A directory has no size to set, and a negative one has no file.
  CHECK_FALSE(
      served.kernel.Call(Message(Opcode::kSetattr, kRoot).Put(in)).ok());
  in.size = ~uint64_t{0};
  CHECK_FALSE(served.kernel.Call(Message(Opcode::kSetattr, a).Put(in)).ok());
  for (uint64_t node : kForeignNodes) {
    CHECK(ErrorOf(served.kernel.Call(
              Message(Opcode::kSetattr, node).Put(abi::SetattrIn{}))) ==
          ESTALE);
  }
}

TEST_CASE("SETATTR of a symbolic link is about the link", "[attr]") {
  Served served;
  fs::create_symlink("../outside/secret", served.tree.Path("link"));
  uint64_t link = served.kernel.Node(kRoot, "link");
  struct stat before = HostStat(served.tree.outside() / "secret");
  abi::SetattrIn in{};
  in.valid = proto::fattr::kMtime | proto::fattr::kAtime;
  in.mtime = 1000;
  in.atime = 1000;
  CHECK(served.kernel.Call(Message(Opcode::kSetattr, link).Put(in)).ok());
  CHECK(HostStat(served.tree.Path("link")).st_mtim.tv_sec == 1000);
  in.valid = proto::fattr::kMode;
  in.mode = 0777;
  CHECK_FALSE(served.kernel.Call(Message(Opcode::kSetattr, link).Put(in)).ok());
  struct stat after = HostStat(served.tree.outside() / "secret");
  CHECK(after.st_mode == before.st_mode);
  CHECK(after.st_mtim.tv_sec == before.st_mtim.tv_sec);
}

TEST_CASE("STATFS", "[attr]") {
  Served served;
  Answer answer = served.kernel.Call(Message(Opcode::kStatfs, kRoot));
  REQUIRE(answer.ok());
  auto out = answer.Get<abi::StatfsOut>().st;
  struct statvfs host {};
  REQUIRE(statvfs(served.tree.source().c_str(), &host) == 0);
  CHECK(out.blocks == host.f_blocks);
  CHECK(out.bsize == host.f_bsize);
  CHECK(out.frsize == host.f_frsize);
  CHECK(out.files == host.f_files);
  CHECK(out.namelen == host.f_namemax);
  CHECK(ErrorOf(served.kernel.Call(Message(Opcode::kStatfs, 77))) == ESTALE);
}

TEST_CASE("ACCESS", "[attr]") {
  Served served;
  auto access = [&](uint64_t node) {
    return ErrorOf(served.kernel.Call(
        Message(Opcode::kAccess, node)
            .Put(abi::AccessIn{.mask = R_OK, .padding = 0})));
  };
  CHECK(access(kRoot) == 0);
}

}  // namespace
}  // namespace handlefs::test
