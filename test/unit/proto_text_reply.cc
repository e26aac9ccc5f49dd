// The text of every reply and notification, from bytes.
#include <catch2/catch.hpp>
#include <random>

#include "bytes.h"
#include "proto/notify.h"
#include "proto/reply.h"
#include "proto/text.h"

namespace handlefs::proto {
namespace {

using test::Wire;
using namespace std::literals;

std::string Ok(uint32_t opcode, const Wire& payload) {
  return DescribeReply(opcode, MakeOutHeader(Unique{12}, payload.size()),
                       payload.bytes());
}

// Attributes of a file of 5 bytes, at `at`.
Wire& Attr(Wire& wire, size_t at) {
  wire.U64(at, 17).U64(at + 8, 5).U32(at + 60, 0100644).U32(at + 64, 1);
  return wire.U32(at + 84, 0);
}

Wire Entry() {
  Wire wire(128);
  wire.U64(0, 42).U64(16, 1).U64(24, 2).U32(36, 250000000);
  return Attr(wire, 40);
}

TEST_CASE("text of an error", "[text]") {
  auto header = MakeErrorHeader(Unique{12}, Errno(ENOENT));
  CHECK(DescribeReply(1, header, {}) == "tx 12 LOOKUP ENOENT");
  CHECK(DescribeReply(77, MakeErrorHeader(Unique{12}, Errno(ENOSYS)), {}) ==
        "tx 12 op77 ENOSYS");
  header = MakeErrorHeader(Unique{1ull << 63 | 12}, Errno(EINTR));
  CHECK(DescribeReply(33, header, {}) == "tx 12! SETLKW EINTR");
}

TEST_CASE("text of a bare answer", "[text]") {
  for (uint32_t opcode : {10, 11, 12, 18, 20, 21, 24, 25, 29, 30, 32, 33, 34,
                          38, 43, 45, 48, 49, 50}) {
    CHECK(Ok(opcode, {}) == "tx 12 " + OpcodeName(opcode) + " OK");
    CHECK(Ok(opcode, Wire(8)) ==
          "tx 12 " + OpcodeName(opcode) + " OK malformed (8 bytes)");
  }
}

TEST_CASE("text of entries", "[text]") {
  for (uint32_t opcode : {1, 6, 8, 9, 13}) {
    CHECK(Ok(opcode, Entry()) ==
          "tx 12 " + OpcodeName(opcode) +
              " OK n42 gen 0 ino 17 mode 0100644 size 5 nlink 1 "
              "ttl 1.000/2.250");
  }
  Wire negative(128);
  CHECK(Ok(1, negative.U64(16, 1).U32(32, 5000000)) ==
        "tx 12 LOOKUP OK negative ttl 1.005");
  Wire create = Entry();
  create.U64(128, 3).U32(136, 0x2).U32(140, 0);
  for (uint32_t opcode : {35, 51}) {
    CHECK(Ok(opcode, create) ==
          "tx 12 " + OpcodeName(opcode) +
              " OK n42 gen 0 ino 17 mode 0100644 size 5 nlink 1 "
              "ttl 1.000/2.250 fh3 open_flags 0x2");
  }
}

TEST_CASE("text of attributes", "[text]") {
  Wire attr(104);
  attr.U64(0, 1).U32(8, 50000000);
  Attr(attr, 16);
  CHECK(Ok(3, attr) ==
        "tx 12 GETATTR OK ino 17 mode 0100644 size 5 nlink 1 ttl 1.050");
  CHECK(Ok(4, attr) ==
        "tx 12 SETATTR OK ino 17 mode 0100644 size 5 nlink 1 ttl 1.050");
  Wire statx(288);
  statx.U64(0, 1).U32(32, 0xfff).U32(48, 1).U16(60, 0100644);
  statx.U64(64, 17).U64(72, 5);
  CHECK(Ok(52, statx) ==
        "tx 12 STATX OK ino 17 mode 0100644 size 5 nlink 1 mask 0xfff "
        "ttl 1.000");
  Wire statfs(80);
  statfs.U64(0, 100).U64(8, 50).U64(16, 40).U64(24, 30).U64(32, 20);
  statfs.U32(40, 4096).U32(44, 255).U32(48, 1024);
  CHECK(Ok(17, statfs) ==
        "tx 12 STATFS OK blocks 100 free 50 avail 40 files 30 ffree 20 "
        "bsize 4096 frsize 1024 namelen 255");
}

TEST_CASE("text of open files and counts", "[text]") {
  Wire open(16);
  open.U64(0, 3).U32(8, 0x8);
  CHECK(Ok(14, open) == "tx 12 OPEN OK fh3 open_flags 0x8");
  CHECK(Ok(27, open) == "tx 12 OPENDIR OK fh3 open_flags 0x8");
  CHECK(Ok(14, open.U64(0, 0x500000001).U32(8, 0x80).U32(12, 9)) ==
        "tx 12 OPEN OK fh0x500000001 open_flags 0x80 backing 9");
  Wire eight(8);
  eight.U32(0, 4096);
  CHECK(Ok(16, eight) == "tx 12 WRITE OK size 4096");
  CHECK(Ok(47, eight) == "tx 12 COPY_FILE_RANGE OK size 4096");
  CHECK(Ok(53, eight) == "tx 12 COPY_FILE_RANGE_64 OK size 4096");
  CHECK(Ok(46, eight) == "tx 12 LSEEK OK off 4096");
  CHECK(Ok(37, eight) == "tx 12 BMAP OK block 4096");
  CHECK(Ok(40, eight) == "tx 12 POLL OK revents 0x1000");
  Wire ioctl(16);
  ioctl.U32(0, 0xffffffff);
  CHECK(Ok(39, ioctl) == "tx 12 IOCTL OK result -1 <0 bytes>");
  CHECK(Ok(39, ioctl.U32(4, 1).Append("abcd")) ==
        "tx 12 IOCTL OK result -1 flags 0x1 <4 bytes>");
  Wire lock(24);
  lock.U64(0, 10).U64(8, 19).U32(16, 1).U32(20, 99);
  CHECK(Ok(31, lock) == "tx 12 GETLK OK wrlck 10..19 p99");
}

TEST_CASE("text of data", "[text]") {
  CHECK(Ok(15, Wire(4096)) == "tx 12 READ OK <4096 bytes>");
  CHECK(Ok(15, {}) == "tx 12 READ OK <0 bytes>");
  CHECK(Ok(22, Wire(8)) == "tx 12 GETXATTR OK <8 bytes>");
  CHECK(Ok(23, Wire(20)) == "tx 12 LISTXATTR OK <20 bytes>");
  CHECK(Ok(5, Wire().Append("../t\n")) == R"(tx 12 READLINK OK "../t\n")");
  CHECK(Ok(77, Wire(20)) == "tx 12 op77 OK <20 bytes>");
}

TEST_CASE("text of directories counts the entries", "[text]") {
  std::vector<std::byte> buffer(4096);
  ReplyBuffer out(buffer);
  auto text = [&](uint32_t opcode, size_t size) {
    return DescribeReply(opcode, MakeOutHeader(Unique{12}, size),
                         Bytes(buffer).first(size));
  };
  CHECK(text(28, 0) == "tx 12 READDIR OK 0 entries");
  AddDirent(out, 4096, {.ino = 1, .off = 1, .type = 4, .name = "."});
  CHECK(text(28, out.size()) == "tx 12 READDIR OK 1 entry");
  AddDirent(out, 4096, {.ino = 2, .off = 2, .type = 8, .name = "123456789"});
  CHECK(text(28, out.size()) == "tx 12 READDIR OK 2 entries");
  CHECK(text(28, out.size() - 1) == "tx 12 READDIR OK malformed (71 bytes)");
  CHECK(text(44, out.size()) == "tx 12 READDIRPLUS OK malformed (72 bytes)");
  out.Clear();
  AddDirentplus(out, 4096, {.ino = 1, .off = 1, .type = 4, .name = "a"}, {});
  AddDirentplus(out, 4096, {.ino = 1, .off = 1, .type = 4, .name = "b"}, {});
  CHECK(text(44, out.size()) == "tx 12 READDIRPLUS OK 2 entries");
  CHECK(text(44, 159) == "tx 12 READDIRPLUS OK malformed (159 bytes)");
  Wire lying(32);
  CHECK(Ok(28, lying.U32(16, 0xffffffff)) ==
        "tx 12 READDIR OK malformed (32 bytes)");
}

TEST_CASE("text of INIT's answer", "[text]") {
  Wire init(64);
  init.U32(0, 7).U32(4, 45).U32(8, 131072).U32(12, 0x40000001);
  init.U16(16, 64).U16(18, 48).U32(20, 1048576).U32(24, 1).U16(28, 256);
  CHECK(Ok(26, init) ==
        "tx 12 INIT OK 7.45 readahead 131072 background 64/48 write 1048576 "
        "gran 1 pages 256 flags ASYNC_READ,INIT_EXT");
  init.U16(30, 12).U32(32, 0x820).U32(36, 1).U16(40, 60);
  CHECK(Ok(26, init) ==
        "tx 12 INIT OK 7.45 readahead 131072 background 64/48 write 1048576 "
        "gran 1 pages 256 align 12 depth 1 timeout 60 flags "
        "ASYNC_READ,INIT_EXT,PASSTHROUGH,BIT43");
  CHECK(Ok(26, Wire(8).U32(0, 7).U32(4, 46)) ==
        "tx 12 INIT OK 7.46 readahead 0 background 0/0 write 0 gran 0 pages 0 "
        "flags");
  CHECK(Ok(26, Wire(7)) == "tx 12 INIT OK malformed (7 bytes)");
  CHECK(Ok(26, Wire(65)) == "tx 12 INIT OK malformed (65 bytes)");
  Wire cuse(72);
  CHECK(Ok(4096, cuse.U32(0, 7).U32(24, 10).U32(28, 3).Append("DEVNAME=x")) ==
        "tx 12 CUSE_INIT OK 7.0 flags 0x0 dev 10:3 <9 bytes>");
}

TEST_CASE("text of answers that the kernel would not take", "[text]") {
  CHECK(Ok(1, Wire(127)) == "tx 12 LOOKUP OK malformed (127 bytes)");
  CHECK(Ok(1, Wire(129)) == "tx 12 LOOKUP OK malformed (129 bytes)");
  CHECK(Ok(1, {}) == "tx 12 LOOKUP OK malformed (0 bytes)");
  CHECK(Ok(39, Wire(15)) == "tx 12 IOCTL OK malformed (15 bytes)");
  CHECK(Ok(2, Wire(8)) == "tx 12 FORGET OK malformed (8 bytes)");
  abi::OutHeader header{.len = 16, .error = 5, .unique = 12};
  CHECK(DescribeReply(1, header, {}) ==
        "tx 12 LOOKUP error 5 malformed (0 bytes)");
  header.error = -512;
  CHECK(DescribeReply(1, header, {}) ==
        "tx 12 LOOKUP error -512 malformed (0 bytes)");
  header.error = std::numeric_limits<int32_t>::min();
  CHECK(DescribeReply(1, header, {}) ==
        "tx 12 LOOKUP error -2147483648 malformed (0 bytes)");
  header = {.len = 17, .error = -2, .unique = 12};
  CHECK(DescribeReply(1, header, Wire(1).bytes()) ==
        "tx 12 LOOKUP ENOENT malformed (1 bytes)");
  header = {.len = 99, .error = 0, .unique = 12};
  CHECK(DescribeReply(1, header, Entry().bytes()) ==
        "tx 12 LOOKUP OK malformed (128 bytes)");
}

std::string Text(const Notification& notification) {
  return DescribeNotification(notification.bytes());
}

TEST_CASE("text of notifications", "[text]") {
  CHECK(Text(InvalAttributes(NodeId{5})) == "nx INVAL_INODE n5 off -1 len 0");
  CHECK(Text(InvalData(NodeId{5}, 4096, 10)) ==
        "nx INVAL_INODE n5 off 4096 len 10");
  CHECK(Text(InvalEntry(NodeId{1}, "a", EntryFate::kDrop)) ==
        R"(nx INVAL_ENTRY n1 "a")");
  CHECK(Text(InvalEntry(NodeId{1}, "a\n", EntryFate::kExpire)) ==
        R"(nx INVAL_ENTRY n1 "a\n" expire)");
  CHECK(Text(Delete(NodeId{1}, NodeId{9}, "a")) == R"(nx DELETE n1 n9 "a")");
  CHECK(Text(PollWakeup(77)) == "nx POLL kh 77");
  CHECK(Text(Resend()) == "nx RESEND");
  CHECK(Text(IncEpoch()) == "nx INC_EPOCH");
  CHECK(Text(Store(NodeId{5}, 4096, 100)) ==
        "nx STORE n5 off 4096 <100 bytes>");
  CHECK(Text(Retrieve(Unique{44}, NodeId{5}, 4096, 100)) ==
        "nx RETRIEVE n5 off 4096 size 100 answer 44");
  CHECK(Text(Prune(3)) == "nx PRUNE count 3");
}

TEST_CASE("text of notifications that are none", "[text]") {
  CHECK(DescribeNotification({}) == "nx malformed (0 bytes)");
  CHECK(DescribeNotification(Wire(15).bytes()) == "nx malformed (15 bytes)");
  Wire unknown(20);
  CHECK(DescribeNotification(unknown.U32(0, 20).U32(4, 99).bytes()) ==
        "nx code 99 <4 bytes>");
  auto good = InvalEntry(NodeId{1}, "abc", EntryFate::kDrop);
  for (size_t size = 16; size < good.bytes().size(); ++size) {
    CHECK(DescribeNotification(good.bytes().first(size)) ==
          "nx INVAL_ENTRY malformed (" + std::to_string(size) + " bytes)");
  }
  // One with a unique is a reply.
  Wire reply(40);
  CHECK(DescribeNotification(reply.U32(0, 40).U32(4, 2).U64(8, 2).bytes()) ==
        "nx INVAL_INODE malformed (40 bytes)");
}

TEST_CASE("text never fails on any bytes", "[text]") {
  std::mt19937_64 random(20250101);
  for (int i = 0; i < 20000; ++i) {
    Wire wire(random() % 200);
    for (size_t at = 0; at < wire.size(); ++at) {
      // Mostly small numbers, so that counts and sizes are plausible.
      wire.U8(at, random() % 3 == 0 ? random() : random() % 2);
    }
    auto opcode = static_cast<uint32_t>(random() % 56);
    CHECK_FALSE(DescribeNotification(wire.bytes()).empty());
    CHECK_FALSE(Ok(opcode, wire).empty());
    Wire request = wire;
    if (request.size() < 40) request.Resize(40);
    request.U32(0, request.size()).U32(4, opcode);
    auto raw = Split(request.bytes(), random() % 2 == 0 ? 16 : 8);
    REQUIRE(raw.ok());
    CHECK_FALSE(DescribeRequest(*raw).empty());
  }
}

}  // namespace
}  // namespace handlefs::proto
