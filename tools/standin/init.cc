#include "init.h"

#include <algorithm>

#include "proto/flags.h"

namespace handlefs::standin {
namespace {

using proto::InitFlags;
namespace init = proto::init;

constexpr uint32_t kMinorOfV3 = 46;
constexpr uint32_t kPage = 4096;
// The extension of two handles, behind the data of a full WRITE.
constexpr uint32_t kRoomForHandles = kPage;

}  // namespace

Buffer ToServer(const Layout& layout, Bytes request) {
  Buffer out(request.begin(), request.end());
  constexpr size_t kAt = sizeof(abi::InHeader);
  auto in = proto::Cursor(request.subspan(kAt)).Take<abi::InitIn>();
  if (!layout.offers_handles || !in) return out;
  InitFlags flags = InitFlags::FromWire(in->flags, in->flags2);
  // The RFC sets the number of its opcode, 55, in place of the flag: of its
  // bits only this one is not offered anyway. Bit 43 is never offered.
  flags.Add(init::kFileOps).Remove(init::kBit43);
  in->minor = std::max(in->minor, kMinorOfV3);
  in->flags = flags.low();
  in->flags2 = flags.high();
  std::memcpy(out.data() + kAt, &*in, sizeof(*in));
  return out;
}

InitAnswer ToKernel(const Layout& layout, Bytes request, Bytes reply,
                    size_t data_limit, Complaints& complaints) {
  InitAnswer answer;
  answer.reply.assign(reply.begin(), reply.end());
  constexpr size_t kAt = sizeof(abi::OutHeader);
  auto in =
      proto::Cursor(request.subspan(sizeof(abi::InHeader))).Take<abi::InitIn>();
  auto out = proto::Cursor(reply.subspan(kAt)).Take<abi::InitOut>();
  // An error, or a server that speaks another major version.
  if (!in || !out || out->major != in->major) return answer;
  answer.agreed = true;
  InitFlags flags = InitFlags::FromWire(out->flags, out->flags2);
  answer.has_handles = layout.offers_handles && flags.Has(init::kBit43);
  if (layout.offers_handles && !answer.has_handles) {
    Say("the server does not answer INIT bit 43: no LOOKUP_HANDLE is sent");
  }
  if (answer.has_handles && flags.Has(init::kDoReaddirplus)) {
    complaints.Add(
        "INIT: READDIRPLUS beside LOOKUP_HANDLE; its entries have no handles");
  }
  // What needs /dev/fuse itself, and what is not translated.
  for (init::Bit bit :
       {init::kPassthrough, init::kOverIoUring, init::kDoReaddirplus,
        init::kReaddirplusAuto, init::kBit43}) {
    flags.Remove(bit);
  }
  out->flags = flags.low();
  out->flags2 = flags.high();
  out->minor = std::min(out->minor, in->minor);
  out->max_stack_depth = 0;
  auto limit = static_cast<uint32_t>(data_limit);
  if (layout.handles_everywhere) {
    limit = std::min(limit, out->max_write - kRoomForHandles);
  }
  if (out->max_write > limit) {
    out->max_write = limit / kPage * kPage;
    out->max_pages = static_cast<uint16_t>(out->max_write / kPage);
  }
  std::memcpy(answer.reply.data() + kAt, &*out, sizeof(*out));
  return answer;
}

}  // namespace handlefs::standin
