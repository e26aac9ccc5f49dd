#include "reader.h"

#include <cstdint>
#include <cstring>
#include <span>

namespace handlefs::trace {
namespace {

constexpr size_t kSmallest = sizeof(abi::OutHeader);
constexpr std::string_view kBlanks = " \t\r\v\f";

int Digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string_view Trim(std::string_view text) {
  size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) + 1 - first);
}

bool IsHex(std::string_view text) {
  for (char c : text) {
    if (Digit(c) < 0 && kBlanks.find(c) == std::string_view::npos) return false;
  }
  return !text.empty();
}

// Lines of the daemon's log that are there for people.
bool IsLogText(std::string_view line) {
  for (std::string_view start : {"rx ", "tx ", "nx ", ".", "handlefs: "}) {
    if (line.starts_with(start)) return true;
  }
  // With the priority that the journal wants.
  return line.starts_with('<') && line.find(">handlefs: ") == 2;
}

}  // namespace

bool Reader::Fail(std::string_view why, std::string_view what) {
  static constexpr size_t kShown = 40;
  error_ = "line " + std::to_string(line_) + ": " + std::string(why) + ": \"";
  for (char c : what.substr(0, kShown)) {
    error_ += c >= 0x20 && c < 0x7f ? c : '?';
  }
  error_ += what.size() > kShown ? "...\"" : "\"";
  return false;
}

void Reader::Hand(std::string_view message) {
  ++messages_;
  sink_(direction_, std::as_bytes(std::span(message)));
}

// Hands on what is whole of `message_`.
void Reader::Cut() {
  size_t done = 0;
  while (message_.size() - done >= kSmallest) {
    uint32_t len;
    std::memcpy(&len, message_.data() + done, sizeof(len));
    // No message is so short: where it ends is for a mark to say.
    if (len < kSmallest || len > message_.size() - done) break;
    Hand(std::string_view(message_).substr(done, len));
    done += len;
  }
  message_.erase(0, done);
}

void Reader::Flush() {
  if (!message_.empty()) Hand(message_);
  message_.clear();
}

bool Reader::TakeHex(std::string_view text) {
  std::string_view left = text;
  while (true) {
    left = Trim(left);
    if (left.empty()) return true;
    int high = Digit(left[0]);
    int low = left.size() > 1 ? Digit(left[1]) : -1;
    if (high < 0) return Fail("not hex", text);
    if (low < 0) return Fail("half a byte", text);
    message_ += static_cast<char>(high << 4 | low);
    left.remove_prefix(2);
  }
}

bool Reader::TakeLine(std::string_view line) {
  ++line_;
  const bool empty = Trim(line).empty();
  line = Trim(line.substr(0, line.find('#')));
  if (line.empty()) {
    if (empty) {
      Flush();
      direction_ = Direction::kUnknown;
    }
    return true;
  }
  const bool rx = line.starts_with("rx ");
  if ((rx || line.starts_with("tx ")) && IsHex(line.substr(3))) {
    Flush();
    direction_ = rx ? Direction::kRequest : Direction::kReply;
    bool ok = TakeHex(line.substr(3));
    if (ok) Flush();
    direction_ = Direction::kUnknown;
    return ok;
  }
  if (IsLogText(line)) return true;
  if (line[0] == '>' || line[0] == '<') {
    Flush();
    direction_ = line[0] == '>' ? Direction::kRequest : Direction::kReply;
    line = Trim(line.substr(1));
  }
  if (!TakeHex(line)) return false;
  Cut();
  return true;
}

bool Reader::Feed(std::string_view bytes) {
  if (!error_.empty()) return false;
  if (format_ == Format::kDetect && !bytes.empty()) {
    format_ = bytes.find('\0') == std::string_view::npos ? Format::kHex
                                                         : Format::kBinary;
  }
  if (format_ == Format::kBinary) {
    message_ += bytes;
    Cut();
    return true;
  }
  input_ += bytes;
  size_t done = 0;
  for (size_t end; (end = input_.find('\n', done)) != std::string::npos;
       done = end + 1) {
    if (!TakeLine(std::string_view(input_).substr(done, end - done))) {
      return false;
    }
  }
  input_.erase(0, done);
  return true;
}

bool Reader::Finish() {
  if (!error_.empty()) return false;
  if (!input_.empty() && !TakeLine(input_)) return false;
  input_.clear();
  Flush();
  return true;
}

}  // namespace handlefs::trace
