#include "layouts.h"

namespace handlefs::standin {
namespace {
constexpr const Layout* kLayouts[] = {
    &kLayoutV3, &kLayoutV6, &kLayoutV7, &kLayoutInline, &kLayoutAll,
};
}  // namespace

std::span<const Layout* const> Layouts() { return kLayouts; }

const Layout* FindLayout(std::string_view name) {
  for (const Layout* layout : kLayouts) {
    if (layout->name == name) return layout;
  }
  return nullptr;
}

void PutSub(const abi::InHeader& header, const Sub& sub, Buffer& body) {
  abi::InHeader h = header;
  h.len = static_cast<uint32_t>(sizeof(h) + sub.args.size());
  h.opcode = static_cast<uint32_t>(sub.op);
  h.nodeid = sub.node;
  Put(body, h);
  PutBytes(body, sub.args);
}

}  // namespace handlefs::standin
