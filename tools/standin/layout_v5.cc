// LOOKUP_HANDLE RFC v3 (posted 2026-02-25) on compounds v5 (2026-02-10), as a
// kernel with both was seen to send it: unique and total_extlen of the subs
// are 0, credentials are repeated, an OPEN+GETATTR for every open, whatever the
// INIT says.
#include "layouts.h"

namespace handlefs::standin {
namespace {

constexpr uint32_t kSeparable = 1 << 0;
constexpr uint32_t kAtomic = 1 << 1;

void PutV5(const abi::InHeader& outer, const Plan& plan, Buffer& body) {
  Put(body, abi::CompoundInV5{
                .count = static_cast<uint32_t>(plan.subs.size()),
                .flags = plan.together == Together::kAtomic      ? kAtomic
                         : plan.together == Together::kSeparable ? kSeparable
                                                                 : 0,
                .result_size = static_cast<uint32_t>(plan.ResultSize()),
                .hole = 0,
                .reserved = 0});
  abi::InHeader header{};
  header.uid = outer.uid;
  header.gid = outer.gid;
  header.pid = outer.pid;
  for (const Sub& sub : plan.subs) PutSub(header, sub, body);
}

// The kernel parses as many subs as both sides say; those that are missing
// count as successes that are all zero, which ends in a BUG().
std::optional<std::string> CheckHeadV5(Bytes bytes, const Plan& plan) {
  auto head = proto::Cursor(bytes).Take<abi::CompoundOutV5>();
  if (head->count != plan.subs.size()) {
    return "compound_out.count is " + std::to_string(head->count) + " of " +
           std::to_string(plan.subs.size());
  }
  if (head->flags != 0 || head->reserved != 0) {
    return "compound_out has flags that nobody knows";
  }
  return std::nullopt;
}

constexpr Framing kV5 = {
    .put = &PutV5, .check_head = &CheckHeadV5, .limits_result = true};

// Only OPEN+GETATTR falls back, each time anew: nothing is remembered. A
// LOOKUP_HANDLE has no fallback, and its ENOSYS is the user's.
bool ReplaysV5(int error) { return error == ENOSYS; }

}  // namespace

constinit const Layout kLayoutV3 = {
    .name = "lookup-handle-v3",
    .about = "the RFC of LOOKUP_HANDLE, version 3, on compounds version 5",
    .framing = &kV5,
    .offers_handles = true,
    .lookup = LookupForm::kHandleAndStatx,
    .open_with_getattr = Often::kAlways,
    .creates_by_mkobj = true,
    .replays = &ReplaysV5,
};

constinit const Layout kLayoutAll = {
    .name = "lookup-handle-all",
    .about = "experiment: as v3, and every request carries its nodes' handles",
    .framing = &kV5,
    .offers_handles = true,
    .lookup = LookupForm::kHandleAndStatx,
    .open_with_getattr = Often::kAlways,
    .creates_by_mkobj = true,
    .handles_everywhere = true,
    .replays = &ReplaysV5,
};

}  // namespace handlefs::standin
