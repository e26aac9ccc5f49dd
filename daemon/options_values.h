// How values of options are read. Messages name the value and what is taken;
// the caller puts the option's name before them.
#ifndef HANDLEFS_DAEMON_OPTIONS_VALUES_H_
#define HANDLEFS_DAEMON_OPTIONS_VALUES_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "daemon/options.h"

namespace handlefs {

absl::Status BadOption(std::string_view message);

template <typename E>
struct Choice {
  std::string_view word;
  E value;
};

template <typename E, size_t N>
absl::Status Choose(E& out, std::string_view value,
                    const Choice<E> (&choices)[N]) {
  std::string words;
  for (const Choice<E>& choice : choices) {
    if (choice.word == value) {
      out = choice.value;
      return absl::OkStatus();
    }
    absl::StrAppend(&words, words.empty() ? "" : ", ",
                    std::string(choice.word));
  }
  return BadOption(
      absl::StrCat("'", std::string(value), "' is not one of ", words));
}

absl::Status ChooseSwitch(Switch& out, std::string_view value);
absl::Status ChooseDialect(const proto::Dialect*& out, std::string_view value);
// With an optional k or m behind it.
absl::Status Number(uint32_t& out, std::string_view value, uint32_t least,
                    uint32_t most);
absl::Status Seconds(double& out, std::string_view value);
absl::Status TextValue(std::string& out, std::string_view value);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_OPTIONS_VALUES_H_
