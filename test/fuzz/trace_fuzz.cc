// libFuzzer: bytes as the input of handlefs-trace.
#include <cstdint>

#include "trace_all.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  handlefs::test::TraceAll({reinterpret_cast<const char*>(data), size});
  return 0;
}
