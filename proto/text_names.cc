// Names of numbers, and how a name is quoted.
#include <cstring>

#include "proto/flags.h"
#include "proto/text.h"
#include "proto/text_line.h"

namespace handlefs::proto {

std::string ErrnoName(int value) {
  const char* name = value > 0 ? strerrorname_np(value) : nullptr;
  return name != nullptr ? name : std::to_string(value);
}

std::string OpcodeName(uint32_t opcode) {
  const OpRow* row = FindRow(opcode);
  if (row == nullptr) return "op" + std::to_string(opcode);
  return std::string(row->name);
}

std::string HexOf(Bytes bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(bytes.size() * 2);
  for (std::byte byte : bytes) {
    hex += kDigits[std::to_integer<int>(byte) >> 4];
    hex += kDigits[std::to_integer<int>(byte) & 15];
  }
  return hex;
}

namespace init {

std::string_view Name(Bit bit) {
  static constexpr std::string_view kNames[] = {
      "ASYNC_READ",            // 0
      "POSIX_LOCKS",           // 1
      "FILE_OPS",              // 2
      "ATOMIC_O_TRUNC",        // 3
      "EXPORT_SUPPORT",        // 4
      "BIG_WRITES",            // 5
      "DONT_MASK",             // 6
      "SPLICE_WRITE",          // 7
      "SPLICE_MOVE",           // 8
      "SPLICE_READ",           // 9
      "FLOCK_LOCKS",           // 10
      "HAS_IOCTL_DIR",         // 11
      "AUTO_INVAL_DATA",       // 12
      "DO_READDIRPLUS",        // 13
      "READDIRPLUS_AUTO",      // 14
      "ASYNC_DIO",             // 15
      "WRITEBACK_CACHE",       // 16
      "NO_OPEN_SUPPORT",       // 17
      "PARALLEL_DIROPS",       // 18
      "HANDLE_KILLPRIV",       // 19
      "POSIX_ACL",             // 20
      "ABORT_ERROR",           // 21
      "MAX_PAGES",             // 22
      "CACHE_SYMLINKS",        // 23
      "NO_OPENDIR_SUPPORT",    // 24
      "EXPLICIT_INVAL_DATA",   // 25
      "MAP_ALIGNMENT",         // 26
      "SUBMOUNTS",             // 27
      "HANDLE_KILLPRIV_V2",    // 28
      "SETXATTR_EXT",          // 29
      "INIT_EXT",              // 30
      "INIT_RESERVED",         // 31
      "SECURITY_CTX",          // 32
      "HAS_INODE_DAX",         // 33
      "CREATE_SUPP_GROUP",     // 34
      "HAS_EXPIRE_ONLY",       // 35
      "DIRECT_IO_ALLOW_MMAP",  // 36
      "PASSTHROUGH",           // 37
      "NO_EXPORT_SUPPORT",     // 38
      "HAS_RESEND",            // 39
      "ALLOW_IDMAP",           // 40
      "OVER_IO_URING",         // 41
      "REQUEST_TIMEOUT",       // 42
      "BIT43",                 // 43, see flags.h: it has two meanings
  };
  static_assert(std::size(kNames) == kBit43 + 1);
  return bit < std::size(kNames) ? kNames[bit] : std::string_view();
}

}  // namespace init

namespace internal {

void InitNames(Line& line, uint32_t flags, uint32_t flags2) {
  uint64_t left = InitFlags::FromWire(flags, flags2).bits();
  line.Word("flags");
  std::string_view before = " ";
  for (uint8_t bit = 0; bit < 64; ++bit) {
    std::string_view name = init::Name(static_cast<init::Bit>(bit));
    if ((left >> bit & 1) == 0 || name.empty()) continue;
    line.Raw(before).Raw(name);
    before = ",";
    left &= ~(uint64_t{1} << bit);
  }
  if (left != 0) line.Raw(before).Raw("unknown:0x").Digits(left, 16);
  // Bits that count for nothing, but which somebody has sent.
  if (flags2 != 0 && (flags & 1u << init::kInitExt) == 0) {
    line.Hex("flags2-ignored", flags2);
  }
}

Line& Line::Handle(std::string_view label, Bytes handle) {
  static constexpr size_t kShown = 16;
  Word(label).Raw("(");
  if (handle.empty() || handle.size() > kShown) {
    return Digits(handle.size(), 10).Raw(" bytes)");
  }
  return Raw(HexOf(handle)).Raw(")");
}

Line& Line::Escaped(std::string_view text) {
  static constexpr std::string_view kLetters = "\a\b\t\n\v\f\r\"\\";
  static constexpr std::string_view kEscapes = "abtnvfr\"\\";
  text_ += '"';
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (size_t i = kLetters.find(c); i != std::string_view::npos) {
      text_ += '\\';
      text_ += kEscapes[i];
    } else if (byte >= 0x20 && byte < 0x7f) {
      text_ += c;
    } else {
      text_ += '\\';
      for (int shift : {6, 3, 0}) {
        text_ += static_cast<char>('0' + (byte >> shift & 7));
      }
    }
  }
  text_ += '"';
  return *this;
}

}  // namespace internal
}  // namespace handlefs::proto
