#include "options.h"

#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>

#include "text.h"

namespace handlefs::bench {
namespace {

using Problem = std::optional<std::string>;

constexpr uint64_t kMostFiles = 100000000;

template <typename T>
std::optional<T> ToNumber(std::string_view text) {
  T number;
  auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return number;
}

Problem SetCount(const std::string& name, const std::string& value,
                 uint64_t most, uint64_t* out) {
  auto number = ToNumber<uint64_t>(value);
  if (!number || *number < 1 || *number > most) {
    return Format("%s: %s is no number from 1 to %llu", name.c_str(),
                  value.c_str(), static_cast<unsigned long long>(most));
  }
  *out = *number;
  return std::nullopt;
}

Problem SetSeconds(const std::string& name, const std::string& value,
                   double* out) {
  auto number = ToNumber<double>(value);
  if (!number || !std::isfinite(*number) || *number <= 0) {
    return name + ": " + value + " is no number of seconds";
  }
  *out = *number;
  return std::nullopt;
}

Problem SetFiles(const std::string& value, Knobs* knobs) {
  knobs->files.clear();
  for (const std::string& word : Split(value, ',')) {
    uint64_t count = 0;
    if (auto wrong = SetCount("--files", word, kMostFiles, &count)) {
      return wrong;
    }
    knobs->files.push_back(count);
  }
  if (knobs->files.empty()) return "--files: give a number, or several";
  return std::nullopt;
}

Problem AddPeer(const std::string& value, Options* options) {
  size_t equals = value.find('=');
  if (equals == 0 || equals == std::string::npos) {
    return "--peer: expected NAME='COMMAND {source} {mount}'";
  }
  Peer peer{value.substr(0, equals), value.substr(equals + 1)};
  for (const char* place : {"{source}", "{mount}"}) {
    if (peer.command.find(place) == std::string::npos) {
      return "--peer: the command of " + peer.name + " has no " + place +
             ": write it where the path belongs";
    }
  }
  options->peers.push_back(std::move(peer));
  return std::nullopt;
}

// Commas inside `handlefs:a=1,b=2` belong to the system: a word with '=' that
// follows one with a colon goes on with it.
std::vector<std::string> SplitSystems(const std::string& value) {
  std::vector<std::string> systems;
  for (const std::string& word : Split(value, ',')) {
    bool goes_on = !systems.empty() &&
                   systems.back().starts_with("handlefs:") &&
                   word.find(':') == std::string::npos &&
                   word.find('=') != std::string::npos;
    if (goes_on) {
      systems.back() += "," + word;
    } else {
      systems.push_back(word);
    }
  }
  return systems;
}

void Append(std::vector<std::string>* list, std::vector<std::string> more) {
  list->insert(list->end(), more.begin(), more.end());
}

Knobs QuickKnobs() {
  Knobs knobs;
  knobs.seconds = 0.02;
  knobs.walk_files = 1000;
  knobs.flat_files = 1000;
  knobs.text_files = 100;
  knobs.data_bytes = 4 << 20;
  knobs.files = {2000};
  return knobs;
}

Problem SetSize(const std::string& name, const std::string& value,
                Knobs* knobs) {
  if (name == "--seconds") return SetSeconds(name, value, &knobs->seconds);
  if (name == "--files") return SetFiles(value, knobs);
  if (name == "--ops") {
    return SetCount(name, value, 1000000000, &knobs->max_ops);
  }
  if (name == "--walk-files") {
    return SetCount(name, value, kMostFiles, &knobs->walk_files);
  }
  if (name == "--flat-files") {
    return SetCount(name, value, kMostFiles, &knobs->flat_files);
  }
  if (name == "--text-files") {
    return SetCount(name, value, kMostFiles, &knobs->text_files);
  }
  if (name == "--data-mib") {
    uint64_t mebibytes = 0;
    auto wrong = SetCount(name, value, 1 << 20, &mebibytes);
    knobs->data_bytes = mebibytes << 20;
    return wrong;
  }
  return "unknown option " + name + " (--help lists all)";
}

Problem SetOfRun(const std::string& name, const std::string& value,
                 Options* options) {
  if (name == "--workload") {
    Append(&options->workloads, Split(value, ','));
  } else if (name == "--system") {
    Append(&options->systems, SplitSystems(value));
  } else if (name == "--peer") {
    return AddPeer(value, options);
  } else if (name == "--source") {
    options->source = value;
  } else if (name == "--handlefs") {
    options->handlefs = value;
  } else if (name == "--repetitions") {
    uint64_t count = 0;
    auto wrong = SetCount(name, value, 10000, &count);
    options->repetitions = static_cast<int>(count);
    return wrong;
  } else if (name == "--time-limit") {
    return SetSeconds(name, value, &options->time_limit);
  } else if (name == "--patience") {
    return SetSeconds(name, value, &options->patience);
  } else {
    return SetSize(name, value, &options->knobs);
  }
  return std::nullopt;
}

Problem Set(const std::string& name, const std::string& value,
            Options* options) {
  bool has_output =
      options->command == Command::kRun || options->command == Command::kReport;
  std::string* output = name == "--json"         ? &options->json
                        : name == "--markdown"   ? &options->markdown
                        : name == "--plot"       ? &options->plot
                        : name == "--plot-files" ? &options->plot_files
                                                 : nullptr;
  if (has_output && output != nullptr) {
    if (value.empty()) return name + " needs a file";
    *output = value;
    return std::nullopt;
  }
  if (options->command == Command::kRun) return SetOfRun(name, value, options);
  if (options->command == Command::kCompare && name == "--threshold") {
    auto number = ToNumber<double>(value);
    if (!number || !std::isfinite(*number) || *number < 0) {
      return "--threshold: " + value + " is no percentage";
    }
    options->threshold = *number / 100;
    return std::nullopt;
  }
  return "unknown option " + name + " (--help lists all)";
}

std::optional<Command> ToCommand(const std::string& word) {
  if (word == "run") return Command::kRun;
  if (word == "list") return Command::kList;
  if (word == "report") return Command::kReport;
  if (word == "compare") return Command::kCompare;
  if (word == "--help" || word == "-h") return Command::kHelp;
  return std::nullopt;
}

}  // namespace

std::variant<Options, std::string> ParseOptions(
    const std::vector<std::string>& args) {
  Options options;
  if (args.empty()) return std::string("expected run, list, report or compare");
  auto command = ToCommand(args[0]);
  if (!command) {
    return args[0] + " is no command: expected run, list, report or compare";
  }
  options.command = *command;
  // Sizes that are given hold beside --quick, before it and behind it.
  for (const std::string& word : args) {
    if (word == "--help" || word == "-h") {
      options.command = Command::kHelp;
      return options;
    }
    if (word == "--quick") options.knobs = QuickKnobs();
  }
  bool files_given = false;
  for (size_t i = 1; i < args.size(); ++i) {
    const std::string& word = args[i];
    if (word == "--quick") {
      if (*command != Command::kRun) return word + " is an option of run";
      continue;
    }
    if (!word.starts_with("--")) {
      options.inputs.push_back(word);
      continue;
    }
    size_t equals = word.find('=');
    std::string name = word.substr(0, equals);
    if (equals == std::string::npos && i + 1 == args.size()) {
      return name + " needs a value";
    }
    std::string value =
        equals != std::string::npos ? word.substr(equals + 1) : args[++i];
    if (auto wrong = Set(name, value, &options)) return *wrong;
    files_given |= name == "--files";
  }
  size_t inputs = *command == Command::kReport    ? 1
                  : *command == Command::kCompare ? 2
                                                  : 0;
  if (options.inputs.size() != inputs) {
    return Format("%s takes %zu file%s of results, not %zu", args[0].c_str(),
                  inputs, inputs == 1 ? "" : "s", options.inputs.size());
  }
  // One number is no line.
  if (!options.plot_files.empty() && !files_given) {
    uint64_t most = options.knobs.files.back();
    options.knobs.files = {most / 100, most / 10, most};
  }
  return options;
}

std::string HelpText() {
  return "usage: handlefs-bench run [options]      measure and report\n"
         "       handlefs-bench list               workloads and systems\n"
         "       handlefs-bench report RESULTS.json [outputs]\n"
         "       handlefs-bench compare OLD.json NEW.json [--threshold "
         "PERCENT (5)]\n"
         "\n"
         "Compares FUSE servers with the native file system and each other. "
         "Needs root.\n"
         "\n"
         "  --workload LIST      names, groups, patterns, default, all "
         "(default)\n"
         "  --system LIST        native, floor:dev, floor:uring, handlefs, "
         "bindfs ...,\n"
         "                       handlefs:OPTIONS as for -o (built in and "
         "installed ones)\n"
         "  --peer NAME='COMMAND {source} {mount}'   any other server\n"
         "  --source DIR         where to work, in a directory of its own (a "
         "tmpfs)\n"
         "  --handlefs PATH      the server (of this build, or in PATH)\n"
         "  --repetitions N      of everything, interleaved (5)\n"
         "  --time-limit SECONDS for all; what exists then is reported "
         "(3600)\n"
         "  --patience SECONDS   for a measurement in which a server hangs "
         "(120)\n"
         "  --quick              all sizes small: to see whether it works\n"
         "  --seconds S          of each measurement (0.5); --ops N: its most "
         "calls\n"
         "  --files N[,N...]     trees of files-N (100000)\n"
         "  --walk-files N, --flat-files N, --text-files N, --data-mib N\n"
         "                       sizes of the others (10000, 15000, 1600, 32)\n"
         "outputs:\n"
         "  --json FILE, --markdown FILE\n"
         "  --plot FILE.svg      ratios to native; gnuplot draws (.png also)\n"
         "  --plot-files FILE.svg   cost against the number of files\n"
         "\n"
         "Exit status: 0; 1 compare found a regression, or native, floor or "
         "handlefs\nfailed in a run; 2 wrong usage or input; 3 not possible "
         "here; 4 an output cannot\nbe written; 128 and the signal's number "
         "after SIGINT, SIGTERM or SIGHUP.\n";
}

}  // namespace handlefs::bench
