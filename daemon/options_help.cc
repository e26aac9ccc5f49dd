#include "daemon/options_help.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace handlefs {
namespace {

constexpr size_t kWidth = 79;

absl::string_view View(std::string_view text) {
  return {text.data(), text.size()};
}

// Appends words at `indent`, in lines of at most kWidth.
void Wrap(std::string& out, std::string_view text, size_t indent) {
  size_t column = 0;
  while (!text.empty()) {
    size_t end = text.find(' ');
    std::string_view word = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (column != 0 && column + 1 + word.size() > kWidth) {
      out += '\n';
      column = 0;
    }
    if (column == 0) {
      out.append(indent, ' ');
      column = indent;
    } else {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
  }
  out += '\n';
}

void Fact(std::string& out, std::string_view label, std::string_view text) {
  if (!text.empty()) Wrap(out, absl::StrCat(View(label), View(text)), 4);
}

const GivenOption* LastGiven(const Options& options, std::string_view name) {
  auto found = std::find_if(
      options.given.rbegin(), options.given.rend(),
      [&](const GivenOption& given) { return given.name == name; });
  return found == options.given.rend() ? nullptr : &*found;
}

// As a config file takes it.
std::string Quoted(const std::string& value) {
  if (value.find_first_of("# \t\"") == std::string::npos) return value;
  return absl::StrCat("\"", value, "\"");
}

std::string WithOrigin(std::string line, std::string_view origin) {
  line.resize(std::max<size_t>(line.size() + 1, 40), ' ');
  return absl::StrCat(line, "# ", View(origin), "\n");
}

std::string_view HowToChange(OptionChange change) {
  switch (change) {
    case OptionChange::kAtStart:
      return "at the next start";
    case OptionChange::kByRemount:
      return "by mount -o remount, under the live mount";
    case OptionChange::kByReload:
      return "by SIGHUP (systemctl reload), under the live mount";
  }
  return "";
}

}  // namespace

std::string FormOf(const OptionRow& row) {
  switch (row.value) {
    case OptionValue::kNone:
      return std::string(row.name);
    case OptionValue::kOptional:
      return absl::StrCat(View(row.name), "[=", View(row.metavar), "]");
    case OptionValue::kNeeded:
      break;
  }
  return absl::StrCat(View(row.name), "=", View(row.metavar));
}

std::string HelpText() {
  std::string out =
      "Usage: handlefs [OPTION]... SOURCE MOUNTPOINT\n"
      "Shows the directory tree SOURCE at MOUNTPOINT. Options stand as\n"
      "--name=value or in -o name=value,..., in a config file as name = value, "
      "and\n"
      "in the environment as HANDLEFS_NAME=value. --help=OPTION tells all of "
      "one.\n";
  const OptionRow* before = nullptr;
  for (const OptionRow& row : OptionTable()) {
    if (before == nullptr || before->group != row.group) {
      absl::StrAppend(&out, "\n", View(TitleOf(row.group)), ":\n");
    }
    before = &row;
    std::string head = absl::StrCat("  ", FormOf(row));
    head.resize(std::max<size_t>(head.size() + 1, 31), ' ');
    absl::StrAppend(&out, head);
    if (row.letter != 0) {
      absl::StrAppend(&out, "-", std::string(1, row.letter), ": ");
    }
    absl::StrAppend(&out, View(row.help));
    if (row.by_default.starts_with('(')) {
      absl::StrAppend(&out, " ", View(row.by_default));
    } else if (!row.by_default.empty() && row.group != OptionGroup::kAsk) {
      absl::StrAppend(&out, " (", View(row.by_default), ")");
    }
    absl::StrAppend(&out, "\n");
  }
  absl::StrAppend(
      &out,
      "\nAlso mount(8)'s rw nosuid nodev noexec noatime nodiratime relatime\n"
      "strictatime sync dirsync lazytime nosymfollow and their opposites; as\n"
      "root suid and dev are on, like in a bind mount. -s is threads=1.\n");
  return out;
}

std::string HelpOf(const OptionRow& row) {
  std::string out = FormOf(row);
  if (row.letter != 0) {
    absl::StrAppend(&out, ", -", std::string(1, row.letter));
  }
  out += '\n';
  std::string first = absl::StrCat(View(row.help), ".");
  first[0] = absl::ascii_toupper(static_cast<unsigned char>(first[0]));
  Wrap(out, first, 4);
  Wrap(out, row.more, 4);
  Fact(out, "Default: ", row.by_default);
  Fact(out, "Cost: ", row.cost);
  Fact(out, "Kernel: ", row.kernel);
  if (row.scope == OptionScope::kCommandLine) {
    Wrap(out, "Only on the command line.", 4);
  } else {
    Fact(out, "Changes: ", HowToChange(row.change));
  }
  return out;
}

std::string HelpAll() {
  std::string out;
  for (const OptionRow& row : OptionTable()) {
    absl::StrAppend(&out, out.empty() ? "" : "\n", HelpOf(row));
  }
  absl::StrAppend(&out, "\nmount(8)'s own words:\n");
  for (const MountWord& word : MountWords()) {
    std::string head = absl::StrCat("  ", View(word.name));
    if (!word.opposite.empty()) {
      absl::StrAppend(&head, ", ", View(word.opposite));
    }
    head.resize(31, ' ');
    absl::StrAppend(&out, head, View(word.help), "\n");
  }
  return out;
}

std::string PrintConfig(const Options& options) {
  std::string out;
  for (const OptionRow& row : OptionTable()) {
    if (row.scope == OptionScope::kCommandLine) continue;
    const GivenOption* given = LastGiven(options, row.name);
    if (given != nullptr) {
      // What stands alone means "on".
      absl::StrAppend(
          &out, WithOrigin(absl::StrCat(View(row.name), " = ",
                                        Quoted(given->value.value_or("on"))),
                           given->origin));
    } else if (row.by_default.starts_with('(')) {
      absl::StrAppend(&out, WithOrigin(absl::StrCat("# ", View(row.name), " = ",
                                                    View(row.by_default)),
                                       "default"));
    } else {
      absl::StrAppend(&out, WithOrigin(absl::StrCat(View(row.name), " = ",
                                                    View(row.by_default)),
                                       "default"));
    }
  }
  for (const GivenOption& given : options.given) {
    if (FindOption(given.name) != nullptr) continue;
    absl::StrAppend(&out, WithOrigin(given.name, given.origin));
  }
  return out;
}

}  // namespace handlefs
