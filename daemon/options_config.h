// Options from config files and from the environment.
//
// A file has lines "name = value" or "name"; '#' at the beginning of a line or
// behind a space begins a comment, and a value in double quotes is taken as it
// is. In the environment the name is HANDLEFS_ and the option's in capitals; an
// empty value counts as none.
#ifndef HANDLEFS_DAEMON_OPTIONS_CONFIG_H_
#define HANDLEFS_DAEMON_OPTIONS_CONFIG_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "daemon/options.h"

namespace handlefs {

// The default file, the file of `config` (or, where that is empty, of
// HANDLEFS_CONFIG), and the environment. A default file that is missing is
// none; a named one is an error.
absl::Status ApplySurroundings(Options& options,
                               const Surroundings& surroundings,
                               const std::string& config);

// `text` is what the file `path` holds; it is named in errors.
absl::Status ApplyConfigText(Options& options, std::string_view text,
                             const std::string& path);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_OPTIONS_CONFIG_H_
