// Small helpers for text.
#ifndef HANDLEFS_TOOLS_BENCH_TEXT_H_
#define HANDLEFS_TOOLS_BENCH_TEXT_H_

#include <string>
#include <string_view>
#include <vector>

namespace handlefs::bench {

[[gnu::format(printf, 1, 2)]] std::string Format(const char* format, ...);
// Parts between separators; empty ones are left out.
std::vector<std::string> Split(std::string_view text, char separator);
std::string Replace(std::string text, std::string_view from,
                    std::string_view to);
std::string Join(const std::vector<std::string>& parts, std::string_view glue);
// What stands last in a log, without colours and line ends: the reason why
// somebody failed.
std::string LastLine(std::string_view text);
// Three significant digits, thousands without an exponent: 0.0123, 1.24, 118.
std::string Number(double value);

}  // namespace handlefs::bench

#endif  // HANDLEFS_TOOLS_BENCH_TEXT_H_
