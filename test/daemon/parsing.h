// Command lines and what becomes of them.
#ifndef HANDLEFS_TEST_DAEMON_PARSING_H_
#define HANDLEFS_TEST_DAEMON_PARSING_H_

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "daemon/options.h"
#include "daemon/options_help.h"
#include "daemon/options_table.h"

namespace handlefs::test {

inline absl::StatusOr<Options> Parse(const std::vector<std::string>& args) {
  std::vector<const char*> pointers;
  for (const std::string& arg : args) pointers.push_back(arg.c_str());
  return ParseOptions(pointers, {.config_dir = ""});
}

// With a source and a mount point behind the options.
inline Options Parsed(std::vector<std::string> args) {
  args.insert(args.end(), {"/source", "/mount"});
  auto options = Parse(args);
  INFO(std::string(options.status().message()));
  REQUIRE(options.ok());
  return *options;
}

// The message, which has to be one line; "" if there is no error.
inline std::string Refusal(const std::vector<std::string>& args) {
  auto options = Parse(args);
  if (options.ok()) return "";
  CHECK(absl::IsInvalidArgument(options.status()));
  std::string message(options.status().message());
  CHECK_FALSE(message.empty());
  CHECK(message.find('\n') == std::string::npos);
  return message;
}
inline std::string RefusalOf(const std::string& option) {
  return Refusal({option, "/source", "/mount"});
}

inline bool Mentions(const std::string& text, const std::string& what) {
  return text.find(what) != std::string::npos;
}

// The words of "a|b|c"; nothing that stands for a value, as PATH.
std::vector<std::string> Words(std::string_view metavar);

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_DAEMON_PARSING_H_
