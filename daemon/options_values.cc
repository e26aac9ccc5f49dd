#include "daemon/options_values.h"

#include <charconv>

namespace handlefs {

absl::Status BadOption(std::string_view message) {
  return absl::InvalidArgumentError(
      absl::string_view(message.data(), message.size()));
}

absl::Status ChooseSwitch(Switch& out, std::string_view value) {
  return Choose(out, value, {{"off", Switch::kOff}, {"on", Switch::kOn}});
}

absl::Status ChooseDialect(const proto::Dialect*& out, std::string_view value) {
  const proto::Dialect* found = proto::FindDialect(value);
  if (found != nullptr || value == "auto") {
    out = found;
    return absl::OkStatus();
  }
  std::string words = "auto";
  for (const proto::Dialect* dialect : proto::Dialects()) {
    absl::StrAppend(&words, ", ", std::string(dialect->name));
  }
  return BadOption(
      absl::StrCat("'", std::string(value), "' is not one of ", words));
}

absl::Status Number(uint32_t& out, std::string_view value, uint32_t least,
                    uint32_t most) {
  uint64_t number = 0;
  auto [end, error] =
      std::from_chars(value.data(), value.data() + value.size(), number);
  std::string_view unit(end,
                        static_cast<size_t>(value.data() + value.size() - end));
  int shift = 0;
  if (unit == "k" || unit == "K") {
    shift = 10;
  } else if (unit == "m" || unit == "M") {
    shift = 20;
  } else if (!unit.empty()) {
    error = std::errc::invalid_argument;
  }
  // Compared before it is shifted, too: bits may leave at the top.
  if (number <= most) number <<= shift;
  if (error != std::errc() || number < least || number > most) {
    return BadOption(absl::StrCat("'", std::string(value),
                                  "' is not a number from ", least, " to ",
                                  most));
  }
  out = static_cast<uint32_t>(number);
  return absl::OkStatus();
}

absl::Status Seconds(double& out, std::string_view value) {
  constexpr double kYear = 366.0 * 24 * 3600;
  double number = 0;
  auto [end, error] =
      std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() ||
      !(number >= 0) || number > kYear) {
    return BadOption(
        absl::StrCat("'", std::string(value),
                     "' is not a number of seconds from 0 to a year"));
  }
  out = number;
  return absl::OkStatus();
}

absl::Status TextValue(std::string& out, std::string_view value) {
  if (value.empty()) return BadOption("it needs a value");
  out = std::string(value);
  return absl::OkStatus();
}

}  // namespace handlefs
