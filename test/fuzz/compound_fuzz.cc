// libFuzzer: bytes as a compound in every framing, and as the reply to one.
#include <cstdint>
#include <span>

#include "compound_all.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  handlefs::test::CompoundAll(std::as_bytes(std::span(data, size)));
  return 0;
}
