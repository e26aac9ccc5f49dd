// The command line of handlefsctl, and answers for people.
#ifndef HANDLEFS_TOOLS_CTL_COMMAND_H_
#define HANDLEFS_TOOLS_CTL_COMMAND_H_

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "exit_status.h"

namespace handlefs::ctl {

enum class Form { kText, kJson };
enum class Mode { kAsk, kHelp, kVersion };

struct Command {
  Mode mode = Mode::kAsk;
  Form form = Form::kText;
  std::string target;
  // As the daemon gets them: the command, and what belongs to it.
  std::vector<std::string> words;

  bool IsAbort() const { return words[0] == "abort"; }
  bool IsFollow() const {
    return words.size() == 2 && words[0] == "trace" && words[1] == "follow";
  }
};

// `args` without the program's name. Paths in it become absolute; `beside` is
// the directory of handlefsctl itself, where the program of an upgrade is
// looked for when none is named.
std::variant<Command, Failure> ParseCommand(std::span<const char* const> args,
                                            const std::string& beside);
std::string Usage();

// For people: a table for stats, the text itself of metrics, and "key: value"
// lines of all others, the values below each other.
std::string ToText(const std::string& command,
                   const nlohmann::ordered_json& answer);

}  // namespace handlefs::ctl

#endif  // HANDLEFS_TOOLS_CTL_COMMAND_H_
