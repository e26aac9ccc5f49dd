#include "proto/dialect.h"

#include <algorithm>

#include "proto/dialects.h"
#include "proto/flags.h"

namespace handlefs::proto {
namespace {

constinit const Dialect kMainline = {
    .name = "mainline",
    .about = "released kernels: no compounds, no handles",
};

constexpr const Dialect* kDialects[] = {
    &kMainline,    &kLookupHandleV3,  &kCompoundV6,         &kCompoundV7,
    &kCompoundDev, &kLookupHandleAll, &kLookupHandleInline,
};

}  // namespace

std::span<const Dialect* const> Dialects() { return kDialects; }
const Dialect& MainlineDialect() { return kMainline; }

const Dialect* FindDialect(std::string_view name) {
  for (const Dialect* dialect : kDialects) {
    if (dialect->name == name) return dialect;
  }
  return nullptr;
}

bool HasBufpoolBit(const abi::InitIn& in) {
  InitFlags offered = InitFlags::FromWire(in.flags, in.flags2);
  return in.minor >= 46 && offered.Has(init::kBit43) &&
         offered.Has(init::kOverIoUring) && !offered.Has(init::kFileOps);
}

Fingerprint RecognizeInit(const abi::InitIn& in) {
  InitFlags offered = InitFlags::FromWire(in.flags, in.flags2);
  std::string minor = "minor " + std::to_string(in.minor);
  // The RFC kernels set the opcode's number in place of the flag, 55 or 54,
  // which shows as bit 2: no other kernel offers that.
  if (offered.Has(init::kFileOps)) {
    if (in.minor >= 46) {
      return {&kLookupHandleV3,
              minor + " with INIT bit 2: the LOOKUP_HANDLE RFC v3"};
    }
    return {&kMainline, minor +
                            " with INIT bit 2: the LOOKUP_HANDLE RFC v2, "
                            "which is served as mainline"};
  }
  if (in.minor >= 46 && offered.Has(init::kBit43) &&
      !offered.Has(init::kOverIoUring)) {
    return {&kLookupHandleV3,
            minor + " offers INIT bit 43 and not bit 41: LOOKUP_HANDLE"};
  }
  return {&kMainline, minor + " without INIT bit 2: a released kernel"};
}

namespace {

bool IsZero(Bytes bytes) {
  return std::all_of(bytes.begin(), bytes.end(),
                     [](std::byte b) { return b == std::byte{0}; });
}

// By the head, the likely ones first.
std::span<const Dialect* const> Candidates(Bytes body) {
  static constexpr const Dialect* kNoFlags[] = {&kCompoundV7, &kCompoundDev,
                                                &kCompoundV6};
  static constexpr const Dialect* kResultSize[] = {&kLookupHandleV3};
  // v5 if no sub has a result.
  static constexpr const Dialect* kZeroThere[] = {&kCompoundV6,
                                                  &kLookupHandleV3};
  if (body.size() < kCompoundHeadSize) return {};
  Bytes head = body.first(kCompoundHeadSize);
  if (IsZero(head)) return kNoFlags;
  // v6 has a zero there, v5 the size of the results.
  if (!IsZero(head.subspan(8, 4))) return kResultSize;
  return kZeroThere;
}

}  // namespace

const Dialect* RecognizeCompound(Bytes body) {
  for (const Dialect* dialect : Candidates(body)) {
    if (dialect->parse(body).ok()) return dialect;
  }
  return nullptr;
}

const Dialect& LikelyFraming(Bytes body) {
  auto candidates = Candidates(body);
  return candidates.empty() ? kLookupHandleV3 : *candidates.front();
}

}  // namespace handlefs::proto
