// The text of every request, from bytes. Its form is read by people and by
// scripts: a change here is a change for them.
#include <catch2/catch.hpp>

#include "bytes.h"
#include "proto/text.h"

namespace handlefs::proto {
namespace {

using test::Finish;
using test::Header;
using test::Wire;
using namespace std::literals;

std::string Text(const Wire& message, size_t setxattr_size = 16) {
  auto raw = Split(message.bytes(), setxattr_size);
  REQUIRE(raw.ok());
  return DescribeRequest(*raw);
}

// The struct behind the header begins here.
constexpr size_t kIn = 40;

Wire Handle(std::string_view bytes) {
  Wire record(24);
  return record.U32(0, 24).U32(4, 33).U16(8, bytes.size()).Text(10, bytes);
}

TEST_CASE("text of requests about names", "[text]") {
  CHECK(Text(Finish(Header(1, 1).Append("a\0"sv))) == R"(rx 12 LOOKUP n1 "a")");
  CHECK(Text(Finish(Header(6, 1).Append("l\0../t\0"sv))) ==
        R"(rx 12 SYMLINK n1 "l" "../t" u1000 g1000 p4242)");
  CHECK(Text(Finish(Header(8, 1)
                        .U32(kIn, 020644)
                        .U32(kIn + 4, 0x501)
                        .U32(kIn + 8, 022)
                        .U32(kIn + 12, 0)
                        .Append("d\0"sv))) ==
        R"(rx 12 MKNOD n1 "d" mode 020644 rdev 0x501 umask 022 )"
        "u1000 g1000 p4242");
  CHECK(Text(Finish(
            Header(9, 1).U32(kIn, 0755).U32(kIn + 4, 077).Append("d\0"sv))) ==
        R"(rx 12 MKDIR n1 "d" mode 0755 umask 077 u1000 g1000 p4242)");
  CHECK(Text(Finish(Header(10, 5).Append("f\0"sv))) ==
        R"(rx 12 UNLINK n5 "f" u1000 g1000 p4242)");
  CHECK(Text(Finish(Header(11, 5).Append("d\0"sv))) ==
        R"(rx 12 RMDIR n5 "d" u1000 g1000 p4242)");
  CHECK(Text(Finish(Header(12, 5).U64(kIn, 6).Append("a\0b\0"sv))) ==
        R"(rx 12 RENAME n5 "a" "b" newdir n6 u1000 g1000 p4242)");
  CHECK(Text(Finish(
            Header(45, 5).U64(kIn, 6).U64(kIn + 8, 2).Append("a\0b\0"sv))) ==
        R"(rx 12 RENAME2 n5 "a" "b" newdir n6 flags 0x2 u1000 g1000 p4242)");
  CHECK(Text(Finish(Header(13, 5).U64(kIn, 9).Append("x\0"sv))) ==
        R"(rx 12 LINK n5 "x" old n9 u1000 g1000 p4242)");
  CHECK(Text(Finish(Header(35, 1)
                        .U32(kIn, 0x8241)
                        .U32(kIn + 4, 0100644)
                        .U32(kIn + 8, 022)
                        .U32(kIn + 12, 0)
                        .Append("f\0"sv))) ==
        R"(rx 12 CREATE n1 "f" flags 0x8241 mode 0100644 umask 022 )"
        "u1000 g1000 p4242");
  CHECK(Text(Finish(Header(51, 1)
                        .U32(kIn, 0x410002)
                        .U32(kIn + 4, 0100600)
                        .U32(kIn + 8, 0)
                        .U32(kIn + 12, 1)
                        .Append("/\0"sv))) ==
        R"(rx 12 TMPFILE n1 "/" flags 0x410002 mode 0100600 umask 00 )"
        "open_flags 0x1 u1000 g1000 p4242");
}

TEST_CASE("text of requests about attributes", "[text]") {
  CHECK(Text(Finish(Header(3, 5).Resize(56))) == "rx 12 GETATTR n5");
  CHECK(Text(Finish(Header(3, 5).U32(kIn, 1).U64(kIn + 8, 3))) ==
        "rx 12 GETATTR n5 fh3");
  CHECK(Text(Finish(
            Header(52, 5).U32(kIn, 1).U64(kIn + 8, 3).U32(kIn + 20, 0xfff))) ==
        "rx 12 STATX n5 fh3 flags 0x0 mask 0xfff");
  Wire setattr = Header(4, 5).Resize(128);
  CHECK(Text(Finish(setattr)) ==
        "rx 12 SETATTR n5 valid 0x0 u1000 g1000 p4242");
  setattr.U32(kIn, 0x66f).U64(kIn + 8, 3).U64(kIn + 16, 4096);
  setattr.U64(kIn + 24, 0xabc).U64(kIn + 40, ~0ull).U64(kIn + 48, 100);
  setattr.U32(kIn + 60, 5).U32(kIn + 64, 6).U32(kIn + 68, 0100600);
  setattr.U32(kIn + 76, 1).U32(kIn + 80, 2);
  CHECK(Text(Finish(setattr)) ==
        "rx 12 SETATTR n5 valid 0x66f fh3 mode 0100600 uid 1 gid 2 size 4096 "
        "mtime -1.5ns ctime 100.6ns owner 0xabc u1000 g1000 p4242");
  CHECK(Text(Finish(Header(4, 5).U32(kIn, 0x1b0).Resize(128))) ==
        "rx 12 SETATTR n5 valid 0x1b0 atime now mtime now u1000 g1000 p4242");
  CHECK(Text(Finish(Header(34, 5).U32(kIn, 7).U32(kIn + 4, 0))) ==
        "rx 12 ACCESS n5 mask 07");
  CHECK(Text(Finish(Header(17, 1))) == "rx 12 STATFS n1");
  CHECK(Text(Finish(Header(5, 5))) == "rx 12 READLINK n5");
}

TEST_CASE("text of requests about open files", "[text]") {
  CHECK(Text(Finish(Header(14, 5).U32(kIn, 0x8002).U32(kIn + 4, 0))) ==
        "rx 12 OPEN n5 flags 0x8002");
  CHECK(Text(Finish(Header(14, 5).U32(kIn, 0x8201).U32(kIn + 4, 1))) ==
        "rx 12 OPEN n5 flags 0x8201 open_flags 0x1");
  CHECK(Text(Finish(Header(27, 5).U32(kIn, 0x18800).U32(kIn + 4, 0))) ==
        "rx 12 OPENDIR n5 flags 0x18800");
  Wire read = Header(15, 5).Resize(80);
  read.U64(kIn, 3).U64(kIn + 8, 4096).U32(kIn + 16, 131072);
  CHECK(Text(Finish(read)) == "rx 12 READ n5 fh3 off 4096 size 131072");
  read.U32(kIn + 20, 2).U64(kIn + 24, 0xabc);
  CHECK(Text(Finish(read)) ==
        "rx 12 READ n5 fh3 off 4096 size 131072 owner 0xabc");
  CHECK(Text(Finish(read.U32(4, 28).U32(kIn + 20, 0))) ==
        "rx 12 READDIR n5 fh3 off 4096 size 131072");
  CHECK(Text(Finish(read.U32(4, 44))) ==
        "rx 12 READDIRPLUS n5 fh3 off 4096 size 131072");
  Wire write = Header(16, 5).Resize(80);
  write.U64(kIn, 3).U64(kIn + 8, 10).U32(kIn + 16, 5).Append("hello");
  CHECK(Text(Finish(write)) ==
        "rx 12 WRITE n5 fh3 off 10 size 5 <5 bytes> u1000 g1000 p4242");
  write.U32(kIn + 20, 7).U64(kIn + 24, 0xabc);
  CHECK(Text(Finish(write)) ==
        "rx 12 WRITE n5 fh3 off 10 size 5 cache owner 0xabc kill-suidgid "
        "<5 bytes> u1000 g1000 p4242");
  Wire release = Header(18, 5).Resize(64);
  release.U64(kIn, 3).U32(kIn + 8, 0x8000);
  CHECK(Text(Finish(release)) == "rx 12 RELEASE n5 fh3 flags 0x8000");
  release.U32(kIn + 12, 3).U64(kIn + 16, 0xabc);
  CHECK(Text(Finish(release.U32(4, 29))) ==
        "rx 12 RELEASEDIR n5 fh3 flags 0x8000 flush flock-unlock owner 0xabc");
  Wire fsync = Header(20, 5).Resize(56).U64(kIn, 3);
  CHECK(Text(Finish(fsync)) == "rx 12 FSYNC n5 fh3");
  CHECK(Text(Finish(fsync.U32(4, 30).U32(kIn + 8, 1))) ==
        "rx 12 FSYNCDIR n5 fh3 data");
  CHECK(Text(Finish(Header(25, 5).U64(kIn, 3).U64(kIn + 16, 0xabc))) ==
        "rx 12 FLUSH n5 fh3 owner 0xabc");
  Wire fallocate = Header(43, 5).Resize(72);
  fallocate.U64(kIn, 3).U64(kIn + 8, 10).U64(kIn + 16, 20).U32(kIn + 24, 3);
  CHECK(Text(Finish(fallocate)) ==
        "rx 12 FALLOCATE n5 fh3 off 10 len 20 mode 0x3 u1000 g1000 p4242");
  Wire lseek = Header(46, 5).Resize(64);
  lseek.U64(kIn, 3).U64(kIn + 8, 10).U32(kIn + 16, 3);
  CHECK(Text(Finish(lseek)) == "rx 12 LSEEK n5 fh3 off 10 whence 3");
  Wire copy = Header(47, 5).Resize(96);
  copy.U64(kIn, 3).U64(kIn + 8, 10).U64(kIn + 16, 6).U64(kIn + 24, 4);
  copy.U64(kIn + 32, 20).U64(kIn + 40, 30);
  CHECK(Text(Finish(copy)) ==
        "rx 12 COPY_FILE_RANGE n5 fh3 off 10 to n6 fh4 off 20 len 30 flags 0x0 "
        "u1000 g1000 p4242");
  CHECK(Text(Finish(copy.U32(4, 53))) ==
        "rx 12 COPY_FILE_RANGE_64 n5 fh3 off 10 to n6 fh4 off 20 len 30 flags "
        "0x0 u1000 g1000 p4242");
  Wire ioctl = Header(39, 5).Resize(72);
  ioctl.U64(kIn, 3).U32(kIn + 12, 0x80086601).U64(kIn + 16, 0x7fff);
  ioctl.U32(kIn + 24, 2).U32(kIn + 28, 8).Append("ab");
  CHECK(Text(Finish(ioctl)) ==
        "rx 12 IOCTL n5 fh3 flags 0x0 cmd 0x80086601 arg 0x7fff in 2 out 8 "
        "<2 bytes> u1000 g1000 p4242");
  Wire poll = Header(40, 5).Resize(64);
  poll.U64(kIn, 3).U64(kIn + 8, 77).U32(kIn + 16, 1).U32(kIn + 20, 5);
  CHECK(Text(Finish(poll)) == "rx 12 POLL n5 fh3 kh 77 flags 0x1 events 0x5");
  CHECK(Text(Finish(Header(37, 5).U64(kIn, 7).U64(kIn + 8, 4096))) ==
        "rx 12 BMAP n5 block 7 blocksize 4096");
}

TEST_CASE("text of requests about extended attributes", "[text]") {
  Wire setxattr = Header(21, 5).U32(kIn, 3).U32(kIn + 4, 1);
  Wire long_form = setxattr;
  long_form.U32(kIn + 8, 1).U32(kIn + 12, 0).Append("user.a\0xyz"sv);
  CHECK(Text(Finish(long_form)) ==
        R"(rx 12 SETXATTR n5 "user.a" size 3 flags 0x1 kill-sgid <3 bytes> )"
        "u1000 g1000 p4242");
  CHECK(Text(Finish(setxattr.Append("user.a\0xyz"sv)), 8) ==
        R"(rx 12 SETXATTR n5 "user.a" size 3 flags 0x1 <3 bytes> )"
        "u1000 g1000 p4242");
  CHECK(Text(Finish(Header(22, 5).U64(kIn, 100).Append("user.a\0"sv))) ==
        R"(rx 12 GETXATTR n5 "user.a" size 100)");
  CHECK(Text(Finish(Header(23, 5).U64(kIn, 0))) == "rx 12 LISTXATTR n5 size 0");
  CHECK(Text(Finish(Header(24, 5).Append("user.a\0"sv))) ==
        R"(rx 12 REMOVEXATTR n5 "user.a" u1000 g1000 p4242)");
}

TEST_CASE("text of requests about locks", "[text]") {
  Wire lock = Header(31, 5).Resize(88);
  lock.U64(kIn, 3).U64(kIn + 8, 0xabc).U64(kIn + 16, 10).U64(kIn + 24, 19);
  lock.U32(kIn + 32, 0).U32(kIn + 36, 99);
  CHECK(Text(Finish(lock)) ==
        "rx 12 GETLK n5 fh3 owner 0xabc rdlck 10..19 p99");
  CHECK(Text(Finish(lock.U32(4, 32).U32(kIn + 32, 1))) ==
        "rx 12 SETLK n5 fh3 owner 0xabc wrlck 10..19 p99");
  CHECK(Text(Finish(lock.U32(4, 33).U32(kIn + 32, 2).U32(kIn + 40, 1))) ==
        "rx 12 SETLKW n5 fh3 owner 0xabc unlck 10..19 p99 flock");
  CHECK(Text(Finish(lock.U32(kIn + 32, 9))) ==
        "rx 12 SETLKW n5 fh3 owner 0xabc type 9 10..19 p99 flock");
}

TEST_CASE("text of requests about the connection", "[text]") {
  Wire init = Header(26, 0).Resize(104);
  init.U32(kIn, 7).U32(kIn + 4, 45).U32(kIn + 8, 131072);
  CHECK(Text(Finish(init)) == "rx 12 INIT 7.45 readahead 131072 flags");
  init.U32(kIn + 12, 0x40000003).U32(kIn + 16, 0x80000022);
  CHECK(Text(Finish(init)) ==
        "rx 12 INIT 7.45 readahead 131072 flags ASYNC_READ,POSIX_LOCKS,"
        "INIT_EXT,HAS_INODE_DAX,PASSTHROUGH,unknown:0x8000000000000000");
  CHECK(Text(Finish(init.U32(kIn + 12, 1))) ==
        "rx 12 INIT 7.45 readahead 131072 flags ASYNC_READ flags2-ignored "
        "0x80000022");
  CHECK(Text(Finish(Header(26, 0).U32(kIn, 7).U32(kIn + 4, 5))) ==
        "rx 12 INIT 7.5 readahead 0 flags");
  CHECK(Text(Finish(Header(38, 0))) == "rx 12 DESTROY");
  CHECK(Text(Finish(Header(50, 1).U64(kIn, 0))) == "rx 12 SYNCFS n1");
  CHECK(Text(Finish(Header(2, 5).U64(kIn, 3))) == "rx 12 FORGET n5 nlookup 3");
  Wire batch = Header(42, 0).U32(kIn, 2).U32(kIn + 4, 0);
  batch.U64(48, 5).U64(56, 1).U64(64, 0x1100000000).U64(72, 2);
  CHECK(Text(Finish(batch)) ==
        "rx 12 BATCH_FORGET count 2 n5/1 n0x1100000000/2");
  batch.U32(kIn, 1000);
  for (uint64_t i = 2; i < 10; ++i)
    batch.U64(48 + 16 * i, i).U64(56 + 16 * i, 1);
  CHECK(Text(Finish(batch)) ==
        "rx 12 BATCH_FORGET count 1000 n5/1 n0x1100000000/2 n2/1 n3/1 n4/1 "
        "n5/1 n6/1 n7/1 <32 bytes>");
  CHECK(Text(Finish(Header(36, 0).U64(8, 13).U64(kIn, 12))) ==
        "rx 13 INTERRUPT target 12");
  CHECK(Text(Finish(Header(36, 0).U64(8, 13).U64(kIn, 1ull << 63 | 12))) ==
        "rx 13 INTERRUPT target 12!");
  Wire retrieved = Header(41, 5).Resize(80);
  retrieved.U64(kIn + 8, 4096).U32(kIn + 16, 3).Append("abc");
  CHECK(Text(Finish(retrieved)) ==
        "rx 12 NOTIFY_REPLY n5 off 4096 size 3 <3 bytes>");
  Wire mapping = Header(48, 5).Resize(80);
  mapping.U64(kIn, 3).U64(kIn + 8, 1).U64(kIn + 16, 2).U64(kIn + 24, 3);
  CHECK(Text(Finish(mapping.U64(kIn + 32, 4))) ==
        "rx 12 SETUPMAPPING n5 fh3 off 1 len 2 flags 0x3 moffset 4");
  CHECK(Text(Finish(Header(49, 5).U32(kIn, 1).Resize(60))) ==
        "rx 12 REMOVEMAPPING n5 count 1 <16 bytes>");
  CHECK(Text(Finish(Header(4096, 0)
                        .U32(kIn, 7)
                        .U32(kIn + 4, 45)
                        .U64(kIn + 8, 0x100000000))) ==
        "rx 12 CUSE_INIT 7.45 flags 0x1");
}

TEST_CASE("text of a request that was sent again", "[text]") {
  CHECK(Text(Finish(Header(1, 1).U64(8, 1ull << 63 | 12).Append("a\0"sv))) ==
        R"(rx 12! LOOKUP n1 "a")");
}

TEST_CASE("text of an id that packs a handle", "[text]") {
  CHECK(Text(Finish(Header(5, 0xffffffff))) == "rx 12 READLINK n4294967295");
  CHECK(Text(Finish(Header(5, 0x100000000))) == "rx 12 READLINK n0x100000000");
  CHECK(Text(Finish(Header(5, ~0ull))) == "rx 12 READLINK n0xffffffffffffffff");
}

TEST_CASE("text of names that are not plain", "[text]") {
  auto lookup = [](std::string_view name) {
    Wire wire = Header(1, 1).Append(name);
    return Text(Finish(wire.U8(wire.size(), 0)));
  };
  CHECK(lookup("a b") == R"(rx 12 LOOKUP n1 "a b")");
  CHECK(lookup("\"\\") == R"(rx 12 LOOKUP n1 "\"\\")");
  CHECK(lookup("\a\b\t\n\v\f\r") == R"(rx 12 LOOKUP n1 "\a\b\t\n\v\f\r")");
  CHECK(lookup("\x01\x1b[2J\x7f") == R"(rx 12 LOOKUP n1 "\001\033[2J\177")");
  CHECK(lookup("\xc3\xa4"
               "1\xff") == R"(rx 12 LOOKUP n1 "\303\2441\377")");
}

TEST_CASE("text of extensions", "[text]") {
  Wire mkdir = Header(9, 1).U32(kIn, 0755).U32(kIn + 4, 0).Append("d\0"sv);
  Wire secctx(40);
  secctx.U32(0, 40).U32(4, 1).U32(8, 3).Text(16, "security.selinux");
  secctx.Text(33, "ctx");
  Wire group(16);
  group.U32(0, 16).U32(4, 32).U32(8, 1).U32(12, 100);
  Wire all = secctx;
  all.AppendBytes(group).AppendBytes(Handle("12bytehandle"));
  CHECK(Text(Finish(mkdir, all)) ==
        R"(rx 12 MKDIR n1 "d" mode 0755 umask 00 )"
        R"(+secctx("security.selinux" <3 bytes>) +group(100) )"
        "+handle(31326279746568616e646c65) u1000 g1000 p4242");
  CHECK(Text(Finish(Header(1, 7).Append("a\0"sv), Handle(""))) ==
        R"(rx 12 LOOKUP n7 "a" +handle(0 bytes))");
  CHECK(Text(Finish(Header(1, 7).Append("a\0"sv),
                    secctx.Text(16, "security\n"))) ==
        R"(rx 12 LOOKUP n7 "a" +secctx("security\nselinux" <3 bytes>))");
}

TEST_CASE("text of what does not decode", "[text]") {
  CHECK(Text(Finish(Header(1, 1).Append("abc"))) ==
        "rx 12 LOOKUP n1 malformed (3 bytes)");
  CHECK(Text(Finish(Header(15, 1).Append("abc"))) ==
        "rx 12 READ n1 malformed (3 bytes)");
  CHECK(Text(Finish(Header(15, 1).Resize(81))) ==
        "rx 12 READ n1 malformed (41 bytes)");
  CHECK(Text(Finish(Header(1, 1).Append("a\0"sv)).U16(36, 9)) ==
        "rx 12 LOOKUP n1 malformed (2 bytes)");
  CHECK(Text(Finish(Header(77, 1).Append("abc"))) == "rx 12 op77 n1 <3 bytes>");
  CHECK(Text(Finish(Header(0, 0))) == "rx 12 op0 <0 bytes>");
  CHECK(Text(Finish(Header(~0u, 0))) == "rx 12 op4294967295 <0 bytes>");
}

TEST_CASE("names of numbers", "[text]") {
  CHECK(ErrnoName(EINVAL) == "EINVAL");
  CHECK(ErrnoName(ENOENT) == "ENOENT");
  CHECK(ErrnoName(EAGAIN) == "EAGAIN");
  CHECK(ErrnoName(EOPNOTSUPP) == "EOPNOTSUPP");
  CHECK(ErrnoName(ESTALE) == "ESTALE");
  CHECK(ErrnoName(0) == "0");
  CHECK(ErrnoName(511) == "511");
  CHECK(ErrnoName(-5) == "-5");
  CHECK(OpcodeName(1) == "LOOKUP");
  CHECK(OpcodeName(53) == "COPY_FILE_RANGE_64");
  CHECK(OpcodeName(4096) == "CUSE_INIT");
  CHECK(OpcodeName(7) == "op7");
  CHECK(OpcodeName(4097) == "op4097");
}

}  // namespace
}  // namespace handlefs::proto
