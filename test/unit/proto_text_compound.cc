// The text of compounds, and what is flagged in them: the list of what the
// posted kernel code does with answers that are a little wrong.
#include <catch2/catch.hpp>

#include "compounds.h"
#include "data.h"
#include "proto/explain.h"

namespace handlefs::proto {
namespace {

using namespace std::literals;
using test::Compound;
using test::GetattrSub;
using test::HandleRecord;
using test::Load;
using test::LookupSub;
using test::Name;
using test::OpenSub;
using test::PrefixV7;
using test::StatxSub;
using test::Sub;
using test::V5;
using test::V6;
using test::V7;
using test::Wire;

RawRequest Raw(const Wire& message) {
  auto raw = Split(message.bytes(), 16);
  REQUIRE(raw.ok());
  return *raw;
}

std::string Request(const Wire& message, int problems = 0,
                    std::string_view dialect = {}) {
  Explanation out = ExplainRequest(
      Raw(message), dialect.empty() ? nullptr : FindDialect(dialect));
  CHECK(out.problems == problems);
  return out.text;
}
std::string Request(const std::string& file) { return Request(Load(file)); }

TEST_CASE("text of the compounds of test/data", "[explain]") {
  CHECK(Request("v5_lookup_dir7_foo_ext12_req.bin") ==
        R"(rx 8 COMPOUND lookup-handle-v3 stop 2 subs
  .0 LOOKUP_HANDLE n7 "foo" +handle(000102030405060708090a0b)
  .1 STATX n.0 flags 0x0 mask 0xfff)");
  CHECK(Request("v5_lookup_root_emptyhandle_dotdot_req.bin") ==
        R"(rx 10 COMPOUND lookup-handle-v3 stop 2 subs
  .0 LOOKUP_HANDLE n1 ".." +handle(0 bytes)
  .1 STATX n.0 flags 0x0 mask 0xfff)");
  CHECK(Request("v5_mkobj_new_req.bin") ==
        R"(rx 12 COMPOUND lookup-handle-v3 undo 3 subs u1000 g1000 p4242
  .0 MKOBJ_HANDLE n7 "new" flags 0x8042 mode 0100644 umask 022 )"
        R"(+handle(000102030405060708090a0b)
  .1 STATX n.0 flags 0x0 mask 0xfff
  .2 OPEN n.0 flags 0x2)");
  CHECK(Request("v6_open_getattr_req.bin") ==
        R"(rx 14 COMPOUND compound-v6 go-on 2 subs
  .0 OPEN n42 flags 0x8000
  .1 GETATTR n42)");
  CHECK(Request("dev8_lookup_getattr_req.bin") ==
        R"(rx 16 COMPOUND compound-dev go-on 2 subs
  .0 LOOKUP n1 "foo"
  .1 GETATTR n.0)");
  CHECK(Request("v7_lookup_getattr_req.bin") ==
        R"(rx 16 COMPOUND compound-v7 go-on 2 subs
  .0 LOOKUP n1 "foo"
  .1 GETATTR n.0)");
  CHECK(Request("23-statx-plain.req.hex") ==
        "rx 52 STATX n4100 flags 0x0 mask 0xfff");
}

TEST_CASE("text of long handles", "[explain]") {
  CHECK(
      Request(Compound(V5(
          1, 0, 170, {LookupSub(7, "a", HandleRecord("0123456789abcdef"))}))) ==
      R"(rx 6 COMPOUND lookup-handle-v3 stop 1 sub
  .0 LOOKUP_HANDLE n7 "a" +handle(30313233343536373839616263646566))");
  CHECK(Request(Compound(
            V5(1, 0, 170,
               {LookupSub(7, "a", HandleRecord("0123456789abcdefg"))}))) ==
        R"(rx 6 COMPOUND lookup-handle-v3 stop 1 sub
  .0 LOOKUP_HANDLE n7 "a" +handle(17 bytes))");
}

TEST_CASE("what is wrong with a compound is said", "[explain]") {
  Wire lookup = LookupSub(7, "a");
  CHECK(Request(Compound(V5(3, 0, 458, {lookup, StatxSub(1)})), 1) ==
        R"(rx 6 COMPOUND lookup-handle-v3? stop 2 subs )"
        R"(! count is not the number of subs
  .0 LOOKUP_HANDLE n7 "a"
  .1 STATX n.0 flags 0x0 mask 0xfff)");
  CHECK(Request(Compound(V5(2, 0, 458, {lookup, StatxSub(1).U32(0, 65)})), 1,
                "lookup-handle-v3") ==
        R"(rx 6 COMPOUND lookup-handle-v3 stop 1 sub
  .0 LOOKUP_HANDLE n7 "a"
  .1 ! len reaches past the end)");
  CHECK(Request(Compound(V5(2, 0, 458, {lookup, Sub(77, 1)})), 1) ==
        R"(rx 6 COMPOUND lookup-handle-v3? stop 1 sub
  .0 LOOKUP_HANDLE n7 "a"
  .1 ! unknown opcode)");
  CHECK(Request(
            Compound(V7({PrefixV7(0xff), lookup, PrefixV7(1), GetattrSub(0)})),
            1) == R"(rx 6 COMPOUND compound-v7? go-on 1 sub
  .0 LOOKUP_HANDLE n7 "a"
  .1 ! it depends on no earlier sub)");
  CHECK(Request(Compound(V6(0, 458, {lookup, StatxSub(1)}).Append("x")), 1) ==
        R"(rx 6 COMPOUND compound-v6? stop 2 subs
  .0 LOOKUP_HANDLE n7 "a"
  .1 STATX n.0 flags 0x0 mask 0xfff
  .2 ! the header is cut off)");
  CHECK(Request(Compound(Wire(3)), 1) ==
        "rx 6 COMPOUND lookup-handle-v3? stop 0 subs "
        "! too short for a compound");
  CHECK(Request(Compound(V5(2, 0, 457, {lookup, StatxSub(1)})), 1) ==
        R"(rx 6 COMPOUND lookup-handle-v3 stop 2 subs )"
        R"(! result_size 457 is less than the 458 of the replies
  .0 LOOKUP_HANDLE n7 "a"
  .1 STATX n.0 flags 0x0 mask 0xfff)");
  CHECK(Request(Compound(V5(2, 0, 458, {lookup, StatxSub(7)})), 1) ==
        R"(rx 6 COMPOUND lookup-handle-v3 stop 2 subs
  .0 LOOKUP_HANDLE n7 "a"
  .1 STATX n7 flags 0x0 mask 0xfff ! placeholder missing)");
  CHECK(Request(Compound(V7(
                    {PrefixV7(0xff), lookup, PrefixV7(0xff), GetattrSub(0)})),
                1) == R"(rx 6 COMPOUND compound-v7 go-on 2 subs
  .0 LOOKUP_HANDLE n7 "a"
  .1 GETATTR n0 ! no node)");
  CHECK(Request(Compound(V5(1, 0, 170, {Sub(38, 7)})), 1) ==
        R"(rx 6 COMPOUND lookup-handle-v3 stop 1 sub
  .0 DESTROY n7 ! never part of a compound)");
  Wire counted = Compound(V5(1, 0, 170, {lookup})).U16(36, 2);
  CHECK(Request(counted, 1) ==
        R"(rx 6 COMPOUND lookup-handle-v3 stop 1 sub ! total_extlen is not 0
  .0 LOOKUP_HANDLE n7 "a")");
}

// The reason that one sub is flagged for.
std::string Why(const Wire& sub) {
  Explanation out =
      ExplainRequest(Raw(Compound(V5(1, 0, 9999, {sub}))), nullptr);
  size_t at = out.text.find(" ! ");
  return at == out.text.npos ? "nothing" : out.text.substr(at + 3);
}

TEST_CASE("what is wrong with a sub is said", "[explain]") {
  Wire record = HandleRecord("12bytehandle");
  CHECK(Why(LookupSub(7, "a")) == "nothing");
  CHECK(Why(LookupSub(7, "a", record, 2)) ==
        "total_extlen is not the size of the extensions");
  CHECK(Why(LookupSub(7, "a", record, 999)) ==
        "total_extlen is more than there is");
  CHECK(Why(LookupSub(7, "a", HandleRecord(std::string(129, 'h')))) ==
        "a handle of more than 128 bytes");
  CHECK(Why(LookupSub(7, "a", HandleRecord("x").U16(8, 7))) ==
        "a handle longer than its record");
  CHECK(Why(LookupSub(7, "a", Wire(8).U32(0, 8).U32(4, 33))) ==
        "a handle record without size");
  CHECK(Why(LookupSub(7, "a", HandleRecord("x").U32(0, 24))) ==
        "an extension that reaches past the end");
  CHECK(Why(LookupSub(7, "a", HandleRecord("x").U32(0, 12))) ==
        "an extension whose size is no multiple of 8");
  CHECK(Why(LookupSub(7, "a", HandleRecord("x").U32(0, 0))) ==
        "an extension whose size is no multiple of 8");
  CHECK(Why(LookupSub(7, "a", Wire(7))) ==
        "bytes behind the arguments that are no extension");
  CHECK(Why(LookupSub(7, "a", Wire(16).U32(0, 16).U32(4, 32).U32(8, 2))) ==
        "bad groups");
  CHECK(Why(LookupSub(7, "a", Wire(16).U32(0, 16).U32(4, 1))) ==
        "a bad security context");
  Wire three = record;
  three.AppendBytes(record).AppendBytes(record);
  CHECK(Why(LookupSub(7, "a", three)) == "more than two handles");
  CHECK(Why(Sub(55, 7, Wire().Append("abc"))) == "a string without NUL");
  CHECK(Why(Sub(55, 7)) == "a string without NUL");
  CHECK(Why(LookupSub(7, "")) == "an empty name");
  CHECK(Why(LookupSub(7, "a/b")) == "a name with a slash");
  CHECK(Why(LookupSub(7, std::string(256, 'n'))) ==
        "a name of more than 255 bytes");
  CHECK(Why(Sub(9, 7, Wire(8).AppendBytes(Name("..")))) ==
        "a name that is a dot or two");
  CHECK(Why(Sub(52, 7, Wire(23))) == "shorter than its struct");
  CHECK(Why(Sub(16, 7, Wire(40), 9)) == "total_extlen is more than there is");
  CHECK(Why(Sub(16, 7, Wire(56), 2)) ==
        "an extension whose size is no multiple of 8");
  CHECK(Why(Sub(21, 7, Wire(16).AppendBytes(Name("user.x")).Append("v"), 1)) ==
        "total_extlen reaches into a name");
  // At the top level bytes that nobody counted are no extensions.
  Wire top = LookupSub(7, "a", record);
  CHECK(Request(top, 2) ==
        "rx 0 LOOKUP_HANDLE n7 malformed (26 bytes) "
        "! bytes behind the arguments");
  CHECK(Request(Sub(77, 7), 1) == "rx 0 op77 n7 <0 bytes> ! unknown opcode");
}

// Replies.

Wire Out(const Wire& payload, int32_t error = 0) {
  Wire wire(16);
  wire.U32(0, 16 + payload.size()).U32(4, static_cast<uint32_t>(error));
  return wire.AppendBytes(payload);
}
Wire EntryOut(uint64_t node, std::string_view handle, size_t size = 170) {
  Wire wire(size);
  wire.U64(0, node).U64(8, 1).U64(16, 1).U16(40, handle.size());
  return wire.Text(42, handle);
}
Wire StatxOut(uint32_t mode = 0100644) {
  Wire wire(288);
  wire.U64(0, 1).U32(32, 0xfff).U32(48, 1).U16(60, mode).U64(64, 9);
  return wire;
}
Wire AttrOut(uint32_t mode = 0100644) {
  return Wire(104).U64(0, 1).U32(16 + 60, mode);
}
Wire OpenOut() { return Wire(16).U64(0, 5); }

Wire V5Reply(uint32_t count, std::initializer_list<Wire> subs) {
  Wire wire(16);
  wire.U32(0, count);
  for (const Wire& sub : subs) wire.AppendBytes(sub);
  return wire;
}

std::string Reply(const Wire& request, const Wire& payload, int problems,
                  int32_t error = 0) {
  Asked asked = AskedBy(Raw(request), nullptr);
  abi::OutHeader header{.len = static_cast<uint32_t>(16 + payload.size()),
                        .error = error,
                        .unique = 6};
  Explanation out = ExplainReply(asked, header, payload.bytes());
  CHECK(out.problems == problems);
  return out.text;
}

const Wire& LookupRequest() {
  static const Wire request =
      Compound(V5(2, 0, 458, {LookupSub(7, "foo"), StatxSub(1)}));
  return request;
}
constexpr std::string_view kStatxLine =
    "  .1 STATX OK ino 9 mode 0100644 size 0 nlink 1 mask 0xfff ttl 1.000";

std::string LookupReply(const Wire& entry, const Wire& statx, int problems) {
  return Reply(LookupRequest(), V5Reply(2, {Out(entry), Out(statx)}), problems);
}

TEST_CASE("text of recorded replies", "[explain]") {
  auto pair = [](const std::string& name) {
    Wire request = Load(name + ".req.hex");
    Wire reply = Load(name + ".rep.hex");
    Cursor cursor(reply.bytes());
    auto header = cursor.Take<abi::OutHeader>();
    Explanation out =
        ExplainReply(AskedBy(Raw(request), nullptr), *header, cursor.rest());
    CHECK(out.problems == 0);
    return out.text;
  };
  CHECK(pair("04-lookup-second-level-ext8") ==
        R"(tx 12 COMPOUND OK 2 subs
  .0 LOOKUP_HANDLE OK n4099 gen 7 ttl 1.000 )"
        R"(handle(303132333435363738393a3b3c)
  .1 STATX OK ino 4099 mode 040755 size 4096 nlink 2 mask 0xfff ttl 1.000)");
  CHECK(pair("07-lookup-enoent") == R"(tx 88 COMPOUND OK 1 sub
  .0 LOOKUP_HANDLE ENOENT)");
  CHECK(pair("16-open-getattr") == R"(tx 44 COMPOUND OK 2 subs
  .0 OPEN OK fh61453 open_flags 0x0
  .1 GETATTR OK ino 4100 mode 0100644 size 13 nlink 1 ttl 1.000)");
  CHECK(pair("18-mkobj-second-level-ext") == R"(tx 94 COMPOUND OK 3 subs
  .0 MKOBJ_HANDLE OK n4103 gen 7 ttl 1.000 handle(20 bytes)
  .1 STATX OK ino 4103 mode 0100666 size 0 nlink 1 mask 0xfff ttl 1.000
  .2 OPEN OK fh61453 open_flags 0x0)");
}

