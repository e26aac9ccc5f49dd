#include <cctype>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "daemon/options_table.h"
#include "generate.h"

namespace handlefs::docs {
namespace {

absl::string_view View(std::string_view text) {
  return {text.data(), text.size()};
}

// Text of the table as text lines: one for each sentence, none that a formatter
// would take for a request.
std::string Sentences(std::string_view text) {
  std::string out = absl::StrReplaceAll(
      View(text), {{"\\", "\\e"}, {"-", "\\-"}, {". ", ".\n"}});
  if (out.starts_with('.') || out.starts_with('\'')) out.insert(0, "\\&");
  return out;
}

void Fact(std::string& out, std::string_view label, std::string_view text) {
  if (text.empty()) return;
  absl::StrAppend(&out, View(label), ": ", Sentences(text), ".\n");
}

std::string Item(const OptionRow& row) {
  std::string out = absl::StrCat(".It Cm ", View(row.name));
  std::string value(row.metavar);
  switch (row.value) {
    case OptionValue::kNone:
      break;
    case OptionValue::kOptional:
      absl::StrAppend(&out, " Ns Op = Ns Ar ", value);
      break;
    case OptionValue::kNeeded:
      absl::StrAppend(&out, " Ns = Ns Ar ", value);
      break;
  }
  if (row.letter != 0) {
    absl::StrAppend(&out, " , Fl ", std::string(1, row.letter));
  }
  std::string help(row.help);
  help[0] = static_cast<char>(std::toupper(help[0]));
  absl::StrAppend(&out, "\n", Sentences(help), ".\n", Sentences(row.more),
                  "\n");
  std::string_view by_default = row.by_default;
  if (by_default.starts_with('(')) {
    by_default = by_default.substr(1, by_default.size() - 2);
  }
  Fact(out, "Default", by_default);
  Fact(out, "Cost", row.cost);
  Fact(out, "Kernel", row.kernel);
  if (row.change == OptionChange::kByRemount) {
    out += "A remount changes it under the live mount.\n";
  } else if (row.change == OptionChange::kByReload) {
    out += "SIGHUP changes it under the live mount.\n";
  }
  return out;
}

enum class Which { kAll, kOfFiles };

std::string Options(Which which) {
  std::string out;
  const OptionRow* before = nullptr;
  for (const OptionRow& row : OptionTable()) {
    if (which == Which::kOfFiles && row.scope == OptionScope::kCommandLine) {
      continue;
    }
    if (before == nullptr || before->group != row.group) {
      absl::StrAppend(&out, before == nullptr ? "" : ".El\n", ".Ss ",
                      View(TitleOf(row.group)), "\n.Bl -tag -width Ds\n");
    }
    before = &row;
    out += Item(row);
  }
  return out + ".El\n";
}

std::string Words() {
  std::string out = ".Bl -tag -width Ds\n";
  for (const MountWord& word : MountWords()) {
    absl::StrAppend(&out, ".It Cm ", View(word.name));
    if (!word.opposite.empty()) {
      absl::StrAppend(&out, " , ", View(word.opposite));
    }
    std::string help(word.help);
    help[0] = static_cast<char>(std::toupper(help[0]));
    absl::StrAppend(&out, "\n", Sentences(help), ".\n");
  }
  return out + ".El\n";
}

}  // namespace

std::string ManPage(std::string_view text) {
  return absl::StrReplaceAll(View(text),
                             {{"@OPTIONS@\n", Options(Which::kAll)},
                              {"@FILE_OPTIONS@\n", Options(Which::kOfFiles)},
                              {"@MOUNT_WORDS@\n", Words()},
                              {"@VERSION@", HANDLEFS_VERSION}});
}

}  // namespace handlefs::docs
