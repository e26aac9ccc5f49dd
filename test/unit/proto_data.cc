// Messages of test/data: `.bin` were built by hand, `.hex` were recorded from a
// real kernel (lines with # say what they hold). The parts with mainline
// layouts are cut out of the compounds they came in, at unaligned addresses.
#include <catch2/catch.hpp>
#include <sstream>

#include "data.h"
#include "proto/flags.h"
#include "proto/text.h"

namespace handlefs::proto {
namespace {

using test::Load;
using test::Wire;

// A whole request inside `name`, whose header begins at `at`.
std::string Request(const std::string& name, size_t at) {
  Wire wire = Load(name);
  REQUIRE(wire.size() >= at + 40);
  auto size = static_cast<size_t>(wire.raw()[at] | wire.raw()[at + 1] << 8);
  REQUIRE(wire.size() >= at + size);
  auto raw = Split(wire.bytes().subspan(at, size), 16);
  REQUIRE(raw.ok());
  return DescribeRequest(*raw);
}

// The sub reply to `opcode` inside `name`, whose header begins at `at`.
std::string Reply(const std::string& name, size_t at, uint32_t opcode) {
  Wire wire = Load(name);
  REQUIRE(wire.size() >= at + 16);
  Cursor cursor(wire.bytes().subspan(at));
  auto header = cursor.Take<abi::OutHeader>();
  REQUIRE(wire.size() >= at + header->len);
  return DescribeReply(opcode, *header, cursor.rest().first(header->len - 16));
}

TEST_CASE("recorded INIT requests", "[data]") {
  CHECK(Request("01-init-bit43-offered.req.hex", 0) ==
        "rx 2 INIT 7.46 readahead 131072 flags ASYNC_READ,POSIX_LOCKS,"
        "ATOMIC_O_TRUNC,EXPORT_SUPPORT,BIG_WRITES,DONT_MASK,SPLICE_WRITE,"
        "SPLICE_MOVE,SPLICE_READ,FLOCK_LOCKS,HAS_IOCTL_DIR,AUTO_INVAL_DATA,"
        "DO_READDIRPLUS,READDIRPLUS_AUTO,ASYNC_DIO,WRITEBACK_CACHE,"
        "NO_OPEN_SUPPORT,PARALLEL_DIROPS,HANDLE_KILLPRIV,POSIX_ACL,"
        "ABORT_ERROR,MAX_PAGES,CACHE_SYMLINKS,NO_OPENDIR_SUPPORT,"
        "EXPLICIT_INVAL_DATA,HANDLE_KILLPRIV_V2,SETXATTR_EXT,INIT_EXT,"
        "SECURITY_CTX,CREATE_SUPP_GROUP,HAS_EXPIRE_ONLY,DIRECT_IO_ALLOW_MMAP,"
        "PASSTHROUGH,NO_EXPORT_SUPPORT,HAS_RESEND,ALLOW_IDMAP,REQUEST_TIMEOUT,"
        "BIT43");
  // The kernel of the patches as posted shows by bit 2 and not by bit 43.
  Wire posted = Load("02-init-as-posted-rfc.req.hex");
  auto raw = Split(posted.bytes(), 16);
  auto init = Decode<Opcode::kInit>(*raw);
  REQUIRE(init.ok());
  auto flags = InitFlags::FromWire(init->in.flags, init->in.flags2);
  CHECK(flags.Has(init::kFileOps));
  CHECK_FALSE(flags.Has(init::kBit43));
  CHECK(flags.Has(init::kPassthrough));
  CHECK_FALSE(flags.Has(init::kOverIoUring));
}

TEST_CASE("a recorded INIT reply", "[data]") {
  CHECK(Reply("01-init-bit43-offered.rep.hex", 0, 26) ==
        "tx 2 INIT OK 7.46 readahead 131072 background 12/9 write 65536 gran 1 "
        "pages 16 flags ATOMIC_O_TRUNC,EXPORT_SUPPORT,BIG_WRITES,DONT_MASK,"
        "MAX_PAGES,INIT_EXT,CREATE_SUPP_GROUP,BIT43");
}

TEST_CASE("a recorded STATX", "[data]") {
  CHECK(Request("23-statx-plain.req.hex", 0) ==
        "rx 52 STATX n4100 flags 0x0 mask 0xfff");
}

TEST_CASE("STATX, OPEN and GETATTR cut out of compounds", "[data]") {
  const std::string statx = "rx 0 STATX n1 flags 0x0 mask 0xfff";
  CHECK(Request("v5_lookup_root_foo_req.bin", 108) == statx);
  CHECK(Request("v5_lookup_dir7_foo_ext12_req.bin", 132) == statx);
  CHECK(Request("v5_lookup_root_emptyhandle_dotdot_req.bin", 123) == statx);
  CHECK(Request("v5_mkobj_new_req.bin", 148) == statx);
  CHECK(Request("v5_mkobj_new_req.bin", 212) == "rx 0 OPEN n1 flags 0x2");
  CHECK(Request("v5_open_getattr_req.bin", 64) == "rx 0 OPEN n42 flags 0x8000");
  CHECK(Request("v5_open_getattr_req.bin", 112) == "rx 0 GETATTR n42");
  CHECK(Request("v6_open_getattr_req.bin", 56) == "rx 0 OPEN n42 flags 0x8000");
  CHECK(Request("v6_open_getattr_req.bin", 104) == "rx 1 GETATTR n42");
  CHECK(Request("dev8_lookup_getattr_req.bin", 64) ==
        R"(rx 0 LOOKUP n1 "foo")");
  CHECK(Request("dev8_lookup_getattr_req.bin", 116) == "rx 1 GETATTR");
  CHECK(Request("v7_lookup_getattr_req.bin", 60) == R"(rx 0 LOOKUP n1 "foo")");
  CHECK(Request("v7_lookup_getattr_req.bin", 108) == "rx 1 GETATTR");

  CHECK(Request("03-lookup-in-root.req.hex", 107) == statx);
  CHECK(Request("04-lookup-second-level-ext8.req.hex", 131) == statx);
  CHECK(Request("06-lookup-revalidate-no-ext.req.hex", 107) == statx);
  CHECK(Request("07-lookup-enoent.req.hex", 133) == statx);
  CHECK(Request("12-lookup-dot-no-ext.req.hex", 106) == statx);
  CHECK(Request("14-lookup-dotdot-to-root.req.hex", 131) == statx);
  CHECK(Request("16-open-getattr.req.hex", 64) ==
        "rx 0 OPEN n4100 flags 0x8000");
  CHECK(Request("16-open-getattr.req.hex", 112) == "rx 0 GETATTR n4100");
  CHECK(Request("18-mkobj-second-level-ext.req.hex", 148) == statx);
  CHECK(Request("18-mkobj-second-level-ext.req.hex", 212) ==
        "rx 0 OPEN n1 flags 0x2");
}

TEST_CASE("replies cut out of compounds", "[data]") {
  CHECK(Reply("v5_lookup_reply_ok.bin", 218, 52) ==
        "tx 0 STATX OK ino 9001 mode 0100644 size 5 nlink 1 mask 0xfff "
        "ttl 1.000");
  CHECK(Reply("v5_lookup_reply_enoent.bin", 48, 52) == "tx 0 STATX ENOENT");
  CHECK(Reply("v5_mkobj_reply_ok.bin", 522, 14) ==
        "tx 0 OPEN OK fh85 open_flags 0x0");
  CHECK(Reply("12-lookup-dot-no-ext.rep.hex", 122, 52) ==
        "tx 0 STATX OK ino 4100 mode 0100644 size 13 nlink 1 mask 0xfff "
        "ttl 1.000");
  CHECK(Reply("16-open-getattr.rep.hex", 32, 14) ==
        "tx 0 OPEN OK fh61453 open_flags 0x0");
  CHECK(Reply("16-open-getattr.rep.hex", 64, 3) ==
        "tx 0 GETATTR OK ino 4100 mode 0100644 size 13 nlink 1 ttl 1.000");
  CHECK(Reply("08-lookup-enoent-both.rep.hex", 48, 52) ==
        "tx 0 STATX ECANCELED");
  CHECK(Reply("09-lookup-enoent-whole.rep.hex", 0, 54) ==
        "tx 18 COMPOUND ENOENT");
}

// The handle in the extension area of [begin, end); "none" without one.
std::string Handle(const std::string& name, size_t begin, size_t end) {
  Wire wire = Load(name);
  auto ext = ParseExtensions(wire.bytes().subspan(begin, end - begin));
  REQUIRE(ext.ok());
  CHECK_FALSE(ext->secctx);
  CHECK_FALSE(ext->group);
  if (!ext->handle) return "none";
  std::ostringstream hex;
  for (std::byte byte : *ext->handle) {
    hex << "0123456789abcdef"[static_cast<int>(byte) >> 4]
        << "0123456789abcdef"[static_cast<int>(byte) & 15];
  }
  return hex.str();
}

TEST_CASE("handles in recorded extension areas", "[data]") {
  CHECK(Handle("v5_lookup_root_foo_req.bin", 108, 108) == "none");
  CHECK(Handle("v5_lookup_dir7_foo_ext12_req.bin", 108, 132) ==
        "000102030405060708090a0b");
  CHECK(Handle("v5_lookup_root_emptyhandle_dotdot_req.bin", 107, 123).empty());
  CHECK(Handle("v5_mkobj_new_req.bin", 124, 148) == "000102030405060708090a0b");
  CHECK(Handle("toplevel_lookup_handle_dir7_foo_ext12_req.bin", 44, 68) ==
        "000102030405060708090a0b");
  CHECK(Handle("04-lookup-second-level-ext8.req.hex", 107, 131) ==
        "2021222324252627");
  CHECK(Handle("07-lookup-enoent.req.hex", 109, 133) == "2021222324252627");
  CHECK(Handle("14-lookup-dotdot-to-root.req.hex", 107, 131) ==
        "2021222324252627");
  CHECK(Handle("18-mkobj-second-level-ext.req.hex", 124, 148) ==
        "303132333435363738393a3b3c");
}

TEST_CASE("requests of the LOOKUP_HANDLE RFC, described", "[data]") {
  CHECK(Request("toplevel_lookup_handle_dir7_foo_ext12_req.bin", 0) ==
        "rx 18 LOOKUP_HANDLE n7 \"foo\" "
        "+handle(000102030405060708090a0b)");
  CHECK(Request("v5_lookup_root_foo_req.bin", 0) ==
        "rx 6 COMPOUND <132 bytes>");
}

}  // namespace
}  // namespace handlefs::proto
