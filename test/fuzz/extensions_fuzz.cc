// libFuzzer: bytes as the extension area of a request.
#include <cstdint>
#include <span>

#include "decode_all.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  handlefs::test::ExtensionsAll(std::as_bytes(std::span(data, size)));
  return 0;
}
