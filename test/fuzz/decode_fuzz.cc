// libFuzzer: bytes as a request, a reply and a notification.
#include <cstdint>
#include <span>

#include "decode_all.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  handlefs::test::DecodeAll(std::as_bytes(std::span(data, size)));
  return 0;
}
