// The table of dialects: what an INIT and a compound tell about the kernel, and
// the fixed sizes of what it is answered.
#include <catch2/catch.hpp>
#include <set>

#include "compounds.h"
#include "data.h"
#include "proto/dialect.h"
#include "proto/flags.h"

namespace handlefs::proto {
namespace {

using namespace std::literals;
using test::Load;
using test::LookupSub;
using test::PrefixV7;
using test::StatxSub;
using test::Sub;
using test::V5;
using test::V6;
using test::V7;
using test::Wire;

TEST_CASE("dialects by name", "[dialect]") {
  std::set<std::string_view> names;
  for (const Dialect* dialect : Dialects()) {
    CHECK(FindDialect(dialect->name) == dialect);
    CHECK_FALSE(dialect->about.empty());
    CHECK(dialect->has_compounds() == (dialect->put_head != nullptr));
    names.insert(dialect->name);
  }
  CHECK(names.size() == Dialects().size());
  CHECK(Dialects().front() == &MainlineDialect());
  CHECK_FALSE(MainlineDialect().has_compounds());
  CHECK_FALSE(MainlineDialect().answers_handle_bit);
  CHECK(FindDialect("no such") == nullptr);
}

abi::InitIn Init(uint32_t minor, std::initializer_list<init::Bit> bits) {
  uint64_t flags = 0;
  for (init::Bit bit : bits) flags |= uint64_t{1} << bit;
  flags |= uint64_t{1} << init::kInitExt;
  abi::InitIn in{};
  in.major = 7;
  in.minor = minor;
  in.flags = static_cast<uint32_t>(flags);
  in.flags2 = static_cast<uint32_t>(flags >> 32);
  return in;
}

TEST_CASE("what an INIT tells about the kernel", "[dialect]") {
  using init::kBit43;
  using init::kFileOps;
  using init::kOverIoUring;
  auto name = [](const abi::InitIn& in) {
    Fingerprint kernel = RecognizeInit(in);
    CHECK_FALSE(kernel.evidence.empty());
    CHECK(kernel.evidence.find('\n') == std::string::npos);
    return kernel.dialect->name;
  };
  // Mainline up to 7.2.
  for (uint32_t minor : {31u, 40u, 44u, 45u}) {
    CHECK(name(Init(minor, {})) == "mainline");
    CHECK(name(Init(minor, {kOverIoUring})) == "mainline");
    CHECK_FALSE(HasBufpoolBit(Init(minor, {kOverIoUring, kBit43})));
  }
  // Mainline 7.3: bit 43 comes with bit 41 and means the buffer pool.
  CHECK(name(Init(46, {})) == "mainline");
  CHECK(name(Init(46, {kOverIoUring})) == "mainline");
  CHECK(name(Init(46, {kOverIoUring, kBit43})) == "mainline");
  CHECK(HasBufpoolBit(Init(46, {kOverIoUring, kBit43})));
  CHECK_FALSE(HasBufpoolBit(Init(46, {kOverIoUring})));
  // RFC v3, by the opcode that it sets in place of the flag.
  CHECK(name(Init(46, {kFileOps})) == "lookup-handle-v3");
  CHECK(name(Init(46, {kFileOps, kOverIoUring})) == "lookup-handle-v3");
  CHECK_FALSE(HasBufpoolBit(Init(46, {kFileOps, kOverIoUring, kBit43})));
  // RFC v2 is served as mainline, and said.
  CHECK(name(Init(45, {kFileOps})) == "mainline");
  CHECK(RecognizeInit(Init(45, {kFileOps})).evidence.find("RFC v2") !=
        std::string::npos);
  // A kernel that offers what it means.
  CHECK(name(Init(46, {kBit43})) == "lookup-handle-v3");
  CHECK(name(Init(47, {kBit43})) == "lookup-handle-v3");
  CHECK(name(Init(45, {kBit43})) == "mainline");
  // Bits of flags2 count for nothing without INIT_EXT.
  abi::InitIn without = Init(46, {kBit43});
  without.flags = 0;
  CHECK(name(without) == "mainline");
}

TEST_CASE("recorded INITs", "[dialect]") {
  auto recognize = [](const std::string& file) {
    Wire message = Load(file);
    auto raw = Split(message.bytes(), 16);
    REQUIRE(raw.ok());
    auto init = Decode<Opcode::kInit>(*raw);
    REQUIRE(init.ok());
    return RecognizeInit(init->in);
  };
  Fingerprint fixed = recognize("01-init-bit43-offered.req.hex");
  CHECK(fixed.dialect->name == "lookup-handle-v3");
  CHECK(fixed.evidence ==
        "minor 46 offers INIT bit 43 and not bit 41: LOOKUP_HANDLE");
  Fingerprint posted = recognize("02-init-as-posted-rfc.req.hex");
  CHECK(posted.dialect->name == "lookup-handle-v3");
  CHECK(posted.evidence ==
        "minor 46 with INIT bit 2: the LOOKUP_HANDLE RFC v3");
}

TEST_CASE("the framing of a compound, by its bytes", "[dialect]") {
  auto name = [](const Wire& body) -> std::string_view {
    const Dialect* dialect = RecognizeCompound(body.bytes());
    return dialect == nullptr ? "none" : dialect->name;
  };
  Wire lookup = LookupSub(1, "a"), statx = StatxSub(1);
  Wire flush = Sub(25, 7, Wire(24));
  CHECK(name(V5(2, 0, 458, {lookup, statx})) == "lookup-handle-v3");
  CHECK(name(V6(1, 458, {lookup, statx})) == "compound-v6");
  CHECK(name(V6(0, 458, {lookup, statx})) == "compound-v6");
  CHECK(name(V7({PrefixV7(0xff), lookup, PrefixV7(0), statx})) ==
        "compound-v7");
  // Without any result only the chain tells.
  CHECK(name(V5(1, 0, 0, {flush})) == "lookup-handle-v3");
  CHECK(name(V5(2, 1, 0, {flush, flush})) == "lookup-handle-v3");
  CHECK(name(V6(1, 0, {flush})) == "compound-v6");
  CHECK(name(V6(0, 0, {flush})) == "compound-v6");
  CHECK(name(V7({PrefixV7(0xff), flush})) == "compound-v7");
  // None fits.
  CHECK(name({}) == "none");
  CHECK(name(Wire(15)) == "none");
  CHECK(name(Wire(16)) == "none");
  CHECK(name(Wire(200)) == "none");
  CHECK(name(V5(3, 0, 458, {lookup, statx})) == "none");
  CHECK(name(V5(2, 0, 458, {lookup, statx}).Append("x")) == "none");
  CHECK(name(V6(0, 458, {lookup, statx}).Append("x")) == "none");
  CHECK(name(V7({PrefixV7(0xff), lookup, PrefixV7(1), statx})) == "none");
}

TEST_CASE("sizes of what a sub is answered", "[dialect]") {
  auto size = [](Opcode op) { return FixedReplySize(RowOf(op)); };
  CHECK(size(Opcode::kLookupHandle) == 170);
  CHECK(size(Opcode::kMkobjHandle) == 170);
  CHECK(FixedReplySize(RowOf(Opcode::kLookupHandle), EntryShape::kInline) ==
        426);
  CHECK(size(Opcode::kStatx) == 288);
  CHECK(size(Opcode::kGetattr) == 104);
  CHECK(size(Opcode::kOpen) == 16);
  CHECK(size(Opcode::kOpendir) == 16);
  CHECK(size(Opcode::kLookup) == 128);
  CHECK(size(Opcode::kMkdir) == 128);
  CHECK(size(Opcode::kCreate) == 144);
  CHECK(size(Opcode::kFlush) == 0);
  CHECK(size(Opcode::kReadlink) == 0);
  CHECK(size(Opcode::kRead) == 0);
}

TEST_CASE("ops that are no subs", "[dialect]") {
  for (Opcode op : {Opcode::kCompound, Opcode::kInit, Opcode::kDestroy,
                    Opcode::kForget, Opcode::kBatchForget, Opcode::kInterrupt,
                    Opcode::kNotifyReply, Opcode::kSetlkw, Opcode::kCuseInit}) {
    CHECK_FALSE(MayBeSub(RowOf(op)));
  }
  for (Opcode op : {Opcode::kLookup, Opcode::kLookupHandle, Opcode::kStatx,
                    Opcode::kOpen, Opcode::kGetattr, Opcode::kMkobjHandle,
                    Opcode::kRead, Opcode::kRelease, Opcode::kSetxattr}) {
    CHECK(MayBeSub(RowOf(op)));
  }
}

TEST_CASE("heads of replies", "[dialect]") {
  for (const Dialect* dialect : Dialects()) {
    if (!dialect->has_compounds()) continue;
    CAPTURE(dialect->name);
    std::array<std::byte, kCompoundHeadSize> space;
    space.fill(std::byte{0xee});
    ReplyBuffer out(space);
    dialect->put_head(out, 3);
    CHECK(out.size() == kCompoundHeadSize);
    for (size_t i = 0; i < space.size(); ++i) {
      int wanted = i == 0 && dialect->head_counts ? 3 : 0;
      CHECK(std::to_integer<int>(space[i]) == wanted);
    }
  }
}

// What is built from the structs is the vector, byte for byte.
class Reply {
 public:
  explicit Reply(uint64_t unique) : unique_(unique) {
    out_.Use(sizeof(abi::OutHeader));
    FindDialect("lookup-handle-v3")->put_head(out_, 0);
  }
  template <typename T>
  Reply& Sub(const T& payload, size_t size = sizeof(T),
             std::string_view handle = {}) {
    out_.Put(MakeOutHeader(Unique{0}, size));
    size_t end = out_.size() + size;
    out_.Put(payload);
    if (size != sizeof(T)) {
      out_.Put(abi::FileHandle{static_cast<uint16_t>(handle.size())});
      std::memcpy(out_.Space().data(), handle.data(), handle.size());
      out_.Use(handle.size());
    }
    out_.Use(end - out_.size());
    ++count_;
    return *this;
  }
  Reply& Error(int error) {
    out_.Put(MakeErrorHeader(Unique{0}, Errno(error)));
    ++count_;
    return *this;
  }
  std::vector<uint8_t> bytes() {
    ReplyBuffer head(space_);
    head.Put(
        MakeOutHeader(Unique{unique_}, out_.size() - sizeof(abi::OutHeader)));
    FindDialect("lookup-handle-v3")->put_head(head, count_);
    auto* begin = reinterpret_cast<const uint8_t*>(space_.data());
    return {begin, begin + out_.size()};
  }