TEST_CASE("every size of a handle's reply that a kernel takes", "[explain]") {
  // As it is, padded to 8, and as large as the kernel's buffer.
  for (size_t size : {54, 56, 170}) {
    CAPTURE(size);
    CHECK(LookupReply(EntryOut(42, "12bytehandle", size), StatxOut(), 0) ==
          "tx 6 COMPOUND OK 2 subs\n"
          "  .0 LOOKUP_HANDLE OK n42 gen 1 ttl 1.000 "
          "handle(31326279746568616e646c65)\n" +
              std::string(kStatxLine));
  }
  for (size_t size : {55, 64, 169}) {
    CAPTURE(size);
    LookupReply(EntryOut(42, "12bytehandle", size), StatxOut(), 1);
  }
}

TEST_CASE("replies that would trip the kernel are flagged", "[explain]") {
  const std::string entry_line =
      "  .0 LOOKUP_HANDLE OK n42 gen 1 ttl 1.000 handle(68)";
  const std::string ok = "tx 6 COMPOUND OK 2 subs\n";
  const std::string statx(kStatxLine);
  Wire entry = EntryOut(42, "h");
  CHECK(LookupReply(entry, StatxOut(), 0) == ok + entry_line + "\n" + statx);

  // 1: a sub without answer is a success full of zeros.
  CHECK(Reply(LookupRequest(), V5Reply(0, {}), 1) ==
        "tx 6 COMPOUND OK 0 subs ! not answered: 2 of 2");
  CHECK(Reply(LookupRequest(), V5Reply(1, {Out(entry)}), 1) ==
        "tx 6 COMPOUND OK 1 sub ! not answered: 1 of 2\n" + entry_line);
  CHECK(Reply(LookupRequest(), V5Reply(2, {Out(entry)}), 2) ==
        "tx 6 COMPOUND OK 1 sub ! count is 2 ! not answered: 1 of 2\n" +
            entry_line);
  CHECK(Reply(LookupRequest(), V5Reply(1, {Out(entry), Out(StatxOut())}), 2) ==
        "tx 6 COMPOUND OK 1 sub ! bytes behind the last sub: 304 "
        "! not answered: 1 of 2\n" +
            entry_line);
  CHECK(LookupReply(entry, StatxOut(0644), 1) ==
        ok + entry_line +
            "\n  .1 STATX OK ino 9 mode 0644 size 0 nlink 1 mask 0xfff ttl "
            "1.000 ! a mode without a type");
  LookupReply(entry, StatxOut(0170644), 1);
  LookupReply(entry, StatxOut().U64(72, uint64_t{1} << 63), 1);
  LookupReply(entry, StatxOut().U32(32, 0x3ff), 1);
  // 2
  CHECK(LookupReply(EntryOut(0, "h"), StatxOut(), 1) ==
        ok +
            "  .0 LOOKUP_HANDLE OK n0 gen 1 ttl 1.000 handle(68) "
            "! nodeid 0 is taken for a node: a missing name is ENOENT\n" +
            statx);
  CHECK(LookupReply(EntryOut(1, "h"), StatxOut(040755), 1)
            .find("! the root has generation 0") != std::string::npos);
  // 3
  CHECK(LookupReply(EntryOut(42, "").Resize(40), StatxOut(), 1) ==
        ok + "  .0 LOOKUP_HANDLE OK n42 gen 1 ttl 1.000 ! no handle size\n" +
            statx);
  // 4
  CHECK(LookupReply(entry.U16(40, 129), StatxOut(), 1) ==
        ok +
            "  .0 LOOKUP_HANDLE OK n42 gen 1 ttl 1.000 handle of 129 "
            "! a handle of more than 128 bytes\n" +
            statx);
  CHECK(LookupReply(EntryOut(42, "h", 43).U16(40, 2), StatxOut(), 1) ==
        ok +
            "  .0 LOOKUP_HANDLE OK n42 gen 1 ttl 1.000 handle of 2 "
            "! the handle is cut off\n" +
            statx);
  // 12
  CHECK(LookupReply(EntryOut(42, "h"), StatxOut().U64(0, 2), 1) ==
        ok + entry_line +
            "\n  .1 STATX OK ino 9 mode 0100644 size 0 nlink 1 mask 0xfff ttl "
            "2.000 ! attr_valid is not the entry_valid of .0");
  LookupReply(EntryOut(42, "h"), StatxOut().U32(8, 1), 1);
}

