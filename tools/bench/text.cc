#include "text.h"

#include <cmath>
#include <cstdarg>
#include <cstdio>

namespace handlefs::bench {

// NOLINTNEXTLINE(cert-dcl50-cpp): the compiler checks the arguments
std::string Format(const char* format, ...) {
  va_list args;
  va_start(args, format);
  va_list again;
  va_copy(again, args);
  // NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it was started
  int size = vsnprintf(nullptr, 0, format, args);
  va_end(args);
  std::string text(size > 0 ? static_cast<size_t>(size) : 0, '\0');
  if (size > 0) vsnprintf(text.data(), text.size() + 1, format, again);
  va_end(again);
  return text;
}

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    size_t end = text.find(separator);
    if (end != 0) parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return parts;
}

std::string Replace(std::string text, std::string_view from,
                    std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::string Join(const std::vector<std::string>& parts, std::string_view glue) {
  std::string text;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i != 0) text += glue;
    text += parts[i];
  }
  return text;
}

std::string LastLine(std::string_view text) {
  std::string line;
  for (const std::string& candidate : Split(text, '\n')) {
    std::string clean;
    for (size_t i = 0; i < candidate.size(); ++i) {
      if (candidate[i] == '\x1b') {
        while (i < candidate.size() && candidate[i] != 'm') ++i;
      } else if (static_cast<unsigned char>(candidate[i]) >= ' ') {
        clean += candidate[i];
      }
    }
    if (!clean.empty()) line = clean;
  }
  return line;
}

std::string Number(double value) {
  double size = std::fabs(value);
  if (size == 0) return "0";
  if (size >= 100) return Format("%.0f", value);
  if (size >= 10) return Format("%.1f", value);
  if (size >= 1) return Format("%.2f", value);
  return Format("%.3g", value);
}

}  // namespace handlefs::bench
