// Cuts what a file or a pipe holds into FUSE messages. Two formats:
//
// * Binary: messages one behind the other, each as long as its header says.
// * Hex: digits with or without blanks, over as many lines as one likes. `#`
//   begins a comment. A message ends where its header says, at an empty line,
//   and at a mark: `>` stands before requests and `<` before replies, up to the
//   next mark or empty line. A line `rx HEX` is one request and `tx HEX` one
//   reply; the other lines of the daemon's log are passed over.
//
// A message that ends too early is handed on as it is.
#ifndef HANDLEFS_TOOLS_TRACE_READER_H_
#define HANDLEFS_TOOLS_TRACE_READER_H_

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "proto/cursor.h"

namespace handlefs::trace {

enum class Direction { kUnknown, kRequest, kReply };

class Reader {
 public:
  enum class Format { kDetect, kHex, kBinary };
  using Sink = std::function<void(Direction, proto::Bytes)>;

  Reader(Format format, Sink sink) : format_(format), sink_(std::move(sink)) {}

  // False: what comes cannot be read; `error` says why.
  bool Feed(std::string_view bytes);
  // At the end of the input.
  bool Finish();

  size_t messages() const { return messages_; }
  const std::string& error() const { return error_; }

 private:
  bool TakeLine(std::string_view line);
  bool TakeHex(std::string_view text);
  void Cut();
  void Flush();
  void Hand(std::string_view message);
  bool Fail(std::string_view why, std::string_view what);

  Format format_;
  const Sink sink_;
  Direction direction_ = Direction::kUnknown;
  std::string input_;    // hex: an unfinished line
  std::string message_;  // an unfinished message
  size_t line_ = 0;
  size_t messages_ = 0;
  std::string error_;
};

}  // namespace handlefs::trace

#endif  // HANDLEFS_TOOLS_TRACE_READER_H_