TEST_CASE("what is kept of a compound that failed is flagged", "[explain]") {
  // 5
  CHECK(Reply(LookupRequest(),
              V5Reply(2, {Out(EntryOut(42, "h")), Out({}, -EIO)}), 1) ==
        "tx 6 COMPOUND OK 2 subs\n"
        "  .0 LOOKUP_HANDLE OK n42 gen 1 ttl 1.000 handle(68) "
        "! kept, and the kernel drops it as .1 failed\n"
        "  .1 STATX EIO");
  // 6
  Wire open = Compound(V5(2, 1, 120, {OpenSub(7), GetattrSub(7)}));
  CHECK(Reply(open, V5Reply(2, {Out(OpenOut()), Out({}, -EIO)}), 1) ==
        "tx 6 COMPOUND OK 2 subs\n"
        "  .0 OPEN OK fh5 open_flags 0x0 "
        "! kept, and the kernel drops it as .1 failed\n"
        "  .1 GETATTR EIO");
  Reply(open, V5Reply(2, {Out({}, -EIO), Out(AttrOut())}), 0);
  // 11
  Reply(open, V5Reply(1, {Out(OpenOut())}), 1);
  Reply(open, V5Reply(2, {Out(OpenOut()), Out(AttrOut())}), 0);
  Reply(open, V5Reply(2, {Out(OpenOut()), Out(AttrOut(0))}), 1);
  // Of different nodes.
  Wire apart = Compound(V5(2, 1, 120, {OpenSub(7), GetattrSub(8)}));
  Reply(apart, V5Reply(2, {Out(OpenOut()), Out({}, -EIO)}), 0);
  // v7 reports each by itself.
  Wire v7 = Compound(
      V7({PrefixV7(0xff), Sub(1, 1, Name("a")), PrefixV7(0), GetattrSub(0)}));
  Wire entry = Wire(128).U64(0, 42).U32(40 + 60, 0100644);
  CHECK(Reply(v7, V5Reply(0, {Out(entry), Out({}, -EIO)}), 0) ==
        "tx 6 COMPOUND OK 2 subs\n"
        "  .0 LOOKUP OK n42 gen 0 ino 0 mode 0100644 size 0 nlink 0 "
        "ttl 0.000/0.000\n"
        "  .1 GETATTR EIO");
  Wire make = Compound(V5(
      3, 2, 474,
      {Sub(56, 7, Wire(16).AppendBytes(Name("n"))), StatxSub(1), OpenSub(1)}));
  Wire made = EntryOut(42, "h");
  Reply(make, V5Reply(3, {Out(made), Out(StatxOut()), Out(OpenOut())}), 0);
  Reply(make, V5Reply(3, {Out(made), Out(StatxOut()), Out({}, -EMFILE)}), 1);
  Reply(make, V5Reply(3, {Out(made), Out(StatxOut(040755)), Out(OpenOut())}),
        1);
  Reply(make,
        V5Reply(3, {Out(EntryOut(1, "h").U64(8, 0)), Out(StatxOut()),
                    Out(OpenOut())}),
        1);
}

