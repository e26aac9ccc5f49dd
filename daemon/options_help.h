// What people are told about the options.
#ifndef HANDLEFS_DAEMON_OPTIONS_HELP_H_
#define HANDLEFS_DAEMON_OPTIONS_HELP_H_

#include <string>
#include <string_view>

#include "daemon/options.h"
#include "daemon/options_table.h"

namespace handlefs {

// One screen; all that is known of all options; of one option.
std::string HelpText();
std::string HelpAll();
std::string HelpOf(const OptionRow& row);

// "cache=none|auto|always"; "[=...]" where it may stand alone.
std::string FormOf(const OptionRow& row);

// Each option with its value and where that is from, as a config file.
std::string PrintConfig(const Options& options);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_OPTIONS_HELP_H_
