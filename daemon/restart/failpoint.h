// Places where a test lets the server be killed, in builds with the meson
// option `failpoints`. HANDLEFS_FAILPOINT="PLACE EVERY": SIGKILL at every
// EVERYth time that a server comes by; "PLACE EVERY first": in the first server
// of a mount alone; "later": in all others; a number: in that server alone;
// and with "stop" behind any of them SIGSTOP instead. In other builds nothing
// is left of them.
//
//   start     before the server looks at what it takes over
//   intent    directly before the system call that changes the host
//   made      a name was made on the host, and not looked at (no generation)
//   executed  after it, the answer is not noted
//   noted     the answer is noted, and not sent
#ifndef HANDLEFS_DAEMON_RESTART_FAILPOINT_H_
#define HANDLEFS_DAEMON_RESTART_FAILPOINT_H_

#include <cstdint>
#include <string_view>

namespace handlefs {

#ifdef HANDLEFS_FAILPOINTS
void PassFailpoint(std::string_view place, uint64_t generation = 1);
#else
inline void PassFailpoint(std::string_view, uint64_t = 1) {}
#endif

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_RESTART_FAILPOINT_H_
