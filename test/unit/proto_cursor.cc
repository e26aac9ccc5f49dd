// Edges of strings and of extension areas.
#include <catch2/catch.hpp>
#include <cstring>

#include "bytes.h"
#include "proto/cursor.h"

namespace handlefs::proto {
namespace {

using test::Wire;

Wire TextOf(std::string_view text) {
  Wire wire;
  return wire.Append(text);
}

int TextError(std::string_view text, Text kind) {
  Wire wire = TextOf(text);
  Cursor cursor(wire.bytes());
  auto taken = cursor.TakeText(kind);
  if (!taken.ok()) {
    // Nothing is consumed by a failure.
    CHECK(cursor.rest().size() == text.size());
    return taken.error().value();
  }
  CHECK(taken->c_str()[taken->size()] == '\0');
  CHECK(cursor.rest().size() == text.size() - taken->size() - 1);
  return 0;
}

using namespace std::literals;

TEST_CASE("a component of a path", "[cursor]") {
  for (Text kind : {Text::kName, Text::kLookupName}) {
    CHECK(TextError("a\0"sv, kind) == 0);
    CHECK(TextError("a\0b\0"sv, kind) == 0);
    CHECK(TextError("...\0"sv, kind) == 0);
    CHECK(TextError(".a\0"sv, kind) == 0);
    CHECK(TextError("\xff\x01\n\0"sv, kind) == 0);
    CHECK(TextError(""sv, kind) == EINVAL);
    CHECK(TextError("a"sv, kind) == EINVAL);
    CHECK(TextError("\0"sv, kind) == EINVAL);
    CHECK(TextError("/\0"sv, kind) == EINVAL);
    CHECK(TextError("a/b\0"sv, kind) == EINVAL);
    CHECK(TextError("a/\0"sv, kind) == EINVAL);
    CHECK(TextError("../x\0"sv, kind) == EINVAL);
  }
}

TEST_CASE("dots come in lookups only", "[cursor]") {
  CHECK(TextError(".\0"sv, Text::kLookupName) == 0);
  CHECK(TextError("..\0"sv, Text::kLookupName) == 0);
  CHECK(TextError(".\0"sv, Text::kName) == EINVAL);
  CHECK(TextError("..\0"sv, Text::kName) == EINVAL);
}

TEST_CASE("a component has at most 255 bytes", "[cursor]") {
  for (Text kind : {Text::kName, Text::kLookupName}) {
    CHECK(TextError(std::string(255, 'x') + '\0', kind) == 0);
    CHECK(TextError(std::string(256, 'x') + '\0', kind) == ENAMETOOLONG);
    CHECK(TextError(std::string(5000, 'x') + '\0', kind) == ENAMETOOLONG);
    CHECK(TextError(std::string(256, 'x'), kind) == EINVAL);
    CHECK(TextError(std::string(256, '/') + '\0', kind) == ENAMETOOLONG);
  }
}

TEST_CASE("free text is anything that ends", "[cursor]") {
  CHECK(TextError("\0"sv, Text::kFree) == 0);
  CHECK(TextError("../../etc/passwd\0"sv, Text::kFree) == 0);
  CHECK(TextError(std::string(4095, '/') + '\0', Text::kFree) == 0);
  CHECK(TextError(""sv, Text::kFree) == EINVAL);
  CHECK(TextError("a"sv, Text::kFree) == EINVAL);
}

TEST_CASE("the cursor never reads past its end", "[cursor]") {
  Wire wire = TextOf("1234567"sv);
  Cursor cursor(wire.bytes());
  CHECK_FALSE(cursor.Take<uint64_t>());
  CHECK(cursor.rest().size() == 7);
  CHECK(cursor.Take<uint32_t>() == 0x34333231);
  CHECK_FALSE(cursor.TakeBytes(4));
  CHECK_FALSE(cursor.TakeBytes(SIZE_MAX));
  CHECK(cursor.TakeBytes(3)->size() == 3);
  CHECK(cursor.TakeBytes(0)->empty());
  CHECK_FALSE(cursor.Take<uint8_t>());
}

// {size, type} and `body`, padded to `size`.
Wire Record(uint32_t type, const Wire& body, size_t size) {
  Wire record(8);
  record.U32(0, size).U32(4, type).AppendBytes(body);
  return record.Resize(size);
}

Wire SecurityContext(std::string_view name, std::string_view value) {
  Wire body(8);
  body.U32(0, value.size()).Append(name).U8(8 + name.size(), 0).Append(value);
  return Record(1, body, (8 + body.size() + 7) & ~size_t{7});
}

Wire Group(uint32_t count, std::initializer_list<uint32_t> groups) {
  Wire body(4);
  body.U32(0, count);
  for (uint32_t group : groups) body.U32(body.size(), group);
  return Record(32, body, (8 + body.size() + 7) & ~size_t{7});
}

Wire Handle(size_t said, std::string_view bytes) {
  Wire body(2);
  body.U16(0, said).Append(bytes);
  return Record(33, body, (8 + body.size() + 7) & ~size_t{7});
}

Wire Joined(std::initializer_list<Wire> records) {
  Wire area;
  for (const Wire& record : records) area.AppendBytes(record);
  return area;
}

int ExtensionError(const Wire& area) {
  auto ext = ParseExtensions(area.bytes());
  return ext.ok() ? 0 : ext.error().value();
}

bool Same(Bytes bytes, std::string_view text) {
  return bytes.size() == text.size() &&
         std::memcmp(bytes.data(), text.data(), text.size()) == 0;
}

void CheckAll(const Wire& area) {
  auto ext = ParseExtensions(area.bytes());
  REQUIRE(ext.ok());
  REQUIRE(ext->secctx);
  CHECK(ext->secctx->name.view() == "security.selinux");
  CHECK(Same(ext->secctx->value, "system_u"));
  CHECK(ext->group == 100);
  REQUIRE(ext->handle);
  CHECK(Same(*ext->handle, "12bytehandle"));
}

TEST_CASE("extensions come in any order, with unknown ones between",
          "[extensions]") {
  Wire secctx = SecurityContext("security.selinux", "system_u");
  Wire group = Group(1, {100});
  Wire handle = Handle(12, "12bytehandle");
  Wire unknown = Record(34, TextOf("whatever"), 16);
  Wire far = Record(0xffffffff, {}, 8);
  CheckAll(Joined({secctx, group, handle}));
  CheckAll(Joined({handle, group, secctx}));
  CheckAll(Joined({group, handle, secctx}));
  CheckAll(Joined({unknown, handle, unknown, secctx, far, group, far}));
}

TEST_CASE("no extensions are no error", "[extensions]") {
  auto ext = ParseExtensions({});
  REQUIRE(ext.ok());
  CHECK_FALSE(ext->secctx);
  CHECK_FALSE(ext->group);
  CHECK_FALSE(ext->handle);
}

TEST_CASE("an extension area may begin at any address", "[extensions]") {
  Wire area = Joined({SecurityContext("security.selinux", "system_u"),
                      Group(1, {100}), Handle(12, "12bytehandle")});
  for (size_t shift = 0; shift < 8; ++shift) {
    Wire moved(shift);
    moved.AppendBytes(area);
    auto ext = ParseExtensions(moved.bytes().subspan(shift));
    REQUIRE(ext.ok());
    CHECK(ext->group == 100);
    CHECK(Same(*ext->handle, "12bytehandle"));
  }
}

TEST_CASE("an area that is cut anywhere is refused", "[extensions]") {
  Wire area = Joined({SecurityContext("security.selinux", "system_u"),
                      Handle(12, "12bytehandle")});
  size_t first = SecurityContext("security.selinux", "system_u").size();
  for (size_t size = 1; size < area.size(); ++size) {
    CAPTURE(size);
    Wire cut = area;
    CHECK(ExtensionError(cut.Resize(size)) == (size == first ? 0 : EINVAL));
  }
}

TEST_CASE("a record's size is at least its header and a multiple of 8",
          "[extensions]") {
  for (uint32_t size : {0u, 1u, 4u, 7u, 9u, 12u, 15u, 17u, 24u, 0xfffffff8u}) {
    Wire record(16);
    CAPTURE(size);
    CHECK(ExtensionError(record.U32(0, size).U32(4, 99)) == EINVAL);
  }
  // Also where nothing else is wrong with it.
  for (uint32_t size : {9u, 12u, 15u}) {
    Wire record(size);
    CHECK(ExtensionError(record.U32(0, size).U32(4, 99)) == EINVAL);
  }
  for (uint32_t size : {8u, 16u}) {
    Wire record(size);
    CHECK(ExtensionError(record.U32(0, size).U32(4, 99)) == 0);
  }
}

TEST_CASE("node handles of every size", "[extensions]") {
  for (size_t n = 0; n <= 128; ++n) {
    auto wire = Handle(n, std::string(n, 'h'));
    auto ext = ParseExtensions(wire.bytes());
    REQUIRE(ext.ok());
    REQUIRE(ext->handle);
    CHECK(ext->handle->size() == n);
  }
  // The root's: there, and empty.
  auto root = Handle(0, "");
  CHECK(root.size() == 16);
  CHECK(ParseExtensions(root.bytes())->handle->empty());
}

TEST_CASE("a node handle that lies about its size is refused", "[extensions]") {
  CHECK(ExtensionError(Handle(129, std::string(129, 'h'))) == EINVAL);
  CHECK(ExtensionError(Handle(65535, std::string(65535, 'h'))) == EINVAL);
  CHECK(ExtensionError(Handle(200, std::string(12, 'h'))) == EINVAL);
  // 12 bytes are padded to 14; 15 do not fit.
  CHECK(ExtensionError(Handle(14, std::string(12, 'h'))) == 0);
  CHECK(ExtensionError(Handle(15, std::string(12, 'h'))) == EINVAL);
  CHECK(ExtensionError(Record(33, {}, 8)) == EINVAL);
}

TEST_CASE("groups", "[extensions]") {
  auto two = Group(2, {7, 8});
  CHECK(ParseExtensions(two.bytes())->group == 7);
  auto none = Group(0, {});
  CHECK_FALSE(ParseExtensions(none.bytes())->group);
  // Counts beyond what the record holds, also where the product overflows.
  for (uint32_t count : {2u, 3u, 0x3fffffffu, 0x40000000u, 0xffffffffu}) {
    CAPTURE(count);
    CHECK(ExtensionError(Group(count, {7})) == EINVAL);
  }
  CHECK(ExtensionError(Record(32, {}, 8)) == EINVAL);
}

TEST_CASE("security contexts", "[extensions]") {
  auto empty = SecurityContext("security.selinux", "");
  auto ext = ParseExtensions(empty.bytes());
  REQUIRE(ext->secctx);
  CHECK(ext->secctx->value.empty());

  // Without a context the block is its header alone.
  auto none = Record(0, {}, 8);
  ext = ParseExtensions(none.bytes());
  REQUIRE(ext.ok());
  CHECK_FALSE(ext->secctx);

  // More entries than there are bytes for.
  for (uint32_t count : {2u, 31u}) {
    auto lying = SecurityContext("security.selinux", "system_u");
    CHECK(ExtensionError(lying.U32(4, count)) == EINVAL);
  }
  // A value longer than the record.
  for (uint32_t size : {16u, 100u, 0xffffffffu}) {
    auto lying = SecurityContext("security.selinux", "12345678");
    CAPTURE(size);
    // The value begins at byte 33 of 48, so 15 bytes could be there.
    CHECK(ExtensionError(lying.U32(8, size)) == EINVAL);
  }
  // No name, and a name that does not end.
  CHECK(ExtensionError(SecurityContext("", "value")) == EINVAL);
  Wire endless(8);
  endless.U32(0, 0).Append("security");
  CHECK(ExtensionError(Record(1, endless, 24)) == EINVAL);
}

TEST_CASE("a second extension of a kind is refused", "[extensions]") {
  Wire secctx = SecurityContext("security.selinux", "system_u");
  Wire group = Group(1, {100});
  Wire handle = Handle(12, "12bytehandle");
  CHECK(ExtensionError(Joined({secctx, secctx})) == EINVAL);
  CHECK(ExtensionError(Joined({group, handle, group})) == EINVAL);
  // One for each node of the request.
  CHECK(ExtensionError(Joined({handle, handle})) == 0);
  CHECK(ExtensionError(Joined({handle, handle, handle})) == EINVAL);
}

TEST_CASE("the units of total_extlen are eight bytes", "[extensions]") {
  Wire lookup = test::Header(1, 7);
  lookup.Append("ab\0"sv);
  Wire area = Handle(12, "12bytehandle");
  Wire message = test::Finish(lookup, area);
  CHECK(message.size() == 43 + 24);
  auto raw = Split(message.bytes(), 16);
  auto request = Decode<Opcode::kLookup>(*raw);
  REQUIRE(request.ok());
  CHECK(request->text.view() == "ab");
  CHECK(Same(*request->ext.handle, "12bytehandle"));
  // The same bytes, miscounted.
  for (uint32_t units : {0u, 1u, 2u, 4u, 5u, 9u, 8192u, 65535u}) {
    Wire lying = message;
    lying.U16(36, units);
    CAPTURE(units);
    raw = Split(lying.bytes(), 16);
    CHECK(Decode<Opcode::kLookup>(*raw).error() == Errno(EINVAL));
  }
}

TEST_CASE("data ends where the extensions begin", "[extensions]") {
  Wire write = test::Header(16, 7);
  write.AppendBytes(Wire(40)).Append("payload");
  Wire message = test::Finish(write, Group(1, {100}));
  auto raw = Split(message.bytes(), 16);
  auto request = Decode<Opcode::kWrite>(*raw);
  REQUIRE(request.ok());
  CHECK(Same(request->data, "payload"));
  CHECK(request->ext.group == 100);
}

}  // namespace
}  // namespace handlefs::proto
