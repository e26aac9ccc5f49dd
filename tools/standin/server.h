// The server under test: a child process with one end of a socket pair as its
// descriptor 3. One message is one request or reply.
#ifndef HANDLEFS_TOOLS_STANDIN_SERVER_H_
#define HANDLEFS_TOOLS_STANDIN_SERVER_H_

#include <sys/types.h>

#include <cstddef>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "bytes.h"
#include "io/base/fd.h"
#include "proto/base/errno.h"

namespace handlefs::standin {

class Server {
 public:
  // The largest message in either direction.
  static constexpr size_t kLargest = (size_t{1} << 20) + 65536;

  explicit Server(std::vector<std::string> command)
      : command_(std::move(command)) {}
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  Status Start();
  // Ends it at once, as a crash does. What it sent before stays readable no
  // more.
  void Kill();
  // Closes the connection and waits for its end; -1 if it does not end.
  int Stop();

  BorrowedFd socket() const { return socket_; }
  // Data bytes that surely fit into one message.
  size_t data_limit() const { return data_limit_; }

  // Sends now or when there is room.
  void Send(Buffer message);
  // Sends what waits; false if it must be tried again later.
  bool Flush();
  bool is_clogged() const { return waiting_.size() > kMostWaiting; }
  bool has_waiting() const { return !waiting_.empty(); }

  enum class Read { kMessage, kNothing, kEnd };
  // The message stands in `message` until the next call.
  Read Receive(Bytes* message);

 private:
  static constexpr size_t kMostWaiting = 16;
  bool SendOne(const Buffer& message);
  int Wait(int milliseconds);

  const std::vector<std::string> command_;
  UniqueFd socket_;
  pid_t pid_ = -1;
  size_t data_limit_ = 0;
  std::deque<Buffer> waiting_;
  Buffer buffer_;
};

}  // namespace handlefs::standin

#endif  // HANDLEFS_TOOLS_STANDIN_SERVER_H_
