#include "daemon/control/followers.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace handlefs {

Followers::~Followers() {
  std::thread thread;
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    thread = std::move(thread_);
    Wake();
  }
  if (thread.joinable()) thread.join();
}

absl::Status Followers::Add(UniqueFd& connection, std::string greeting) {
  absl::MutexLock lock(&mutex_);
  if (followers_.size() >= kMost) {
    return absl::ResourceExhaustedError(
        absl::StrCat(kMost, " follow the trace already"));
  }
  if (!wake_) wake_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) return absl::ErrnoToStatus(errno, "cannot follow the trace");
  if (!thread_.joinable()) thread_ = std::thread([this] { Serve(); });
  Follower& follower = followers_.emplace_back();
  follower.fd = std::move(connection);
  follower.buffer = std::move(greeting);
  count_.store(followers_.size());
  Wake();
  return absl::OkStatus();
}

void Followers::Wake() {
  const uint64_t one = 1;
  if (wake_) (void)!write(wake_.get(), &one, sizeof(one));
}

void Followers::TellDropped(Follower& follower) {
  if (follower.dropped == 0) return;
  absl::StrAppend(&follower.buffer, "... ", follower.dropped,
                  " dropped: the reader is too slow\n");
  follower.dropped = 0;
}

void Followers::Append(Follower& follower, std::string_view lines) {
  const size_t waits = follower.buffer.size() - follower.sent;
  if (waits + lines.size() + 1 > kBuffer) {
    ++follower.dropped;
    return;
  }
  TellDropped(follower);
  follower.buffer.append(lines);
  follower.buffer.push_back('\n');
}

void Followers::Tell(std::string_view lines) {
  absl::MutexLock lock(&mutex_);
  bool wake = false;
  for (Follower& follower : followers_) {
    wake = wake || follower.buffer.empty();
    Append(follower, lines);
  }
  if (wake) Wake();
}

bool Followers::Send(Follower& follower) {
  while (follower.sent < follower.buffer.size()) {
    ssize_t n = send(follower.fd.get(), follower.buffer.data() + follower.sent,
                     follower.buffer.size() - follower.sent,
                     MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n <= 0) return false;
    follower.sent += static_cast<size_t>(n);
  }
  if (follower.sent == follower.buffer.size()) {
    follower.buffer.clear();
    follower.sent = 0;
    TellDropped(follower);
  } else if (follower.sent > kBuffer / 4) {
    follower.buffer.erase(0, follower.sent);
    follower.sent = 0;
  }
  return true;
}

void Followers::Serve() {
  while (true) {
    std::vector<pollfd> fds = {{wake_.get(), POLLIN, 0}};
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_) return;
      for (const Follower& follower : followers_) {
        const int events = follower.buffer.empty() ? 0 : POLLOUT;
        fds.push_back(
            {follower.fd.get(), static_cast<short>(events | POLLRDHUP), 0});
      }
    }
    if (poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) return;
    uint64_t count = 0;
    (void)!read(wake_.get(), &count, sizeof(count));
    absl::MutexLock lock(&mutex_);
    // Others are added behind, and removed here alone.
    size_t i = 1;
    for (auto it = followers_.begin(); it != followers_.end(); ++i) {
      const int events = i < fds.size() ? fds[i].revents : 0;
      const bool gone = (events & (POLLHUP | POLLRDHUP | POLLERR)) != 0;
      it = gone || !Send(*it) ? followers_.erase(it) : std::next(it);
    }
    count_.store(followers_.size());
  }
}

}  // namespace handlefs
