#include "daemon/control/drain.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "daemon/control/connection.h"
#include "daemon/control/socket.h"
#include "daemon/stats/report.h"

namespace handlefs {
namespace {

constexpr absl::Duration kLook = absl::Milliseconds(20);

// In a process that has copies of everything, and may hang: it keeps nothing
// open. System calls alone, since other threads had locks when it was made.
[[noreturn]] void SyncBoth(const char* mount_point, unsigned minor_number,
                           int source) {
  // dup2 of itself leaves it as it is.
  if (dup2(source, 3) < 0) _exit(errno);
  close_range(4, ~0U, 0);
  const int mount = open(mount_point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (mount < 0) _exit(errno);
  struct stat st;
  // Something else may be mounted on top.
  if (fstat(mount, &st) != 0 || minor(st.st_dev) != minor_number) {
    _exit(ESTALE);
  }
  if (syncfs(mount) != 0 || syncfs(3) != 0) _exit(errno);
  _exit(0);
}

}  // namespace

void Drain::Begin(const Mounted& mounted, BorrowedFd source,
                  absl::Duration limit, UniqueFd asker) {
  if (asker_ || syncer_.exists()) {
    Answer(std::move(asker), ErrorAnswer("a drain is under way"));
    return;
  }
  const std::string number = ConnectionOf(mounted);
  if (number.empty()) {
    Answer(std::move(asker),
           ErrorAnswer("the mount is not there any more (umount -l, or an "
                       "earlier end)"));
    return;
  }
  const auto minor_number = static_cast<unsigned>(std::stoul(number));
  synced_.reset();
  syncer_ = Child::Fork();
  if (syncer_.is_child()) {
    SyncBoth(mounted.mount_point.c_str(), minor_number, source.get());
  }
  if (!syncer_.exists()) {
    Answer(std::move(asker), ErrorAnswer("cannot make a process"));
    return;
  }
  asker_ = std::move(asker);
  began_ = absl::Now();
  until_ = began_ + limit;
  next_ = std::min(began_ + kLook, until_);
}

void Drain::Look(const Mounted& mounted, const Stats& stats) {
  if (syncer_.exists()) {
    if (auto status = syncer_.Reap()) {
      synced_ = WIFEXITED(*status) ? WEXITSTATUS(*status) : EIO;
    }
  }
  if (!asker_) {
    next_ = absl::InfiniteFuture();
    return;
  }
  const absl::Time now = absl::Now();
  auto waiting = WaitingIn(mounted);
  StatsSum sum = stats.Read();
  // Without fusectl the server's own list has to do.
  if (!waiting) waiting = sum.in_flight.size();
  const bool done = synced_ == 0 && *waiting == 0;
  if (!done && now < until_ && synced_.value_or(0) == 0) {
    next_ = std::min(now + kLook, until_);
    return;
  }
  const double seconds = absl::ToDoubleSeconds(now - began_);
  std::string why;
  if (synced_.value_or(0) != 0) {
    why = absl::StrCat("cannot write back: ", std::strerror(*synced_));
  } else if (!done) {
    why = absl::StrFormat("not drained after %.1f s", seconds);
    absl::StrAppend(&why, synced_ ? "" : ": pages are still written back");
    absl::StrAppend(&why, "; ", *waiting, " requests wait for an answer");
    if (!sum.in_flight.empty()) {
      const InFlight& oldest = sum.in_flight.front();
      absl::StrAppend(
          &why, ", the oldest is ", OpName(proto::RowIndex(oldest.opcode)),
          " of node ", oldest.node, " for ",
          absl::StrFormat("%.1f s", static_cast<double>(oldest.age_ns) / 1e9));
    }
  }
  auto answer = why.empty() ? OkAnswer() : ErrorAnswer(why);
  answer["seconds"] = seconds;
  answer["waiting"] = *waiting;
  if (!why.empty()) answer["in_flight"] = InFlightJson(sum);
  Answer(std::move(asker_), answer);
  // What hangs cannot do harm; it is not waited for.
  syncer_.Kill(SIGKILL);
  next_ = syncer_.exists() ? now + absl::Seconds(1) : absl::InfiniteFuture();
}

}  // namespace handlefs
