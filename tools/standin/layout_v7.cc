// Compounds v7 (posted 2026-06-04): dependencies in a prefix of each sub. Sent
// where attributes are stale, and to revalidate a name with its attributes.
#include <cerrno>

#include "layouts.h"

namespace handlefs::standin {
namespace {

void PutV7(const abi::InHeader& outer, const Plan& plan, Buffer& body) {
  Put(body, abi::CompoundV7{});
  abi::InHeader header{};
  header.uid = outer.uid;
  header.gid = outer.gid;
  header.pid = outer.pid;
  for (const Sub& sub : plan.subs) {
    Put(body, abi::CompoundSubV7{.dep_index = sub.node_of, .reserved = {}});
    PutSub(header, sub, body);
  }
}

std::optional<std::string> CheckHeadV7(Bytes bytes, const Plan&) {
  auto head = proto::Cursor(bytes).Take<abi::CompoundV7>();
  if (head->reserved[0] != 0 || head->reserved[1] != 0) {
    return "compound_out is not all zero";
  }
  return std::nullopt;
}

constexpr Framing kV7 = {
    .put = &PutV7, .check_head = &CheckHeadV7, .limits_result = false};

bool ReplaysV7(int error) { return error == ENOSYS || error == EOPNOTSUPP; }

}  // namespace

constinit const Layout kLayoutV7 = {
    .name = "compound-v7",
    .about = "compounds version 7, no handles",
    .framing = &kV7,
    .lookup = LookupForm::kPlainAndGetattr,
    .open_with_getattr = Often::kSometimes,
    .replays = &ReplaysV7,
    .remembers_enosys = true,
};

}  // namespace handlefs::standin
