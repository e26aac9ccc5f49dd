// Extensions in the subs of compounds: found by length, whether total_extlen
// counts them or not.
#include <catch2/catch.hpp>

#include "compounds.h"
#include "proto/dialect.h"

namespace handlefs::proto {
namespace {

using test::HandleRecord;
using test::LookupSub;
using test::V5;
using test::Wire;

std::string HandleOf(const Extensions& ext) {
  if (!ext.handle) return "none";
  return {reinterpret_cast<const char*>(ext.handle->data()),
          ext.handle->size()};
}

TEST_CASE("extensions of subs", "[compound]") {
  auto handle = [](const Wire& sub) -> Result<std::string> {
    Wire body = V5(1, 0, 170, {sub});
    auto compound = FindDialect("lookup-handle-v3")->parse(body.bytes());
    REQUIRE(compound.ok());
    auto request = Decode<Opcode::kLookupHandle>(compound->subs[0].raw);
    if (!request.ok()) return request.error();
    return HandleOf(request->ext);
  };
  auto refused = [&](const Wire& sub) {
    auto result = handle(sub);
    REQUIRE_FALSE(result.ok());
    CHECK(result.error() == Errno(EINVAL));
  };
  Wire record = HandleRecord("12bytehandle");
  CHECK(record.size() == 24);
  CHECK(*handle(LookupSub(7, "a", record, 0)) == "12bytehandle");
  CHECK(*handle(LookupSub(7, "a", record, 3)) == "12bytehandle");
  for (uint16_t wrong : {1, 2, 4, 5, 0xffff}) {
    refused(LookupSub(7, "a", record, wrong));
  }
  refused(LookupSub(7, "a", {}, 1));
  CHECK(*handle(LookupSub(7, "a")) == "none");
  for (size_t size : {0, 1, 6, 7, 14, 15, 22, 23, 30, 127, 128}) {
    std::string bytes(size, 'h');
    CHECK(*handle(LookupSub(7, "a", HandleRecord(bytes))) == bytes);
  }
  refused(LookupSub(7, "a", HandleRecord(std::string(129, 'h'))));
  refused(LookupSub(7, "a", HandleRecord("x").U16(8, 7)));
  refused(LookupSub(7, "a", HandleRecord("x").U16(8, 65535)));
  refused(LookupSub(7, "a", HandleRecord("x").U32(0, 24)));
  refused(LookupSub(7, "a", HandleRecord("x").U32(0, 15)));
  refused(LookupSub(7, "a", HandleRecord("x").U32(0, 8)));
  refused(LookupSub(7, "a", Wire(1)));
  refused(LookupSub(7, "a", Wire(7)));
  refused(LookupSub(7, "a", Wire(8)));
  // In any order; what nobody knows is passed over.
  Wire group = Wire(16).U32(0, 16).U32(4, 32).U32(8, 1).U32(12, 100);
  Wire unknown = Wire(16).U32(0, 16).U32(4, 77);
  Wire before = unknown, after = record;
  before.AppendBytes(group).AppendBytes(record);
  after.AppendBytes(unknown).AppendBytes(group);
  CHECK(*handle(LookupSub(7, "a", before)) == "12bytehandle");
  CHECK(*handle(LookupSub(7, "a", after, 7)) == "12bytehandle");
  // At the top level it has to be counted.
  auto top = [&](uint16_t units) {
    Wire message = LookupSub(7, "a", record, units);
    auto raw = Split(message.bytes(), 16);
    REQUIRE(raw.ok());
    return Decode<Opcode::kLookupHandle>(*raw).ok();
  };
  CHECK(top(3));
  for (uint16_t units : {0, 1, 2, 4}) CHECK_FALSE(top(units));
}

}  // namespace
}  // namespace handlefs::proto
