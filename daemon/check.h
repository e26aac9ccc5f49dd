// handlefs --check: what would be used for a source on this kernel, and why,
// without mounting anything anywhere.
#ifndef HANDLEFS_DAEMON_CHECK_H_
#define HANDLEFS_DAEMON_CHECK_H_

#include <string>
#include <vector>

#include "daemon/exit_code.h"
#include "daemon/options.h"

namespace handlefs {

struct Finding {
  std::string what;  // one word: "transport"
  std::string used;  // "dev"
  std::string why;   // may be empty
};

struct CheckReport {
  std::vector<Finding> findings;
  // What a start with these options would end with at once, and the line that
  // it would say.
  ExitCode code = ExitCode::kOk;
  std::string error;
};

CheckReport Check(const Options& options);
std::string ToText(const CheckReport& report);
// {"findings": {"transport": {"used": "dev", "why": "..."}, ...},
//  "status": 0, "error": "..."}; `error` only where a start would fail.
std::string ToJson(const CheckReport& report);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_CHECK_H_
