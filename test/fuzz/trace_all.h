// What handlefs-trace promises about any input: it is cut alike in whatever
// pieces it comes, and what is written is text.
#ifndef HANDLEFS_TEST_FUZZ_TRACE_ALL_H_
#define HANDLEFS_TEST_FUZZ_TRACE_ALL_H_

#include <algorithm>
#include <string>
#include <string_view>

#include "compound_all.h"
#include "tracer.h"

namespace handlefs::test {

inline std::string Traced(std::string_view input, trace::Reader::Format format,
                          size_t piece) {
  trace::Tracer tracer(nullptr, trace::Direction::kUnknown);
  std::string out;
  trace::Reader reader(
      format, [&](trace::Direction direction, proto::Bytes message) {
        std::string text = tracer.Take(direction, message);
        Require(text.back() == '\n');
        RequireText(std::string_view(text).substr(0, text.size() - 1));
        out += text;
      });
  while (!input.empty() && reader.Feed(input.substr(0, piece))) {
    input.remove_prefix(std::min(piece, input.size()));
  }
  reader.Finish();
  if (!reader.error().empty()) RequireText(reader.error());
  return out + reader.error();
}

inline void TraceAll(std::string_view input) {
  using Format = trace::Reader::Format;
  for (Format format : {Format::kHex, Format::kBinary}) {
    std::string whole = Traced(input, format, std::string_view::npos);
    Require(Traced(input, format, 13) == whole);
  }
}

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_FUZZ_TRACE_ALL_H_
