// Every row of the table decoded from bytes: the in header, the struct, the
// strings, the data and the extensions each from its own place.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>

#include "bytes.h"
#include "proto/cursor.h"

namespace handlefs::proto {
namespace {

using test::Finish;
using test::Header;
using test::Pattern;
using test::Wire;

constexpr size_t kLongSetxattr = 16;
constexpr size_t kShortSetxattr = 8;

// A handle of 12 bytes in a record of 24.
Wire HandleRecord() {
  Wire record(24);
  record.U32(0, 24).U32(4, 33).U16(8, 12);
  return record.Text(10, "ABCDEFGHIJKL");
}

bool Same(Bytes bytes, std::string_view text) {
  return std::ranges::equal(bytes, std::as_bytes(std::span(text)));
}

template <Opcode kOp>
Wire Valid() {
  constexpr const OpRow& row = RowOf(kOp);
  Wire wire = Header(static_cast<uint32_t>(kOp), 7);
  wire.AppendBytes(Pattern(row.fixed_in));
  if (row.text != Text::kNone) wire.Append(std::string_view("first\0", 6));
  if (row.text2 != Text::kNone) wire.Append(std::string_view("second\0", 7));
  if (row.tail == Tail::kData) wire.Append("payload");
  return wire;
}

template <Opcode kOp>
void CheckValid(const Wire& message) {
  constexpr const OpRow& row = RowOf(kOp);
  auto raw = Split(message.bytes(), kLongSetxattr);
  REQUIRE(raw.ok());
  REQUIRE(raw->fixed.size() == row.fixed_in);
  auto request = Decode<kOp>(*raw);
  REQUIRE(request.ok());
  CHECK(request->header.len == message.size());
  CHECK(request->header.opcode == static_cast<uint32_t>(kOp));
  CHECK(request->header.unique == 12);
  CHECK(request->header.nodeid == 7);
  CHECK(request->header.uid == 1000);
  CHECK(request->header.gid == 1000);
  CHECK(request->header.pid == 4242);
  CHECK(request->node() == NodeId{7});
  if constexpr (row.fixed_in != 0) {
    Wire pattern = Pattern(row.fixed_in);
    CHECK(std::memcmp(&request->in, pattern.raw().data(), row.fixed_in) == 0);
  }
  CHECK(request->text.view() == (row.text != Text::kNone ? "first" : ""));
  CHECK(request->text2.view() == (row.text2 != Text::kNone ? "second" : ""));
  CHECK(std::strlen(request->text.c_str()) == request->text.size());
  CHECK(Same(request->data, row.tail == Tail::kData ? "payload" : ""));
}

template <Opcode kOp>
int ErrorOf(const Wire& message) {
  auto raw = Split(message.bytes(), kLongSetxattr);
  if (!raw.ok()) return raw.error().value();
  auto request = Decode<kOp>(*raw);
  return request.ok() ? 0 : request.error().value();
}

template <Opcode kOp>
void CheckRow() {
  constexpr const OpRow& row = RowOf(kOp);
  INFO(row.name);
  Wire body = Valid<kOp>();
  CheckValid<kOp>(Finish(body));
  CheckValid<kOp>(Finish(body, HandleRecord()));
  // Every shorter message is refused, except where bytes of open-ended data
  // go missing and where INIT of an older kernel ends early.
  size_t least = body.size() - (row.tail == Tail::kData ? 7 : 0);
  if ((row.flags & kShortFixed) != 0) least = 40 + 8;
  for (size_t size = 0; size < body.size(); ++size) {
    Wire cut = body;
    cut.Resize(size);
    if (size >= 4) cut.U32(0, size);
    CAPTURE(size);
    CHECK(ErrorOf<kOp>(cut) == (size < least ? EINVAL : 0));
  }
  // And so is a longer one.
  if (row.tail == Tail::kNone) {
    Wire more = body;
    CHECK(ErrorOf<kOp>(Finish(more.Append("x"))) == EINVAL);
    CHECK(ErrorOf<kOp>(Finish(more.Append("1234567"))) == EINVAL);
  }
  // A length that is not the number of bytes.
  Wire lying = Finish(body);
  CHECK(ErrorOf<kOp>(lying.U32(0, lying.size() + 1)) == EINVAL);
  CHECK(ErrorOf<kOp>(lying.U32(0, lying.size() - 1)) == EINVAL);
  CHECK(ErrorOf<kOp>(lying.U32(0, 0)) == EINVAL);
  // Extensions that are said to be there, or to be longer than the message.
  for (uint32_t units : {1u, 100u, 65535u}) {
    Wire extended = Finish(body);
    CHECK(ErrorOf<kOp>(extended.U16(36, units)) == EINVAL);
  }
  // An extension that is not a record.
  Wire junk(16);
  CHECK(ErrorOf<kOp>(Finish(body, junk.U32(0, 4))) == EINVAL);
}

template <size_t... kRow>
void CheckRows(std::index_sequence<kRow...>) {
  (CheckRow<kOpTable[kRow].op>(), ...);
}

TEST_CASE("every row decodes from its bytes", "[decode]") {
  CheckRows(std::make_index_sequence<kOpRows>());
}

TEST_CASE("a message without a whole header is no request", "[decode]") {
  for (size_t size = 0; size < 40; ++size) {
    Wire cut = Header(1, 1).Resize(size);
    if (size >= 4) cut.U32(0, size);
    CHECK(Split(cut.bytes(), kLongSetxattr).error() == Errno(EINVAL));
  }
}

TEST_CASE("an unknown opcode is split, so that it can be answered",
          "[decode]") {
  Wire message = Finish(Header(77, 5).Append("abc"));
  auto raw = Split(message.bytes(), kLongSetxattr);
  REQUIRE(raw.ok());
  CHECK(raw->header.opcode == 77);
  CHECK(raw->header.unique == 12);
  CHECK(raw->fixed.empty());
  CHECK(Same(raw->tail, "abc"));
}

TEST_CASE("SETXATTR is decoded in its long and in its short form", "[decode]") {
  // {size 3, flags 1} name NUL value, and {size, flags, setxattr_flags 1, 0}.
  Wire short_form = Header(21, 5).U32(40, 3).U32(44, 1);
  short_form = Finish(short_form.Append(std::string_view("user.a\0xyz", 10)));
  auto raw = Split(short_form.bytes(), kShortSetxattr);
  REQUIRE(raw.ok());
  auto request = Decode<Opcode::kSetxattr>(*raw);
  REQUIRE(request.ok());
  CHECK(request->in.size == 3);
  CHECK(request->in.flags == 1);
  CHECK(request->in.setxattr_flags == 0);
  CHECK(request->text.view() == "user.a");
  CHECK(Same(request->data, "xyz"));

  Wire long_form = Header(21, 5).U32(40, 3).U32(44, 1).U32(48, 1).U32(52, 0);
  long_form = Finish(long_form.Append(std::string_view("user.a\0xyz", 10)));
  raw = Split(long_form.bytes(), kLongSetxattr);
  REQUIRE(raw.ok());
  request = Decode<Opcode::kSetxattr>(*raw);
  REQUIRE(request.ok());
  CHECK(request->in.size == 3);
  CHECK(request->in.setxattr_flags == 1);
  CHECK(request->text.view() == "user.a");
  CHECK(Same(request->data, "xyz"));

  // The short form of a connection does not make other rows shorter.
  Wire getxattr = Header(22, 5).U32(40, 100).U32(44, 0);
  getxattr = Finish(getxattr.Append(std::string_view("user.a\0", 7)));
  raw = Split(getxattr.bytes(), kShortSetxattr);
  REQUIRE(raw.ok());
  CHECK(raw->fixed.size() == 8);
}

TEST_CASE("INIT may be short; what did not come is zero", "[decode]") {
  for (size_t size : {8, 16, 20, 64}) {
    Wire init = Header(26, 0).U32(40, 7).U32(44, 31);
    if (size >= 16) init.U32(48, 131072).U32(52, 0xfb);
    if (size >= 20) init.U32(56, 0xabc);
    init.Resize(40 + size);
    Wire message = Finish(init);
    auto raw = Split(message.bytes(), kLongSetxattr);
    REQUIRE(raw.ok());
    auto request = Decode<Opcode::kInit>(*raw);
    REQUIRE(request.ok());
    CHECK(request->in.major == 7);
    CHECK(request->in.minor == 31);
    CHECK(request->in.max_readahead == (size >= 16 ? 131072u : 0u));
    CHECK(request->in.flags == (size >= 16 ? 0xfbu : 0u));
    CHECK(request->in.flags2 == (size >= 20 ? 0xabcu : 0u));
  }
}

TEST_CASE("a ring entry hands over its struct and its tail apart", "[decode]") {
  // LOOKUP has no struct: op_in is empty and the name is the payload.
  Wire name;
  name.Append(std::string_view("a\0", 2));
  RawRequest raw{.header = {}, .fixed = {}, .tail = name.bytes()};
  auto lookup = Decode<Opcode::kLookup>(raw);
  REQUIRE(lookup.ok());
  CHECK(lookup->text.view() == "a");
  // A struct that is longer or shorter than the row's is refused.
  Wire fixed(48);
  for (size_t size : {0, 39, 41, 48}) {
    raw.fixed = fixed.bytes().first(size);
    raw.tail = {};
    CHECK(Decode<Opcode::kRead>(raw).error() == Errno(EINVAL));
  }
  raw.fixed = fixed.bytes().first(40);
  CHECK(Decode<Opcode::kRead>(raw).ok());
}

}  // namespace
}  // namespace handlefs::proto