TEST_CASE("replies that are no replies are flagged", "[explain]") {
  Wire enoent = Out({}, -ENOENT);
  CHECK(Reply(LookupRequest(), V5Reply(2, {enoent, enoent}), 0) ==
        "tx 6 COMPOUND OK 2 subs\n"
        "  .0 LOOKUP_HANDLE ENOENT\n"
        "  .1 STATX ENOENT");
  Reply(LookupRequest(), V5Reply(1, {enoent}), 0);
  CHECK(Reply(LookupRequest(), {}, 0, -ENOENT) == "tx 6 COMPOUND ENOENT");
  CHECK(Reply(LookupRequest(), V5Reply(2, {enoent, Out({}, 5)}), 2) ==
        "tx 6 COMPOUND OK 2 subs\n"
        "  .0 LOOKUP_HANDLE ENOENT\n"
        "  .1 STATX error 5 malformed (0 bytes) ! a positive error");
  Reply(LookupRequest(), V5Reply(2, {enoent, Out({}, -512)}), 2);
  CHECK(Reply(LookupRequest(), {}, 2, 5) ==
        "tx 6 COMPOUND error 5 malformed (0 bytes) ! a positive error");
  // 10
  CHECK(Reply(LookupRequest(), {}, 1, -ENOSYS) ==
        "tx 6 COMPOUND ENOSYS ! the kernel does not fall back to LOOKUP");
  Reply(LookupRequest(), V5Reply(1, {Out({}, -ENOSYS)}), 1);
  CHECK(Reply(LookupRequest(), Wire(15), 2) ==
        "tx 6 COMPOUND OK malformed (15 bytes) ! too short for a compound");
  CHECK(Reply(LookupRequest(), V5Reply(2, {enoent, Wire(15)}), 3) ==
        "tx 6 COMPOUND OK 1 sub ! sub .1 is cut off ! count is 2 "
        "! bytes behind the last sub: 15\n"
        "  .0 LOOKUP_HANDLE ENOENT");
  Reply(LookupRequest(), V5Reply(2, {enoent, Wire(16).U32(0, 15)}), 3);
  Reply(LookupRequest(), V5Reply(2, {enoent, Wire(16).U32(0, 17)}), 3);
  // The payloads that are not of the declared sizes.
  CHECK(Reply(LookupRequest(),
              V5Reply(2, {Out(EntryOut(42, "h")), Out(StatxOut().Resize(280))}),
              1) ==
        "tx 6 COMPOUND OK 2 subs\n"
        "  .0 LOOKUP_HANDLE OK n42 gen 1 ttl 1.000 handle(68)\n"
        "  .1 STATX OK malformed (280 bytes)");
  CHECK(Reply(LookupRequest(),
              V5Reply(2, {Out(EntryOut(42, "h")), Out(StatxOut().Resize(296))}),
              2) ==
        "tx 6 COMPOUND OK 2 subs ! longer than the kernel's buffer\n"
        "  .0 LOOKUP_HANDLE OK n42 gen 1 ttl 1.000 handle(68)\n"
        "  .1 STATX OK malformed (296 bytes)");
  // The header of the whole.
  Asked asked = AskedBy(Raw(LookupRequest()), nullptr);
  abi::OutHeader header{.len = 17, .error = 0, .unique = 6};
  CHECK(ExplainReply(asked, header, {}).problems > 0);
}

