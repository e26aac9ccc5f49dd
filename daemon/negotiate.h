// What is answered to INIT: a pure function of what the kernel offers, what was
// asked for on the command line, and what is known of the source.
#ifndef HANDLEFS_DAEMON_NEGOTIATE_H_
#define HANDLEFS_DAEMON_NEGOTIATE_H_

#include <string>
#include <variant>

#include "daemon/options.h"
#include "proto/abi.h"
#include "proto/flags.h"

namespace handlefs {

struct HostFacts {
  bool can_register_backing = false;  // a real device and CAP_SYS_ADMIN
  bool is_device = false;             // /dev/fuse and not a socket
  // A position in a directory is not of one open descriptor.
  bool dir_positions_last = false;
  // The source is itself stacked on something (overlayfs, FUSE): passthrough
  // then needs the second level of stacking, and no overlayfs fits on top.
  bool source_is_stacked = false;
};

struct Negotiated {
  abi::InitOut out{};
  proto::InitFlags flags;  // in effect: offered and answered
  const proto::Dialect* dialect = &proto::MainlineDialect();
  std::string evidence;  // for dialect=auto: why this one
};
// The kernel speaks a later major: this is the answer, another INIT follows.
struct TryAgain {
  abi::InitOut out{};
};
// It cannot be served; `error` goes to the kernel, `why` to the user.
struct Refused {
  int error = 0;
  std::string why;
};

using InitAnswer = std::variant<Negotiated, TryAgain, Refused>;
InitAnswer Negotiate(const abi::InitIn& in, const Options& options,
                     const HostFacts& facts);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_NEGOTIATE_H_
