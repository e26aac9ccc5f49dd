#include "daemon/options_config.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "daemon/options_table.h"
#include "daemon/options_values.h"
#include "io/base/fd.h"

namespace handlefs {
namespace {

constexpr size_t kMostBytes = 1 << 20;

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return "";
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

// Up to a '#' that stands first or behind a blank, but not in quotes.
std::string_view WithoutComment(std::string_view line) {
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"') quoted = !quoted;
    if (line[i] == '#' && !quoted &&
        (i == 0 || line[i - 1] == ' ' || line[i - 1] == '\t')) {
      return line.substr(0, i);
    }
  }
  return line;
}

bool IsQuoted(std::string_view value) {
  return value.size() >= 2 && value.front() == '"' && value.back() == '"';
}

std::string NormalName(std::string_view name) {
  std::string out(name);
  for (char& c : out) {
    if (c == '-') c = '_';
  }
  return out;
}

// For what only the command line may say.
const OptionRow* OnlyCommandLine(std::string_view name) {
  const OptionRow* row = FindOption(NormalName(name));
  if (row == nullptr || row->scope != OptionScope::kCommandLine) return nullptr;
  return row;
}

absl::Status ApplyLine(Options& options, std::string_view line,
                       const std::string& origin) {
  line = Trim(WithoutComment(line));
  if (line.empty()) return absl::OkStatus();
  size_t equals = line.find('=');
  std::string_view name = Trim(line.substr(0, equals));
  if (name.empty() || name.find_first_of(" \t[]\"") != std::string_view::npos) {
    return BadOption(absl::StrCat("'", std::string(line),
                                  "' is not of the form name = value"));
  }
  if (OnlyCommandLine(name) != nullptr) {
    return BadOption(absl::StrCat("option ", std::string(name),
                                  " belongs on the command line"));
  }
  std::string word(name);
  if (equals != std::string_view::npos) {
    std::string_view value = Trim(line.substr(equals + 1));
    if (IsQuoted(value)) value = value.substr(1, value.size() - 2);
    absl::StrAppend(&word, "=", std::string(value));
  }
  return ApplyOption(options, word, origin);
}

enum class Missing { kIsNone, kIsError };

absl::Status ApplyFile(Options& options, const std::string& path,
                       Missing missing) {
  auto failed = [&] {
    return BadOption(absl::StrCat("cannot read the config file ", path, ": ",
                                  std::strerror(errno)));
  };
  // Nothing is waited for if it is a FIFO.
  UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) {
    if (missing == Missing::kIsNone && errno == ENOENT) return absl::OkStatus();
    return failed();
  }
  std::string text;
  char buffer[4096];
  while (true) {
    ssize_t n = read(file.get(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed();
    if (n == 0) break;
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > kMostBytes) {
      return BadOption(absl::StrCat("the config file ", path, " has more than ",
                                    kMostBytes, " bytes"));
    }
  }
  return ApplyConfigText(options, text, path);
}

// Null if it is not set, or empty.
const char* FromEnvironment(const Surroundings& surroundings,
                            std::string_view option) {
  if (surroundings.environment == nullptr) return nullptr;
  std::string key = absl::StrCat(
      "HANDLEFS_",
      absl::AsciiStrToUpper(absl::string_view(option.data(), option.size())),
      "=");
  for (const char* const* e = surroundings.environment; *e != nullptr; ++e) {
    if (std::strncmp(*e, key.c_str(), key.size()) != 0) continue;
    const char* value = *e + key.size();
    return *value == '\0' ? nullptr : value;
  }
  return nullptr;
}

absl::Status ApplyEnvironment(Options& options,
                              const Surroundings& surroundings) {
  for (const OptionRow& row : OptionTable()) {
    if (row.scope == OptionScope::kCommandLine) continue;
    const char* value = FromEnvironment(surroundings, row.name);
    if (value == nullptr) continue;
    absl::Status status =
        ApplyOption(options, absl::StrCat(std::string(row.name), "=", value),
                    "environment");
    if (!status.ok()) {
      return BadOption(absl::StrCat("the environment: ",
                                    absl::string_view(status.message())));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ApplyConfigText(Options& options, std::string_view text,
                             const std::string& path) {
  for (size_t number = 1; !text.empty(); ++number) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    std::string origin = absl::StrCat(path, ":", number);
    absl::Status status = ApplyLine(options, line, origin);
    if (!status.ok()) {
      return BadOption(
          absl::StrCat(origin, ": ", absl::string_view(status.message())));
    }
  }
  return absl::OkStatus();
}

absl::Status ApplySurroundings(Options& options,
                               const Surroundings& surroundings,
                               const std::string& config) {
  const std::string& dir = surroundings.config_dir;
  if (!dir.empty()) {
    absl::Status status =
        ApplyFile(options, dir + "/handlefs.conf", Missing::kIsNone);
    if (!status.ok()) return status;
  }
  std::string named = config;
  if (named.empty()) {
    const char* value = FromEnvironment(surroundings, "config");
    if (value != nullptr) named = value;
  }
  if (!named.empty()) {
    if (named.find('/') == std::string::npos) {
      named = absl::StrCat(dir, "/", named, ".conf");
    } else if (named[0] != '/' && !surroundings.directory.empty()) {
      named = absl::StrCat(surroundings.directory, "/", named);
    }
    absl::Status status = ApplyFile(options, named, Missing::kIsError);
    if (!status.ok()) return status;
  }
  return ApplyEnvironment(options, surroundings);
}

}  // namespace handlefs