TEST_CASE("replies at the top level", "[explain]") {
  Wire request = LookupSub(7, "foo");
  CHECK(Reply(request, EntryOut(42, "h", 43), 0) ==
        "tx 6 LOOKUP_HANDLE OK n42 gen 1 ttl 1.000 handle(68)");
  Reply(request, EntryOut(42, "h", 170), 1);
  Reply(request, EntryOut(0, "h", 43), 1);
  // The shape with attributes in it.
  Wire shaped(296);
  shaped.U64(0, 42).U64(8, 1).U64(16, 1).U64(24, 1).U32(40, 0xfff);
  shaped.U32(56, 1).U16(68, 0100644).U64(72, 9).U16(296, 1).Append("h");
  CHECK(Reply(request, shaped, 0) ==
        "tx 6 LOOKUP_HANDLE OK n42 gen 1 ino 9 mode 0100644 size 0 nlink 1 "
        "mask 0xfff ttl 1.000/1.000 handle(68)");
  Reply(request, shaped.U16(68, 0644), 1);
}

TEST_CASE("a reply whose request nobody saw", "[explain]") {
  auto guess = [](const Wire& reply) {
    Cursor cursor(reply.bytes());
    auto header = cursor.Take<abi::OutHeader>();
    Asked asked = GuessAsked(*header, cursor.rest());
    Explanation out = ExplainReply(asked, *header, cursor.rest());
    CHECK(out.problems == 0);
    return out.text;
  };
  CHECK(guess(Load("08-lookup-enoent-both.rep.hex")) ==
        R"(tx 18 COMPOUND? OK 2 subs
  .0 ? ENOENT
  .1 ? ECANCELED)");
  CHECK(guess(Load("09-lookup-enoent-whole.rep.hex")) == "tx 18 ? ENOENT");
  CHECK(guess(Load("v5_mkobj_reply_ok.bin")) == R"(tx 12 COMPOUND? OK 3 subs
  .0 LOOKUP_HANDLE OK n43 gen 1 ttl 1.000 handle(a0a1a2a3a4a5a6a7a8a9aaab)
  .1 STATX OK ino 9002 mode 0100644 size 0 nlink 1 mask 0xfff ttl 1.000
  .2 OPEN OK fh85 open_flags 0x0)");
  CHECK(guess(Load("toplevel_lookup_handle_reply_ok.bin")) ==
        "tx 18 ? OK <54 bytes>");
}

}  // namespace
}  // namespace handlefs::proto
