#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "daemon/options.h"
#include "daemon/options_config.h"
#include "daemon/options_table.h"
#include "daemon/options_values.h"

namespace handlefs {
namespace {

// Words of fstab that are for others than the file system.
constexpr std::string_view kIgnored[] = {"defaults",
                                         "auto",
                                         "noauto",
                                         "nofail",
                                         "_netdev",
                                         "user",
                                         "users",
                                         "nouser",
                                         "owner",
                                         "group",
                                         "silent",
                                         "loud",
                                         "default_permissions"};
constexpr std::string_view kOurs[] = {"fd",       "rootmode", "user_id",
                                      "group_id", "subtype",  "blksize"};
constexpr char kCommandLineOrigin[] = "command line";

template <size_t N>
bool Contains(const std::string_view (&list)[N], std::string_view word) {
  return std::find(std::begin(list), std::end(list), word) != std::end(list);
}

std::string Str(std::string_view text) { return std::string(text); }

std::string Normal(std::string_view name) {
  std::string out(name);
  std::replace(out.begin(), out.end(), '-', '_');
  return out;
}

absl::Status Set(Options& options, const OptionRow& row,
                 std::optional<std::string_view> value) {
  if (row.value == OptionValue::kNone && value) {
    return BadOption(absl::StrCat("option ", Str(row.name), " takes no value"));
  }
  if (row.value == OptionValue::kNeeded && !value) {
    return BadOption(absl::StrCat("option ", Str(row.name), " needs a value: ",
                                  Str(row.name), "=", Str(row.metavar)));
  }
  if (value && value->empty()) {
    return BadOption(
        absl::StrCat("option ", Str(row.name), ": it needs a value"));
  }
  absl::Status status = row.set(options, value.value_or(""));
  if (!status.ok()) {
    return BadOption(absl::StrCat("option ", Str(row.name), ": ",
                                  absl::string_view(status.message())));
  }
  return status;
}

// How many letters are wrong, missing or too many, or stand the wrong way round
// with the next (optimal string alignment).
size_t Distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> d(a.size() + 1,
                                     std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1,
                          d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d.back().back();
}

absl::Status Unknown(std::string_view name) {
  if (FindLogFolder(name)) {
    return BadOption(
        absl::StrCat("'", Str(name),
                     "' is no option but a folder of log_level; in -o its "
                     "comma is written \\,: log_level=info\\,",
                     Str(name), "=debug"));
  }
  const std::string normal = Normal(name);
  std::string_view best;
  // Short names are near to everything.
  size_t least = std::min<size_t>(3, normal.size() / 2);
  auto look = [&](std::string_view known) {
    const size_t distance = Distance(normal, known);
    if (distance >= least) return;
    least = distance;
    best = known;
  };
  for (const OptionRow& row : OptionTable()) look(row.name);
  for (const MountWord& word : MountWords()) look(word.name);
  return BadOption(
      absl::StrCat("unknown option '", Str(name), "'; ",
                   best.empty() ? "" : absl::StrCat("is it ", Str(best), "? "),
                   "handlefs --help lists them"));
}

absl::Status ApplyList(Options& options, std::string_view list) {
  auto words = SplitOptionList(list);
  if (!words.ok()) return words.status();
  for (const std::string& word : *words) {
    absl::Status status = ApplyOption(options, word, kCommandLineOrigin);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status ApplyLetters(Options& options, std::string_view arg) {
  for (char letter : arg.substr(1)) {
    const OptionRow* row = FindOption(letter);
    std::string word = letter == 's'    ? "threads=1"
                       : row == nullptr ? ""
                                        : Str(row->name);
    if (word.empty()) return Unknown(arg);
    absl::Status status = ApplyOption(options, word, kCommandLineOrigin);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status ApplyArguments(Options& options, std::span<const char* const> args,
                            std::vector<std::string>& operands) {
  bool only_operands = false;
  for (size_t i = 0; i < args.size(); ++i) {
    std::string_view arg = args[i];
    absl::Status status = absl::OkStatus();
    if (only_operands || arg.size() < 2 || arg[0] != '-') {
      operands.emplace_back(arg);
    } else if (arg == "--") {
      only_operands = true;
    } else if (arg.starts_with("--")) {
      // "--name value" is the same as "--name=value".
      std::string word(arg.substr(2));
      const OptionRow* row = FindOption(Normal(word));
      if (row != nullptr && row->value == OptionValue::kNeeded &&
          i + 1 < args.size()) {
        word = absl::StrCat(word, "=", args[++i]);
      }
      status = ApplyOption(options, word, kCommandLineOrigin);
    } else if (arg.starts_with("-o")) {
      std::string_view list = arg.substr(2);
      if (list.empty()) {
        if (i + 1 == args.size())
          return BadOption("-o needs a list of options");
        list = args[++i];
      }
      status = ApplyList(options, list);
    } else {
      status = ApplyLetters(options, arg);
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

// One operand is the source only where nothing else can be meant by it.
absl::Status TakeOperands(Options& options,
                          const std::vector<std::string>& operands) {
  if (operands.size() > 2) {
    return BadOption(absl::StrCat("'", operands[2],
                                  "' is too much: only SOURCE and MOUNTPOINT "
                                  "stand without a dash"));
  }
  for (const std::string& operand : operands) {
    if (operand.empty()) {
      return BadOption("SOURCE and MOUNTPOINT may not be empty");
    }
  }
  auto take = [&](std::string& out, const char* name, size_t i) {
    out = operands[i];
    options.given.push_back({name, operands[i], kCommandLineOrigin});
  };
  if (operands.size() == 2) {
    take(options.source, "source", 0);
    take(options.mount_point, "mountpoint", 1);
  } else if (operands.size() == 1) {
    if (options.source.empty()) {
      take(options.source, "source", 0);
    } else {
      take(options.mount_point, "mountpoint", 0);
    }
  }
  bool needs_source =
      options.mode == Mode::kServe || options.mode == Mode::kCheck;
  if ((needs_source && options.source.empty()) ||
      (options.mode == Mode::kServe && options.mount_point.empty())) {
    return BadOption("SOURCE and MOUNTPOINT are needed; handlefs --help");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<std::string>> SplitOptionList(
    std::string_view list) {
  std::vector<std::string> words(1);
  bool quoted = false, escaped = false;
  for (char c : list) {
    if (escaped) {
      words.back() += c;
      escaped = false;
    } else if (c == '\\') {
      escaped = true;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  if (quoted || escaped) {
    return BadOption(
        absl::StrCat("a quote is not closed in '", Str(list), "'"));
  }
  std::erase(words, "");
  return words;
}

std::string EscapeOptionWord(std::string_view word) {
  std::string out;
  for (char c : word) {
    if (c == ',' || c == '\\' || c == '"') out += '\\';
    out += c;
  }
  return out;
}

absl::Status ApplyOption(Options& options, std::string_view word,
                         const std::string& origin) {
  size_t equals = word.find('=');
  std::string name = Normal(word.substr(0, equals));
  std::optional<std::string_view> value;
  if (equals != std::string_view::npos) value = word.substr(equals + 1);
  // comment=, x-systemd.* and X-mount.* are notes to others.
  if (Contains(kIgnored, name) || name == "comment" || name.starts_with("x_") ||
      name.starts_with("X_")) {
    return absl::OkStatus();
  }
  if (name == "rw" && !value) {
    name = "ro";
    value = "off";
  }
  if (!value && ApplyMountWord(options, name)) {
    options.given.push_back({name, std::nullopt, origin});
    return absl::OkStatus();
  }
  if (Contains(kOurs, name)) {
    return BadOption(absl::StrCat("option ", name,
                                  " is handlefs's own and cannot be given"));
  }
  const OptionRow* row = FindOption(name);
  if (row == nullptr) return Unknown(word.substr(0, equals));
  if (absl::Status status = Set(options, *row, value); !status.ok()) {
    return status;
  }
  GivenOption given{std::move(name), std::nullopt, origin};
  if (value) given.value = Str(*value);
  options.given.push_back(std::move(given));
  return absl::OkStatus();
}

absl::StatusOr<Options> ParseOptions(std::span<const char* const> args,
                                     const Surroundings& surroundings) {
  // What the command line says decides which files are read, and comes last
  // all the same.
  Options asked;
  std::vector<std::string> operands;
  absl::Status status = ApplyArguments(asked, args, operands);
  if (!status.ok()) return status;
  // Help is to be had whatever the files look like.
  if (asked.mode == Mode::kHelp || asked.mode == Mode::kVersion) return asked;

  Options options;
  status = ApplySurroundings(options, surroundings, asked.config);
  if (!status.ok()) return status;
  operands.clear();
  status = ApplyArguments(options, args, operands);
  if (!status.ok()) return status;
  status = TakeOperands(options, operands);
  if (!status.ok()) return status;
  if (options.restart == Restart::kLossless &&
      options.transport == Transport::kUring) {
    return BadOption(
        "restart=lossless and transport=uring exclude each other: requests "
        "that are in a ring when its server dies may end; use restart=best, "
        "or leave transport out");
  }
  return options;
}

}  // namespace handlefs
