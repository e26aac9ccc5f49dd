// Compounds v6 (posted 2026-02-26): no count, the sub's index as its unique, no
// credentials in the subs. A failure of the whole is answered by sending the
// ops one by one.
#include "layouts.h"

namespace handlefs::standin {
namespace {

constexpr uint32_t kSeparable = 1 << 0;
constexpr uint32_t kAtomic = 1 << 2;

void PutV6(const abi::InHeader&, const Plan& plan, Buffer& body) {
  Put(body, abi::CompoundInV6{
                .flags = plan.together == Together::kAtomic      ? kAtomic
                         : plan.together == Together::kSeparable ? kSeparable
                                                                 : 0,
                .result_size = static_cast<uint32_t>(plan.ResultSize()),
                .reserved = 0});
  abi::InHeader header{};
  for (const Sub& sub : plan.subs) {
    PutSub(header, sub, body);
    ++header.unique;
  }
}

std::optional<std::string> CheckHeadV6(Bytes bytes, const Plan&) {
  auto head = proto::Cursor(bytes).Take<abi::CompoundOutV6>();
  if (head->flags != 0 || head->padding != 0 || head->reserved != 0) {
    return "compound_out is not all zero";
  }
  return std::nullopt;
}

constexpr Framing kV6 = {
    .put = &PutV6, .check_head = &CheckHeadV6, .limits_result = true};

bool Any(int) { return true; }

}  // namespace

constinit const Layout kLayoutV6 = {
    .name = "compound-v6",
    .about = "compounds version 6, no handles",
    .framing = &kV6,
    .open_with_getattr = Often::kAlways,
    .replays = &Any,
};

}  // namespace handlefs::standin
