// Whether a thread would be woken by a signal if its request could be called
// off. FUSE tells that with INTERRUPT, but over io_uring (Linux 6.14 to 6.18)
// the message is lost if the signal comes before the server has fetched the
// request; the thread then waits for the answer, deaf even to SIGKILL.
#ifndef HANDLEFS_DAEMON_PENDING_SIGNAL_H_
#define HANDLEFS_DAEMON_PENDING_SIGNAL_H_

#include <cstdint>

namespace handlefs {

// `tid` as in a request's header; false for 0 (not visible from here) and for
// a thread that is gone. Reads /proc: some 20 us.
bool HasPendingSignal(uint32_t tid);

// Whether the thread is being killed, and will not see an answer; so is one
// that is gone. False for 0.
bool IsDying(uint32_t tid);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_PENDING_SIGNAL_H_
