#include "command.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "daemon/options_table.h"

namespace handlefs::mount_helper {
namespace {

// Of the table of mounts, with which mount(8) completes a remount.
constexpr std::string_view kKernelWords[] = {"fd",       "rootmode", "user_id",
                                             "group_id", "subtype",  "blksize"};

std::string NameOf(std::string_view word) {
  std::string name(word.substr(0, word.find('=')));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

Failure Usage(std::string reason) {
  return {ExitStatus::kUsage, "options", std::move(reason)};
}

// Takes the words that are for the helper itself.
bool TakeOurs(Command& command, const std::string& word) {
  constexpr std::string_view kSetuid = "setuid=";
  if (word == "remount") {
    command.task = Task::kRemount;
  } else if (word == "sloppy") {
    command.sloppy = Switch::kOn;
  } else if (NameOf(word) == "drop_privileges" && word.size() == 15) {
    command.drop_privileges = Switch::kOn;
  } else if (word.starts_with(kSetuid) && word.size() > kSetuid.size()) {
    command.run_as = word.substr(kSetuid.size());
  } else {
    return false;
  }
  return true;
}

// mount(8) says "rw" whenever nobody says "ro": it must not win over a config
// file.
void DropIdleRw(std::vector<std::string>& words) {
  bool read_only = false;
  std::erase_if(words, [&](const std::string& word) {
    if (NameOf(word) == "ro") read_only = true;
    return word == "rw" && !read_only;
  });
}

std::variant<Command, Failure> SortWords(Command command,
                                         const std::vector<std::string>& all) {
  for (const std::string& word : all) {
    if (!TakeOurs(command, word)) command.words.push_back(word);
  }
  if (command.task == Task::kRemount) {
    std::erase_if(command.words, [](const std::string& word) {
      return std::find(std::begin(kKernelWords), std::end(kKernelWords),
                       NameOf(word)) != std::end(kKernelWords);
    });
  } else {
    DropIdleRw(command.words);
  }
  Options scratch;
  std::vector<std::string> good;
  for (const std::string& word : command.words) {
    absl::Status status = ApplyOption(scratch, word, "-o");
    const OptionRow* row = FindOption(NameOf(word));
    if (!status.ok()) {
      if (row == nullptr && command.sloppy == Switch::kOn) continue;
      return Usage(
          std::string(status.message().data(), status.message().size()));
    }
    if (scratch.mode != Mode::kServe) {
      return Usage(absl::StrCat("option ", NameOf(word),
                                " is for handlefs itself, not for mounting"));
    }
    good.push_back(word);
  }
  command.words = std::move(good);
  return command;
}

}  // namespace

std::variant<Command, Failure> ParseCommand(std::span<const char* const> args) {
  Command command;
  std::vector<std::string> operands, words;
  bool only_operands = false;
  for (size_t i = 0; i < args.size(); ++i) {
    std::string_view arg = args[i];
    if (only_operands || arg.size() < 2 || arg[0] != '-') {
      operands.emplace_back(arg);
      continue;
    }
    if (arg == "--") {
      only_operands = true;
      continue;
    }
    if (arg == "--help" || arg == "--version") {
      command.task = arg == "--help" ? Task::kHelp : Task::kVersion;
      return command;
    }
    // Letters may stand together: -sfo OPTIONS.
    for (size_t at = 1; at < arg.size(); ++at) {
      const char letter = arg[at];
      std::string value;
      if (letter == 'o' || letter == 'N' || letter == 't') {
        if (at + 1 < arg.size()) {
          value = arg.substr(at + 1);
        } else if (i + 1 < args.size()) {
          value = args[++i];
        } else {
          return Usage(
              absl::StrCat("-", std::string(1, letter), " needs a value"));
        }
        at = arg.size();
      }
      switch (letter) {
        case 'o': {
          auto list = SplitOptionList(value);
          if (!list.ok()) {
            return Usage(std::string(list.status().message().data(),
                                     list.status().message().size()));
          }
          words.insert(words.end(), list->begin(), list->end());
          break;
        }
        case 'N':
          command.name_space = value;
          break;
        case 'f':
          command.fake = Switch::kOn;
          break;
        case 's':
          command.sloppy = Switch::kOn;
          break;
        case 'v':
          command.verbose = Switch::kOn;
          break;
        case 'n':  // no /etc/mtab: nobody has written it for long
        case 't':  // the type: the name of the helper says it
          break;
        case 'h':
          command.task = Task::kHelp;
          return command;
        case 'V':
          command.task = Task::kVersion;
          return command;
        default:
          return Usage(absl::StrCat("unknown option '-", std::string(1, letter),
                                    "'; mount.handlefs -h lists them"));
      }
    }
  }
  if (operands.size() != 2 || operands[0].empty() || operands[1].empty()) {
    return Usage("SOURCE and TARGET are needed; mount.handlefs -h");
  }
  command.source = operands[0];
  command.target = operands[1];
  return SortWords(std::move(command), words);
}

std::vector<std::string> DaemonArguments(const Command& command,
                                         const std::string& mount_point) {
  std::string list;
  for (const std::string& word : command.words) {
    absl::StrAppend(&list, EscapeOptionWord(word), ",");
  }
  // Whatever else says: mount(8) waits for the end of this process.
  absl::StrAppend(&list, "foreground=off");
  return {"-o", list, "--", command.source, mount_point};
}

std::string HelpText() {
  return "Usage: mount.handlefs SOURCE TARGET [-fnsvhV] [-N NAMESPACE] "
         "[-o OPTION,...]\n"
         "Mounts the directory tree SOURCE at TARGET by handlefs, for mount(8)."
         "\n"
         "  -f  look at everything, but do not mount\n"
         "  -n  nothing\n"
         "  -s  pass over unknown options\n"
         "  -v  show what is run\n"
         "  -N  do it in this mount namespace (/proc/PID/ns/mnt)\n"
         "Options are those of handlefs (handlefs --help), and:\n"
         "  remount          new flags (ro, nosuid, ...) for a live mount\n"
         "  setuid=USER      mount as root, serve as USER\n"
         "  drop_privileges  mount as root, serve without capabilities\n";
}

}  // namespace handlefs::mount_helper