 private:
  const uint64_t unique_;
  std::array<std::byte, 1024> space_{};
  ReplyBuffer out_{space_};
  size_t count_ = 0;
};

abi::Entry2Out Entry(uint64_t node) {
  abi::Entry2Out entry{};
  entry.nodeid = node;
  entry.generation = 1;
  entry.entry_valid = 1;
  return entry;
}
abi::StatxOut Attributes(uint64_t ino, uint64_t size, uint64_t blocks) {
  abi::StatxOut out{};
  out.attr_valid = 1;
  abi::Statx& stat = out.stat;
  stat.mask = 0xfff;
  stat.blksize = 4096;
  stat.nlink = 1;
  stat.uid = stat.gid = 1000;
  stat.mode = 0100644;
  stat.ino = ino;
  stat.size = size;
  stat.blocks = blocks;
  for (auto* time : {&stat.atime, &stat.btime, &stat.ctime, &stat.mtime}) {
    time->tv_sec = 0x6955b900;
  }
  return out;
}
constexpr std::string_view kHandle =
    "\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xab"sv;

TEST_CASE("replies as of the vectors", "[dialect]") {
  CHECK(Reply(6)
            .Sub(Entry(42), kEntry2Size, kHandle)
            .Sub(Attributes(9001, 5, 1))
            .bytes() == Load("v5_lookup_reply_ok.bin").raw());
  CHECK(Reply(6).Error(ENOENT).Error(ENOENT).bytes() ==
        Load("v5_lookup_reply_enoent.bin").raw());
  abi::OpenOut open{};
  open.fh = 85;
  CHECK(Reply(12)
            .Sub(Entry(43), kEntry2Size, kHandle)
            .Sub(Attributes(9002, 0, 0))
            .Sub(open)
            .bytes() == Load("v5_mkobj_reply_ok.bin").raw());
}

}  // namespace
}  // namespace handlefs::proto
