// What handlefsctl ends with. Documented in handlefsctl(1).
#ifndef HANDLEFS_TOOLS_CTL_EXIT_STATUS_H_
#define HANDLEFS_TOOLS_CTL_EXIT_STATUS_H_

#include <string>

namespace handlefs::ctl {

enum class ExitStatus {
  kOk = 0,
  kRefused = 1,      // by the daemon
  kUsage = 2,        // wrong arguments
  kUnreachable = 3,  // no such mount, or its daemon does not answer
};

struct Failure {
  ExitStatus status;
  std::string message;  // one line
};

}  // namespace handlefs::ctl

#endif  // HANDLEFS_TOOLS_CTL_EXIT_STATUS_H_
