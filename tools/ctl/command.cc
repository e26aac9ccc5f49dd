#include "command.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "daemon/control/words.h"
#include "stats_text.h"

namespace handlefs::ctl {
namespace {

// With how many arguments of their own, at least and at most.
struct Known {
  std::string_view name;
  size_t least;
  size_t most;
};
constexpr Known kCommands[] = {{"status", 0, 0},      {"stats", 0, 0},
                               {"metrics", 0, 0},     {"trace", 1, 1},
                               {"path", 1, 1},        {"drain", 0, 1},
                               {"restart", 0, 0},     {"upgrade", 0, 1},
                               {"drop-caches", 0, 0}, {"abort", 0, 0}};

Failure WrongUsage(const std::string& what) {
  return {ExitStatus::kUsage, absl::StrCat(what, " (see handlefsctl --help)")};
}

// Why it cannot be run, or nothing.
std::string WhyNotAProgram(const std::string& path) {
  struct stat st;
  if (stat(path.c_str(), &st) != 0) return std::strerror(errno);
  if (!S_ISREG(st.st_mode)) return "it is no file";
  if (access(path.c_str(), X_OK) != 0) return "it is not executable";
  return "";
}

std::string Value(const nlohmann::ordered_json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number_float()) {
    char text[64];
    std::snprintf(text, sizeof(text), "%.3f", value.get<double>());
    return text;
  }
  if (value.is_array()) {
    std::string out;
    for (const auto& item : value) {
      absl::StrAppend(&out, out.empty() ? "" : ", ", Value(item));
    }
    return out;
  }
  return value.dump();
}

using Lines = std::vector<std::pair<std::string, std::string>>;

void Collect(const std::string& before, const nlohmann::ordered_json& object,
             Lines& lines) {
  for (const auto& [key, value] : object.items()) {
    std::string name = absl::StrCat(before, key);
    std::replace(name.begin(), name.end(), '_', ' ');
    if (value.is_object()) {
      Collect(absl::StrCat(name, " "), value, lines);
    } else if (name != "ok") {
      lines.emplace_back(name, Value(value));
    }
  }
}

}  // namespace

std::variant<Command, Failure> ParseCommand(std::span<const char* const> args,
                                            const std::string& beside) {
  Command command;
  std::vector<std::string> operands;
  bool options = true;
  for (std::string_view arg : args) {
    if (!options || arg.size() < 2 || arg[0] != '-') {
      operands.emplace_back(arg);
    } else if (arg == "--") {
      options = false;
    } else if (arg == "--json") {
      command.form = Form::kJson;
    } else if (arg == "--help" || arg == "-h") {
      command.mode = Mode::kHelp;
      return command;
    } else if (arg == "--version" || arg == "-V") {
      command.mode = Mode::kVersion;
      return command;
    } else {
      return WrongUsage(absl::StrCat("unknown option ", std::string(arg)));
    }
  }
  if (operands.size() < 2) return WrongUsage("wanted: TARGET COMMAND");
  command.target = operands[0];
  command.words.assign(operands.begin() + 1, operands.end());
  if (command.target.empty()) return WrongUsage("the target is empty");
  const std::string& name = command.words[0];
  const auto* known =
      std::find_if(std::begin(kCommands), std::end(kCommands),
                   [&](const Known& row) { return row.name == name; });
  if (known == std::end(kCommands)) {
    return WrongUsage(absl::StrCat("unknown command ", name));
  }
  if (command.words.size() - 1 > known->most) {
    return WrongUsage(absl::StrCat(name, ": too many arguments"));
  }
  if (command.words.size() - 1 < known->least) {
    return WrongUsage(absl::StrCat(
        name, name == "path" ? ": which node?" : ": on, off or follow?"));
  }
  // What is wrong with the words is found out here, without a daemon.
  if (name == "trace" || name == "path" || name == "drain") {
    ControlCommand meant = ParseControl(command.words);
    if (auto* wrong = std::get_if<NoCommand>(&meant)) {
      return WrongUsage(wrong->why);
    }
  }
  if (name == "upgrade") {
    if (command.words.size() == 1) {
      command.words.push_back(absl::StrCat(beside, "/handlefs"));
    }
    std::string& program = command.words[1];
    program = std::filesystem::absolute(program).lexically_normal();
    if (program.find('\n') != std::string::npos) {
      return WrongUsage("the program's name has more than one line");
    }
    if (std::string why = WhyNotAProgram(program); !why.empty()) {
      return Failure{ExitStatus::kUsage,
                     absl::StrCat("cannot upgrade to ", program, ": ", why)};
    }
  }
  return command;
}

std::string Usage() {
  return "usage: handlefsctl [--json] TARGET COMMAND\n"
         "\n"
         "TARGET is a mount point of handlefs, or a control socket "
         "(/run/handlefs/NAME.sock).\n"
         "\n"
         "  status             how the mount is\n"
         "  stats              what was asked of it, how long that took, what "
         "is under way\n"
         "  metrics            the same as text for Prometheus\n"
         "  trace on|off       write each request to the log, or no more\n"
         "  trace follow       show them here, until Ctrl-C\n"
         "  path NODEID        where on the host the node of a trace is\n"
         "  drop-caches        the kernel asks again for all it knows of the "
         "mount\n"
         "  drain [SECONDS]    write everything to the disk, and wait until "
         "nothing is\n"
         "                     under way (10 seconds at the most)\n"
         "  restart            another server process; open files and locks "
         "go on\n"
         "  upgrade [PROGRAM]  the same with another program; it is handlefs "
         "beside\n"
         "                     handlefsctl where none is named\n"
         "  abort              end the mount by force; open files are lost\n"
         "\n"
         "  --json             the daemon's answer as it is, one line of JSON\n"
         "  -h, --help         this text\n"
         "  -V, --version      the version\n"
         "\n"
         "Exit status: 0 done, 1 the daemon refused, 2 wrong usage, 3 no such "
         "mount, or\n"
         "its daemon does not answer.\n";
}

std::string ToText(const std::string& command,
                   const nlohmann::ordered_json& answer) {
  if (command == "stats") return StatsText(answer);
  if (command == "metrics") return answer.value("text", "");
  if (command == "path") return answer.value("path", "") + "\n";
  Lines lines;
  Collect("", answer, lines);
  size_t width = 0;
  for (const auto& [name, value] : lines) width = std::max(width, name.size());
  std::string out;
  for (const auto& [name, value] : lines) {
    absl::StrAppend(&out, name, ":", std::string(width - name.size() + 1, ' '),
                    value, "\n");
  }
  return out;
}

}  // namespace handlefs::ctl
