// How values are written into a line of text; the parts of text.h share it.
// Every word is put with a blank before it.
#ifndef HANDLEFS_PROTO_TEXT_LINE_H_
#define HANDLEFS_PROTO_TEXT_LINE_H_

#include <array>
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "proto/base/ids.h"
#include "proto/cursor.h"
#include "proto/opcode.h"

namespace handlefs::proto::internal {

class Line {
 public:
  // "rx 12 LOOKUP"; "12!" for a request that was sent again.
  Line(std::string_view direction, uint64_t unique, std::string_view name)
      : text_(direction) {
    Value(unique & ~kUniqueResend);
    if ((unique & kUniqueResend) != 0) text_ += '!';
    Word(name);
  }
  explicit Line(std::string_view direction) : text_(direction) {}

  Line& Word(std::string_view word) {
    text_ += ' ';
    text_ += word;
    return *this;
  }
  Line& Num(std::string_view label, uint64_t value) {
    return Word(label).Value(value);
  }
  Line& Signed(std::string_view label, int64_t value) {
    return Word(label).Value(value);
  }
  Line& Hex(std::string_view label, uint64_t value) {
    return Word(label).Raw(" 0x").Digits(value, 16);
  }
  Line& Oct(std::string_view label, uint64_t value) {
    return Word(label).Raw(" 0").Digits(value, 8);
  }
  // "n5". Ids that pack a host handle are long, and are read in hex.
  Line& Id(std::string_view prefix, uint64_t id) {
    Word(prefix);
    if (id <= UINT32_MAX) return Digits(id, 10);
    text_ += "0x";
    return Digits(id, 16);
  }
  Line& Node(uint64_t id) { return Id("n", id); }
  Line& Value(uint64_t value) { return Raw(" ").Digits(value, 10); }
  Line& Value(int64_t value) { return Raw(" ").Digits(value, 10); }
  // "1.000": seconds and thousandths.
  Line& Seconds(uint64_t seconds, uint32_t nanoseconds) {
    Digits(seconds, 10);
    uint32_t thousandths = nanoseconds / 1000000;
    text_ += thousandths < 10 ? ".00" : thousandths < 100 ? ".0" : ".";
    return Digits(thousandths, 10);
  }
  Line& Raw(std::string_view text) {
    text_ += text;
    return *this;
  }
  template <typename T>
  Line& Digits(T value, int base) {
    std::array<char, 24> digits;
    auto end =
        std::to_chars(digits.data(), digits.data() + digits.size(), value, base)
            .ptr;
    text_.append(digits.data(), end);
    return *this;
  }
  // In quotes, escaped as in C; three octal digits for what is not printable,
  // so that no name can write on the reader's terminal.
  Line& Escaped(std::string_view text);
  Line& Quoted(std::string_view text) { return Raw(" ").Escaped(text); }
  // " <4096 bytes>"
  Line& Data(size_t size) { return Word("<").Digits(size, 10).Raw(" bytes>"); }
  Line& Malformed(size_t size) {
    ++problems_;
    return Word("malformed (").Digits(size, 10).Raw(" bytes)");
  }
  // " ! nodeid 0": what a peer had better not see.
  Line& Problem(std::string_view why) {
    ++problems_;
    return Word("! ").Raw(why);
  }
  // "handle 0a0b", "handle (20 bytes)": short ones are read as bytes.
  Line& Handle(std::string_view label, Bytes handle);

  // What another line says.
  Line& Append(const Line& other) {
    problems_ += other.problems_;
    return Raw(other.text_);
  }

  int problems() const { return problems_; }

  std::string Done() && { return std::move(text_); }

 private:
  std::string text_;
  int problems_ = 0;
};

inline std::string_view AsText(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// What a line says behind the node, of a request (and who asks, where that
// matters), and behind the name, of a reply.
enum class Caller : bool { kOmit, kShow };
void RequestText(Line& line, const RawRequest& raw, Caller caller);
void ReplyText(Line& line, uint32_t opcode, const abi::OutHeader& header,
               Bytes payload);
void NotificationText(Line& line, Bytes message);
// Why `raw`, which its row's decoder refuses, is malformed.
std::string_view WhyMalformed(const OpRow& row, const RawRequest& raw);

// " flags ASYNC_READ,unknown:0x.."
void InitNames(Line& line, uint32_t flags, uint32_t flags2);

}  // namespace handlefs::proto::internal

#endif  // HANDLEFS_PROTO_TEXT_LINE_H_
