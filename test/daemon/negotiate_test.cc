// The answer to INIT.
#include "daemon/negotiate.h"

#include <catch2/catch.hpp>
#include <vector>

namespace handlefs::test {
namespace {

using proto::InitFlags;
namespace init = proto::init;

constexpr HostFacts kPlainHost{};
constexpr HostFacts kCapableHost{.can_register_backing = true};

InitFlags Everything() { return InitFlags::FromWire(~0u, ~0u); }

abi::InitIn Offer(InitFlags flags, uint32_t minor = proto::kMinor) {
  abi::InitIn in{};
  in.major = 7;
  in.minor = minor;
  in.max_readahead = 131072;
  in.flags = flags.low();
  in.flags2 = flags.high();
  return in;
}

Negotiated Agreed(const abi::InitIn& in, const Options& options = {},
                  const HostFacts& facts = kCapableHost) {
  InitAnswer answer = Negotiate(in, options, facts);
  REQUIRE(std::holds_alternative<Negotiated>(answer));
  return std::get<Negotiated>(answer);
}

InitFlags AnsweredFlags(const Negotiated& n) {
  return InitFlags::FromWire(n.out.flags, n.out.flags2);
}

// What is always answered where it is offered.
const std::vector<init::Bit> kAlways = {
    init::kAsyncRead,      init::kAtomicOTrunc,     init::kBigWrites,
    init::kDontMask,       init::kPosixAcl,         init::kHasIoctlDir,
    init::kDoReaddirplus,  init::kReaddirplusAuto,  init::kAsyncDio,
    init::kParallelDirops, init::kHandleKillprivV2, init::kSetxattrExt,
    init::kAbortError,     init::kMaxPages,         init::kCacheSymlinks,
    init::kInitExt,        init::kSecurityCtx,      init::kCreateSuppGroup,
    init::kHasResend};
// What is never answered: what the server does not do, or must not.
const std::vector<init::Bit> kNever = {
    init::kFileOps,      init::kSpliceWrite,    init::kSpliceMove,
    init::kSpliceRead,   init::kWritebackCache, init::kHandleKillpriv,
    init::kMapAlignment, init::kInitReserved,   init::kHasInodeDax,
    init::kAllowIdmap,   init::kOverIoUring,    init::kRequestTimeout,
    init::kBit43};

TEST_CASE("a flag is answered if it is offered, and only then", "[init]") {
  for (init::Bit bit : kAlways) {
    INFO("bit " << int{bit});
    CHECK(Agreed(Offer(Everything())).flags.Has(bit));
    InitFlags without = Everything();
    without.Remove(bit);
    CHECK_FALSE(Agreed(Offer(without)).flags.Has(bit));
    // Alone, too; the upper half travels with INIT_EXT.
    InitFlags alone;
    alone.Add(bit);
    if (bit >= 32) alone.Add(init::kInitExt);
    CHECK(Agreed(Offer(alone)).flags == alone);
  }
}

TEST_CASE("flags that mean trouble are never answered", "[init]") {
  for (Cache cache : {Cache::kNone, Cache::kAuto, Cache::kAlways}) {
    for (Locks locks : {Locks::kHost, Locks::kLocal}) {
      for (Switch exported : {Switch::kOff, Switch::kOn}) {
        Options options;
        options.cache = cache;
        options.locks = locks;
        options.exported = exported;
        Negotiated agreed = Agreed(Offer(Everything()), options);
        for (init::Bit bit : kNever) {
          INFO("bit " << int{bit});
          CHECK_FALSE(agreed.flags.Has(bit));
        }
        // Bits without a name yet.
        for (int bit = 44; bit < 64; ++bit) {
          CHECK_FALSE(agreed.flags.Has(static_cast<init::Bit>(bit)));
        }
      }
    }
  }
}

TEST_CASE("rings are taken where a crash may lose what is in them", "[init]") {
  HostFacts device = kCapableHost;
  device.is_device = true;
  for (Transport transport : {Transport::kAuto, Transport::kDev}) {
    for (Restart restart :
         {Restart::kOff, Restart::kBest, Restart::kLossless}) {
      Options options;
      options.transport = transport;
      options.restart = restart;
      CHECK(Agreed(Offer(Everything()), options, device)
                .flags.Has(init::kOverIoUring) ==
            (transport == Transport::kAuto && restart != Restart::kLossless));
    }
  }
}

TEST_CASE("nothing is answered that was not offered", "[init]") {
  // Each single bit, and nothing at all.
  for (int bit = -1; bit < 64; ++bit) {
    InitFlags offered;
    if (bit >= 0) offered.Add(static_cast<init::Bit>(bit));
    if (bit >= 32) offered.Add(init::kInitExt);
    Negotiated agreed = Agreed(Offer(offered));
    CHECK((agreed.flags.bits() & ~offered.bits()) == 0);
    CHECK(AnsweredFlags(agreed) == agreed.flags);
  }
}

TEST_CASE("without INIT_EXT the upper half is void", "[init]") {
  InitFlags offered = Everything();
  offered.Remove(init::kInitExt);
  Negotiated agreed = Agreed(Offer(offered));
  CHECK(agreed.out.flags2 == 0);
  CHECK(agreed.flags.high() == 0);
  CHECK_FALSE(agreed.flags.Has(init::kSecurityCtx));
}

TEST_CASE("old kernels are refused", "[init]") {
  uint32_t minor = GENERATE(0u, 4u, 5u, 8u, 22u, 23u, 30u, 35u);
  InitAnswer answer = Negotiate(Offer(Everything(), minor), {}, kCapableHost);
  REQUIRE(std::holds_alternative<Refused>(answer));
  const Refused& refused = std::get<Refused>(answer);
  CHECK(refused.error == EPROTO);
  CHECK(refused.why.find("7." + std::to_string(minor)) != std::string::npos);
  CHECK(refused.why.find("7.36") != std::string::npos);
  CHECK(refused.why.find('\n') == std::string::npos);
}

TEST_CASE("the smaller minor is spoken", "[init]") {
  for (uint32_t minor : {36u, 38u, 40u, proto::kMinor}) {
    Negotiated agreed = Agreed(Offer(Everything(), minor));
    CHECK(agreed.out.major == 7);
    CHECK(agreed.out.minor == minor);
  }
  for (uint32_t minor : {proto::kMinor + 1, 99u, ~0u}) {
    CHECK(Agreed(Offer(Everything(), minor)).out.minor == proto::kMinor);
  }
}

TEST_CASE("another major", "[init]") {
  abi::InitIn in = Offer(Everything());
  SECTION("later: ours is told, and nothing else") {
    in.major = GENERATE(8u, 100u, ~0u);
    InitAnswer answer = Negotiate(in, {}, kCapableHost);
    REQUIRE(std::holds_alternative<TryAgain>(answer));
    const abi::InitOut& out = std::get<TryAgain>(answer).out;
    CHECK(out.major == 7);
    CHECK(out.minor == proto::kMinor);
    CHECK(out.flags == 0);
    CHECK(out.max_write == 0);
  }
  SECTION("earlier: refused") {
    in.major = GENERATE(0u, 6u);
    CHECK(std::holds_alternative<Refused>(Negotiate(in, {}, kCapableHost)));
  }
}

TEST_CASE("what is answered is whole", "[init]") {
  abi::InitIn in = Offer(Everything());
  in.max_readahead = 123456;
  Negotiated agreed = Agreed(in);
  const abi::InitOut& out = agreed.out;
  CHECK(out.max_readahead == 123456);
  CHECK(out.time_gran == 1);
  CHECK(out.max_background > 12);
  CHECK(out.congestion_threshold > 0);
  CHECK(out.congestion_threshold <= out.max_background);
  CHECK(out.map_alignment == 0);
  // Never set: the kernel would end the connection of a slow server.
  CHECK(out.request_timeout == 0);
  for (uint16_t unused : out.unused) CHECK(unused == 0);
}

struct Size {
  uint32_t asked, write;
  uint16_t pages;
};

TEST_CASE("sizes are whole pages", "[init]") {
  auto size = GENERATE(Size{4096, 4096, 1}, Size{4097, 4096, 1},
                       Size{8191, 4096, 1}, Size{131072, 131072, 32},
                       Size{200000, 196608, 48}, Size{1 << 20, 1 << 20, 256});
  Options options;
  options.max_write = size.asked;
  Negotiated agreed = Agreed(Offer(Everything()), options);
  CHECK(agreed.out.max_write == size.write);
  CHECK(agreed.out.max_pages == size.pages);
}

TEST_CASE("without MAX_PAGES a request has 32 pages", "[init]") {
  InitFlags offered = Everything();
  offered.Remove(init::kMaxPages);
  Options options;
  Negotiated agreed = Agreed(Offer(offered), options);
  CHECK(agreed.out.max_write == 131072);
  CHECK(agreed.out.max_pages == 0);
  options.max_write = 65536;
  CHECK(Agreed(Offer(offered), options).out.max_write == 65536);
}

TEST_CASE("locks", "[init]") {
  Options options;
  options.locks = Locks::kHost;
  Negotiated host = Agreed(Offer(Everything()), options);
  CHECK(host.flags.Has(init::kPosixLocks));
  CHECK(host.flags.Has(init::kFlockLocks));
  options.locks = Locks::kLocal;
  Negotiated local = Agreed(Offer(Everything()), options);
  CHECK_FALSE(local.flags.Has(init::kPosixLocks));
  CHECK_FALSE(local.flags.Has(init::kFlockLocks));
}

TEST_CASE("cached pages are checked unless the cache is for ever", "[init]") {
  Options options;
  for (Cache cache : {Cache::kNone, Cache::kAuto, Cache::kAlways}) {
    options.cache = cache;
    Negotiated agreed = Agreed(Offer(Everything()), options);
    CHECK(agreed.flags.Has(init::kAutoInvalData) == (cache != Cache::kAlways));
  }
}

TEST_CASE("handles of the mount are off unless it is exported", "[init]") {
  Options options;
  Negotiated closed = Agreed(Offer(Everything()), options);
  CHECK(closed.flags.Has(init::kNoExportSupport));
  CHECK_FALSE(closed.flags.Has(init::kExportSupport));
  options.exported = Switch::kOn;
  Negotiated open = Agreed(Offer(Everything()), options);
  CHECK(open.flags.Has(init::kExportSupport));
  CHECK_FALSE(open.flags.Has(init::kNoExportSupport));
}

TEST_CASE("a read-only mount is negotiated like any other", "[init]") {
  Options options;
  Negotiated writable = Agreed(Offer(Everything()), options);
  options.read_only = Switch::kOn;
  CHECK(Agreed(Offer(Everything()), options).flags == writable.flags);
}

TEST_CASE("passthrough where it is wanted and possible", "[init]") {
  InitFlags old = Everything();
  old.Remove(init::kPassthrough);
  auto has = [](const Negotiated& n) {
    return n.flags.Has(init::kPassthrough);
  };
  Options options;
  SECTION("auto") {
    CHECK(has(Agreed(Offer(Everything()), options, kCapableHost)));
    CHECK_FALSE(has(Agreed(Offer(Everything()), options, kPlainHost)));
    CHECK_FALSE(has(Agreed(Offer(old), options, kCapableHost)));
  }
  SECTION("off") {
    options.passthrough = Passthrough::kOff;
    Negotiated agreed = Agreed(Offer(Everything()), options, kCapableHost);
    CHECK_FALSE(has(agreed));
    CHECK(agreed.out.max_stack_depth == 0);
  }
  SECTION("on") {
    options.passthrough = Passthrough::kOn;
    CHECK(has(Agreed(Offer(Everything()), options, kCapableHost)));
    auto why = [&](InitFlags flags, const HostFacts& facts) {
      InitAnswer answer = Negotiate(Offer(flags), options, facts);
      REQUIRE(std::holds_alternative<Refused>(answer));
      CHECK(std::get<Refused>(answer).error == EPROTO);
      return std::get<Refused>(answer).why;
    };
    CHECK(why(old, kCapableHost).find("does not offer") != std::string::npos);
    CHECK(why(Everything(), kPlainHost).find("CAP_SYS_ADMIN") !=
          std::string::npos);
  }
}

TEST_CASE("passthrough takes a level of stacking", "[init]") {
  HostFacts facts = kCapableHost;
  CHECK(Agreed(Offer(Everything()), {}, facts).out.max_stack_depth == 1);
  facts.source_is_stacked = true;
  CHECK(Agreed(Offer(Everything()), {}, facts).out.max_stack_depth == 2);
  facts.can_register_backing = false;
  CHECK(Agreed(Offer(Everything()), {}, facts).out.max_stack_depth == 0);
}

}  // namespace
}  // namespace handlefs::test
