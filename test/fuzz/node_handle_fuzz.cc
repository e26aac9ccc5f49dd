// libFuzzer: bytes as a nodeid and the handle that a kernel kept for it.
#include <cstdint>
#include <span>

#include "node_handle_all.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  handlefs::test::NodeHandleAll(std::as_bytes(std::span(data, size))).Check();
  return 0;
}
