// The table of options: everything that is said about them anywhere comes from
// here.
#ifndef HANDLEFS_DAEMON_OPTIONS_TABLE_H_
#define HANDLEFS_DAEMON_OPTIONS_TABLE_H_

#include <cstdint>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "daemon/options.h"

namespace handlefs {

enum class OptionGroup { kMount, kIdentity, kCache, kServe, kMessages, kAsk };
enum class OptionValue {
  kNone,
  kOptional,
  kNeeded,
};
enum class OptionScope {
  kEverywhere,
  kCommandLine,  // also -o, but no config file and no environment
};
enum class OptionChange {
  kAtStart,    // a new value needs a new start
  kByRemount,  // mount -o remount changes it under the live mount
  kByReload,   // SIGHUP does
};

struct OptionRow {
  OptionGroup group;
  std::string_view name;
  char letter = 0;  // -f
  OptionValue value = OptionValue::kNeeded;
  // "a|b": these words; words in capitals stand for what they say.
  std::string_view metavar = {};
  // A value; in parentheses what applies where none is given.
  std::string_view by_default = {};
  std::string_view help;         // one line
  std::string_view more;         // the whole story
  std::string_view cost = {};    // of other values than the default
  std::string_view kernel = {};  // what it needs
  OptionScope scope = OptionScope::kEverywhere;
  OptionChange change = OptionChange::kAtStart;
  // How a value is read into Options; "" where it stands alone.
  absl::Status (*set)(Options&, std::string_view value);
};

std::span<const OptionRow> OptionTable();
// `name` with '_'; null if there is none.
const OptionRow* FindOption(std::string_view name);
const OptionRow* FindOption(char letter);
std::string_view TitleOf(OptionGroup group);

// mount(8)'s own words.
struct MountWord {
  std::string_view name;
  std::string_view opposite;
  std::string_view help;
};
std::span<const MountWord> MountWords();
// True if it is one; `options` has it then.
bool ApplyMountWord(Options& options, std::string_view name);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_OPTIONS_TABLE_H_
