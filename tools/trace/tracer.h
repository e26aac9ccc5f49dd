// Turns messages into lines, and remembers what a line about a later message
// needs: who was asked what, the framing of compounds, the handle of each node.
#ifndef HANDLEFS_TOOLS_TRACE_TRACER_H_
#define HANDLEFS_TOOLS_TRACE_TRACER_H_

#include <cstdint>
#include <string>
#include <unordered_map>

#include "proto/explain.h"
#include "reader.h"

namespace handlefs::trace {

class Tracer {
 public:
  // `dialect` null: told from the messages. `direction` is that of messages
  // without a mark; kUnknown: told from each.
  Tracer(const proto::Dialect* dialect, Direction direction)
      : dialect_(dialect), direction_(direction) {}

  // One line or several, each with its newline.
  std::string Take(Direction direction, proto::Bytes message);
  // How many things were flagged so far.
  int problems() const { return problems_; }

 private:
  proto::Explanation Request(proto::Bytes message);
  proto::Explanation Reply(proto::Bytes message);
  void Forget(const proto::RawRequest& raw);
  void Compare(proto::Explanation& out);

  const proto::Dialect* const dialect_;
  const Direction direction_;
  const proto::Dialect* framing_ = nullptr;
  size_t setxattr_size_ = 16;
  std::unordered_map<uint64_t, proto::Asked> asked_;
  std::unordered_map<uint64_t, std::string> handles_;
  int problems_ = 0;
};

}  // namespace handlefs::trace

#endif  // HANDLEFS_TOOLS_TRACE_TRACER_H_
