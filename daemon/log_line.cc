#include "daemon/log_line.h"

#include <syslog.h>

#include <nlohmann/json.hpp>

#include "proto/text.h"

namespace handlefs {
namespace {

using Json = nlohmann::ordered_json;

std::string_view LabelOf(LogLevel level) {
  switch (level) {
    case LogLevel::kError:
      return "error: ";
    case LogLevel::kWarning:
      return "warning: ";
    case LogLevel::kInfo:
    case LogLevel::kDebug:
      break;
  }
  return "";
}

}  // namespace

int PriorityOf(LogLevel level) {
  switch (level) {
    case LogLevel::kError:
      return LOG_ERR;
    case LogLevel::kWarning:
      return LOG_WARNING;
    case LogLevel::kInfo:
      return LOG_INFO;
    case LogLevel::kDebug:
      return LOG_DEBUG;
  }
  return LOG_INFO;
}

std::string TextOf(const LogMessage& message) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out(LabelOf(message.level));
  for (char c : message.text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    } else {
      out += c;
    }
  }
  return out;
}

std::string JsonOf(const LogMessage& message, absl::Time time, int pid,
                   std::string_view mount) {
  Json line;
  line["time"] =
      absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", time, absl::UTCTimeZone());
  line["level"] = WordOf(message.level);
  line["folder"] = WordOf(message.folder);
  line["message"] = message.text;
  line["pid"] = pid;
  if (!mount.empty()) line["mount"] = mount;
  if (!message.op.empty()) line["op"] = message.op;
  if (message.error != 0) line["errno"] = proto::ErrnoName(message.error);
  return line.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace handlefs
