// Results as JSON and back. The schema is in README.md.
#ifndef HANDLEFS_TOOLS_BENCH_JSON_H_
#define HANDLEFS_TOOLS_BENCH_JSON_H_

#include <string>
#include <variant>

#include "results.h"

namespace handlefs::bench {

std::string ToJson(const Results& results);
// Or what is wrong: another format or version, a missing or mistyped field, a
// number that no measurement can yield.
std::variant<Results, std::string> FromJson(const std::string& text);

}  // namespace handlefs::bench

#endif  // HANDLEFS_TOOLS_BENCH_JSON_H_
