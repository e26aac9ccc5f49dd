// Compounds from bytes: every message of test/data, and what must be refused.
#include <catch2/catch.hpp>

#include "compounds.h"
#include "data.h"
#include "proto/dialect.h"

namespace handlefs::proto {
namespace {

using namespace std::literals;
using test::GetattrSub;
using test::Load;
using test::LookupSub;
using test::Name;
using test::OpenSub;
using test::PrefixDev;
using test::PrefixV7;
using test::StatxSub;
using test::Sub;
using test::V5;
using test::V6;
using test::V7;
using test::Wire;

constexpr size_t kOwn = SubRequest::kOwnNode;

struct WantedSub {
  uint32_t opcode;
  uint64_t nodeid;
  size_t node_of;
  size_t at;   // of its header in the message
  size_t len;  // with the header
};
struct Wanted {
  std::string file;
  std::string_view dialect;
  OnFailure on_failure;
  bool drops;
  size_t result_size;
  std::vector<WantedSub> subs;
};

const Wanted kWanted[] = {
    {"v5_lookup_root_foo_req.bin",
     "lookup-handle-v3",
     OnFailure::kStop,
     true,
     458,
     {{55, 1, kOwn, 64, 44}, {52, 1, 0, 108, 64}}},
    {"v5_lookup_dir7_foo_ext12_req.bin",
     "lookup-handle-v3",
     OnFailure::kStop,
     true,
     458,
     {{55, 7, kOwn, 64, 68}, {52, 1, 0, 132, 64}}},
    {"v5_lookup_root_emptyhandle_dotdot_req.bin",
     "lookup-handle-v3",
     OnFailure::kStop,
     true,
     458,
     {{55, 1, kOwn, 64, 59}, {52, 1, 0, 123, 64}}},
    {"v5_mkobj_new_req.bin",
     "lookup-handle-v3",
     OnFailure::kUndo,
     true,
     474,
     {{56, 7, kOwn, 64, 84}, {52, 1, 0, 148, 64}, {14, 1, 0, 212, 48}}},
    {"v5_open_getattr_req.bin",
     "lookup-handle-v3",
     OnFailure::kGoOn,
     true,
     120,
     {{14, 42, kOwn, 64, 48}, {3, 42, kOwn, 112, 56}}},
    {"v6_open_getattr_req.bin",
     "compound-v6",
     OnFailure::kGoOn,
     true,
     120,
     {{14, 42, kOwn, 56, 48}, {3, 42, kOwn, 104, 56}}},
    {"dev8_lookup_getattr_req.bin",
     "compound-dev",
     OnFailure::kGoOn,
     false,
     SIZE_MAX,
     {{1, 1, kOwn, 64, 44}, {3, 0, 0, 116, 56}}},
    {"v7_lookup_getattr_req.bin",
     "compound-v7",
     OnFailure::kGoOn,
     false,
     SIZE_MAX,
     {{1, 1, kOwn, 60, 44}, {3, 0, 0, 108, 56}}},
    {"03-lookup-in-root.req.hex",
     "lookup-handle-v3",
     OnFailure::kStop,
     true,
     458,
     {{55, 1, kOwn, 64, 43}, {52, 1, 0, 107, 64}}},
    {"04-lookup-second-level-ext8.req.hex",
     "lookup-handle-v3",
     OnFailure::kStop,
     true,
     458,
     {{55, 0x1002, kOwn, 64, 67}, {52, 1, 0, 131, 64}}},
    {"06-lookup-revalidate-no-ext.req.hex",
     "lookup-handle-v3",
     OnFailure::kStop,
     true,
     458,
     {{55, 0x1002, kOwn, 64, 43}, {52, 1, 0, 107, 64}}},
    {"07-lookup-enoent.req.hex",
     "lookup-handle-v3",
     OnFailure::kStop,
     true,
     458,
     {{55, 0x1002, kOwn, 64, 69}, {52, 1, 0, 133, 64}}},
    {"12-lookup-dot-no-ext.req.hex",
     "lookup-handle-v3",
     OnFailure::kStop,
     true,
     458,
     {{55, 0x1004, kOwn, 64, 42}, {52, 1, 0, 106, 64}}},
    {"14-lookup-dotdot-to-root.req.hex",
     "lookup-handle-v3",
     OnFailure::kStop,
     true,
     458,
     {{55, 0x1002, kOwn, 64, 67}, {52, 1, 0, 131, 64}}},
    {"16-open-getattr.req.hex",
     "lookup-handle-v3",
     OnFailure::kGoOn,
     true,
     120,
     {{14, 0x1004, kOwn, 64, 48}, {3, 0x1004, kOwn, 112, 56}}},
    {"18-mkobj-second-level-ext.req.hex",
     "lookup-handle-v3",
     OnFailure::kUndo,
     true,
     474,
     {{56, 0x1003, kOwn, 64, 84}, {52, 1, 0, 148, 64}, {14, 1, 0, 212, 48}}},
};

TEST_CASE("every compound of test/data parses to what it says", "[compound]") {
  for (const Wanted& wanted : kWanted) {
    CAPTURE(wanted.file);
    Wire message = Load(wanted.file);
    Bytes body = message.bytes().subspan(40);
    const Dialect* dialect = FindDialect(wanted.dialect);
    REQUIRE(dialect != nullptr);
    CHECK(RecognizeCompound(body) == dialect);
    Compound compound;
    REQUIRE(dialect->read(body, compound).ok());
    CHECK(compound.problem.empty());
    CHECK(compound.on_failure == wanted.on_failure);
    CHECK(compound.kernel_drops_partial == wanted.drops);
    CHECK(compound.result_size == wanted.result_size);
    REQUIRE(compound.count == wanted.subs.size());
    for (size_t i = 0; i < compound.count; ++i) {
      CAPTURE(i);
      const SubRequest& sub = compound.subs[i];
      const WantedSub& want = wanted.subs[i];
      CHECK(sub.raw.header.opcode == want.opcode);
      CHECK(sub.raw.header.nodeid == want.nodeid);
      CHECK(sub.raw.header.len == want.len);
      CHECK(sub.raw.header.total_extlen == 0);
      CHECK(sub.node_of == want.node_of);
      CHECK(sub.raw.ext_place == RawRequest::ExtPlace::kRest);
      CHECK(sub.raw.fixed.size() == FindRow(want.opcode)->fixed_in);
      CHECK(sub.raw.fixed.data() == message.bytes().data() + want.at + 40);
      CHECK(sub.raw.tail.data() + sub.raw.tail.size() ==
            message.bytes().data() + want.at + want.len);
    }
  }
}

template <Opcode kOp>
Request<kOp> SubOf(const Wire& message, size_t index) {
  Bytes body = message.bytes().subspan(40);
  const Dialect* dialect = RecognizeCompound(body);
  REQUIRE(dialect != nullptr);
  auto compound = dialect->parse(body);
  REQUIRE(compound.ok());
  REQUIRE(index < compound->count);
  auto request = Decode<kOp>(compound->subs[index].raw);
  REQUIRE(request.ok());
  return *request;
}

std::string HandleOf(const Extensions& ext) {
  if (!ext.handle) return "none";
  return {reinterpret_cast<const char*>(ext.handle->data()),
          ext.handle->size()};
}

TEST_CASE("names, handles and fields of subs", "[compound]") {
  struct Lookup {
    std::string file;
    std::string_view name;
    std::string_view handle;
  };
  static constexpr std::string_view kHandle8 =
      "\x20\x21\x22\x23\x24\x25\x26\x27";
  static constexpr std::string_view kHandle12 =
      "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b"sv;
  const Lookup lookups[] = {
      {"v5_lookup_root_foo_req.bin", "foo", "none"},
      {"v5_lookup_dir7_foo_ext12_req.bin", "foo", kHandle12},
      {"v5_lookup_root_emptyhandle_dotdot_req.bin", "..", ""},
      {"03-lookup-in-root.req.hex", "d1", "none"},
      {"04-lookup-second-level-ext8.req.hex", "d2", kHandle8},
      {"06-lookup-revalidate-no-ext.req.hex", "d2", "none"},
      {"07-lookup-enoent.req.hex", "nope", kHandle8},
      {"12-lookup-dot-no-ext.req.hex", ".", "none"},
      {"14-lookup-dotdot-to-root.req.hex", "..", kHandle8},
  };
  for (const Lookup& lookup : lookups) {
    CAPTURE(lookup.file);
    Wire message = Load(lookup.file);
    auto request = SubOf<Opcode::kLookupHandle>(message, 0);
    CHECK(request.text.view() == lookup.name);
    CHECK(HandleOf(request.ext) == lookup.handle);
    CHECK_FALSE(request.ext.handle2);
    CHECK_FALSE(request.ext.group);
    CHECK_FALSE(request.ext.secctx);
    auto statx = SubOf<Opcode::kStatx>(message, 1);
    CHECK(statx.in.sx_mask == 0xfff);
    CHECK(statx.in.getattr_flags == 0);
  }
  auto made = SubOf<Opcode::kMkobjHandle>(Load("v5_mkobj_new_req.bin"), 0);
  CHECK(made.in.flags == 0x8042);
  CHECK(made.in.mode == 0100644);
  CHECK(made.in.umask == 022);
  Wire recorded = Load("18-mkobj-second-level-ext.req.hex");
  made = SubOf<Opcode::kMkobjHandle>(recorded, 0);
  CHECK(made.in.flags == 0101101);
  CHECK(made.in.mode == 0100666);
  CHECK(made.text.view() == "new");
  CHECK(HandleOf(made.ext) == "0123456789:;<");
  // The flags that the caller meant are in the first sub.
  CHECK(SubOf<Opcode::kOpen>(recorded, 2).in.flags == 2);
}

void Refused(std::string_view dialect, const Wire& body,
             std::string_view problem) {
  CAPTURE(dialect, problem);
  const Dialect* framing = FindDialect(dialect);
  REQUIRE(framing != nullptr);
  Compound compound;
  Status status = framing->read(body.bytes(), compound);
  REQUIRE_FALSE(status.ok());
  CHECK(status.error() == Errno(EINVAL));
  CHECK(compound.problem == problem);
  auto parsed = framing->parse(body.bytes());
  CHECK_FALSE(parsed.ok());
}
void Accepted(std::string_view dialect, const Wire& body, size_t subs) {
  CAPTURE(dialect);
  auto compound = FindDialect(dialect)->parse(body.bytes());
  REQUIRE(compound.ok());
  CHECK(compound->count == subs);
}

TEST_CASE("malformed compounds of v5", "[compound]") {
  const std::string_view v5 = "lookup-handle-v3";
  Wire lookup = LookupSub(7, "a");
  Wire statx = StatxSub(1);
  Accepted(v5, V5(2, 0, 458, {lookup, statx}), 2);
  Refused(v5, V5(0, 0, 458, {}), "count is not 1 to 16");
  Refused(v5, V5(0, 0, 458, {lookup, statx}), "count is not 1 to 16");
  Refused(v5, V5(1, 0, 458, {lookup, statx}),
          "count is not the number of subs");
  Refused(v5, V5(3, 0, 458, {lookup, statx}),
          "count is not the number of subs");
  Refused(v5, V5(17, 0, 458, {lookup, statx}), "count is not 1 to 16");
  Refused(v5, V5(UINT32_MAX, 0, 458, {lookup}), "count is not 1 to 16");
  Refused(v5, V5(1, 0, 458, {}), "no subs");
  Refused(v5, Wire(23), "too short for a compound");
  Refused(v5, V5(1, 0, 170, {lookup}).U64(16, 1), "reserved is not 0");
  // It is padding of the kernel's struct, which nobody clears.
  Accepted(v5, V5(1, 0, 170, {lookup}).U32(12, 0xdeadbeef), 1);
}

TEST_CASE("malformed chains, whatever the framing", "[compound]") {
  Wire lookup = LookupSub(7, "a");
  struct Bad {
    Wire sub;
    std::string_view problem;
  };
  const Bad bads[] = {
      {Wire(39).U32(0, 39).U32(4, 52), "the header is cut off"},
      {Wire(1), "the header is cut off"},
      {StatxSub(1).U32(0, 39), "len is less than a header"},
      {StatxSub(1).U32(0, 0), "len is less than a header"},
      {StatxSub(1).U32(0, 65), "len reaches past the end"},
      {StatxSub(1).U32(0, UINT32_MAX), "len reaches past the end"},
      // What is left over is no sub.
      {StatxSub(1).Resize(72), "the header is cut off"},
      {StatxSub(1).U32(0, 56), "the header is cut off"},
      {Sub(99, 7), "unknown opcode"},
      {Sub(0, 7), "unknown opcode"},
      {Sub(7, 7), "unknown opcode"},
  };
  for (const Bad& bad : bads) {
    Refused("lookup-handle-v3", V5(2, 0, 458, {lookup, bad.sub}), bad.problem);
    Refused("compound-v6", V6(0, 458, {lookup, bad.sub}), bad.problem);
  }
  Wire first = PrefixV7(0xff);
  for (const Bad& bad : {bads[0], bads[2], bads[4], bads[8]}) {
    Refused("compound-v7", V7({first, lookup, first, bad.sub}), bad.problem);
    Refused("compound-dev",
            V7({PrefixDev(0, 0), lookup, PrefixDev(0, 0), bad.sub}),
            bad.problem);
  }
  Refused("compound-v6", V6(0, 458, {}), "no subs");
  Refused("compound-v7", V7({}), "no subs");
  Refused("compound-dev", V7({}), "no subs");
}

TEST_CASE("16 subs and not one more", "[compound]") {
  for (size_t n : {16, 17}) {
    Wire v5 = V5(16, 0, 16 * 128, {});
    Wire v6 = V6(0, 16 * 128, {});
    Wire v7 = V7({});
    Wire dev = V7({});
    for (size_t i = 0; i < n; ++i) {
      Wire sub = Sub(1, 1, Name("x"));
      v5.AppendBytes(sub);
      v6.AppendBytes(sub);
      v7.AppendBytes(PrefixV7(0xff)).AppendBytes(sub);
      dev.AppendBytes(PrefixDev(0, 0)).AppendBytes(sub);
    }
    if (n == 16) {
      Accepted("lookup-handle-v3", v5, 16);
      Accepted("compound-v6", v6, 16);
      Accepted("compound-v7", v7, 16);
      Accepted("compound-dev", dev, 16);
    } else {
      Refused("lookup-handle-v3", v5, "more than 16 subs");
      Refused("compound-v6", v6, "more than 16 subs");
      Refused("compound-v7", v7, "more than 16 subs");
      Refused("compound-dev", dev, "more than 16 subs");
    }
  }
}

TEST_CASE("dependencies of v7 and dev", "[compound]") {
  Wire lookup = Sub(1, 1, Name("foo"));
  Wire getattr = GetattrSub(0);
  Wire none = PrefixV7(0xff);
  for (uint32_t maker : {1u, 6u, 8u, 9u, 13u, 35u, 51u, 55u, 56u}) {
    auto compound =
        FindDialect("compound-v7")
            ->parse(V7({none, Sub(maker, 1), PrefixV7(0), getattr}).bytes());
    CAPTURE(maker);
    REQUIRE(compound.ok());
    CHECK(compound->subs[0].node_of == kOwn);
    CHECK(compound->subs[1].node_of == 0);
  }
  const std::string_view no_earlier = "it depends on no earlier sub";
  const std::string_view no_node = "it depends on a sub that gives no node";
  Refused("compound-v7", V7({PrefixV7(0), lookup}), no_earlier);
  Refused("compound-v7", V7({none, lookup, PrefixV7(1), getattr}), no_earlier);
  Refused("compound-v7", V7({none, lookup, PrefixV7(2), getattr}), no_earlier);
  Refused("compound-v7", V7({none, lookup, PrefixV7(0xfe), getattr}),
          no_earlier);
  Refused("compound-v7", V7({none, OpenSub(5), PrefixV7(0), getattr}), no_node);
  Refused("compound-v7",
          V7({none, lookup, PrefixV7(0), getattr, PrefixV7(1), OpenSub(0)}),
          no_node);
  for (size_t byte : {1, 2, 3}) {
    Refused("compound-v7", V7({PrefixV7(0xff).U8(byte, 1), lookup}),
            "reserved is not 0");
  }
  Refused("compound-v7", V7({none, lookup, Wire(3)}), "the prefix is cut off");
  for (size_t byte : {0, 7, 8, 15}) {
    Refused("compound-v7", V7({none, lookup}).U8(byte, 1), "reserved is not 0");
    Refused("compound-dev", V7({PrefixDev(0, 0), lookup}).U8(byte, 1),
            "reserved is not 0");
  }

  const Wire free = PrefixDev(2, 0);  // an entry
  auto dev = FindDialect("compound-dev")
                 ->parse(V7({free, lookup, PrefixDev(4, 0), getattr}).bytes());
  REQUIRE(dev.ok());
  CHECK(dev->subs[1].node_of == 0);
  // The index says nothing without its flag.
  dev = FindDialect("compound-dev")
            ->parse(V7({free, lookup, PrefixDev(0, 9), GetattrSub(7)}).bytes());
  REQUIRE(dev.ok());
  CHECK(dev->subs[1].node_of == kOwn);
  Refused("compound-dev", V7({PrefixDev(4, 0), lookup}), no_earlier);
  Refused("compound-dev", V7({free, lookup, PrefixDev(4, 1), getattr}),
          no_earlier);
  Refused("compound-dev", V7({free, OpenSub(5), PrefixDev(4, 0), getattr}),
          no_node);
  Refused("compound-dev", V7({PrefixDev(8, 0), lookup}), "unknown flags");
  for (size_t byte : {2, 3, 4, 7}) {
    Refused("compound-dev", V7({PrefixDev(0, 0).U8(byte, 1), lookup}),
            "reserved is not 0");
  }
  Refused("compound-dev", V7({free, lookup, Wire(7)}), "the prefix is cut off");
}

TEST_CASE("flags of v5 and v6", "[compound]") {
  auto v5 = [](uint32_t flags) {
    return FindDialect("lookup-handle-v3")
        ->parse(V5(1, flags, 170, {LookupSub(7, "a")}).bytes())
        ->on_failure;
  };
  CHECK(v5(0) == OnFailure::kStop);
  CHECK(v5(1) == OnFailure::kGoOn);
  CHECK(v5(2) == OnFailure::kUndo);
  CHECK(v5(3) == OnFailure::kUndo);
  auto v6 = [](uint32_t flags) {
    return FindDialect("compound-v6")
        ->parse(V6(flags, 170, {LookupSub(7, "a")}).bytes())
        ->on_failure;
  };
  CHECK(v6(0) == OnFailure::kStop);
  CHECK(v6(1) == OnFailure::kGoOn);
  CHECK(v6(2) == OnFailure::kGoOn);
  CHECK(v6(4) == OnFailure::kUndo);
  CHECK(v6(7) == OnFailure::kUndo);
  Refused("compound-v6", V6(0, 170, {LookupSub(7, "a")}).U64(8, 1),
          "reserved is not 0");
}

TEST_CASE("placeholders of v5 and v6", "[compound]") {
  auto nodes = [](const Dialect* dialect, const Wire& body) {
    auto compound = dialect->parse(body.bytes());
    REQUIRE(compound.ok());
    std::vector<size_t> of;
    for (const SubRequest& sub : compound->chain()) of.push_back(sub.node_of);
    return of;
  };
  using Of = std::vector<size_t>;
  Wire a = LookupSub(1, "a"), b = LookupSub(1, "b");
  const Dialect* v5 = FindDialect("lookup-handle-v3");
  // The root itself, without a maker before it.
  CHECK(nodes(v5, V5(2, 0, 458, {StatxSub(1), a})) == Of{kOwn, kOwn});
  CHECK(nodes(v5, V5(4, 0, 916, {a, StatxSub(1), b, StatxSub(1)})) ==
        Of{kOwn, 0, kOwn, 2});
  CHECK(nodes(v5, V5(3, 0, 476, {a, StatxSub(1), OpenSub(1)})) ==
        Of{kOwn, 0, 0});
  // Another node is meant as it is, and only the ops of the RFC make one.
  CHECK(nodes(v5, V5(2, 0, 458, {a, StatxSub(7)})) == Of{kOwn, kOwn});
  CHECK(nodes(v5, V5(2, 0, 416, {Sub(1, 1, Name("a")), StatxSub(1)})) ==
        Of{kOwn, kOwn});
  CHECK(nodes(FindDialect("compound-v6"), V6(0, 458, {a, StatxSub(1)})) ==
        Of{kOwn, 0});
  // v7 says so itself.
  CHECK(nodes(FindDialect("compound-v7"), V7({PrefixV7(0xff), a, PrefixV7(0xff),
                                              StatxSub(1)})) == Of{kOwn, kOwn});
}

}  // namespace
}  // namespace handlefs::proto
