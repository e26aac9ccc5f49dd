// Why a request is malformed, found by asking the decoder about its parts: the
// rules themselves stand in cursor.cc alone.
#include "proto/flags.h"
#include "proto/text_line.h"

namespace handlefs::proto::internal {
namespace {

std::string_view WhyNoText(Bytes rest, Text kind) {
  std::string_view text = AsText(rest);
  size_t size = text.find('\0');
  if (size == std::string_view::npos) return "a string without NUL";
  if (kind == Text::kFree) return "a bad string";
  if (size == 0) return "an empty name";
  if (size > kNameMax) return "a name of more than 255 bytes";
  if (text.substr(0, size).find('/') != std::string_view::npos) {
    return "a name with a slash";
  }
  return "a name that is a dot or two";
}

std::string_view WhyBadRecord(uint32_t type, Bytes record, size_t handles) {
  if (type <= kExtMaxSecctx) return "a bad security context";
  if (type == kExtGroups) return "bad groups";
  Cursor cursor(record);
  auto head = cursor.Take<abi::FileHandle>();
  if (!head) return "a handle record without size";
  if (head->size > abi::kMaxNodeHandle) {
    return "a handle of more than 128 bytes";
  }
  if (head->size > cursor.rest().size()) {
    return "a handle longer than its record";
  }
  return handles > 2 ? "more than two handles" : "a bad handle";
}

std::string_view WhyBadExtensions(Bytes area) {
  Cursor cursor(area);
  size_t handles = 0;
  while (!cursor.rest().empty()) {
    auto head = cursor.Take<abi::ExtHeader>();
    if (!head) return "bytes behind the arguments that are no extension";
    if (head->size < sizeof(*head) || head->size % 8 != 0) {
      return "an extension whose size is no multiple of 8";
    }
    auto record = cursor.TakeBytes(head->size - sizeof(*head));
    if (!record) return "an extension that reaches past the end";
    if (head->type == kExtHandle) ++handles;
    // The first with which they do not parse is the bad one.
    size_t so_far = area.size() - cursor.rest().size();
    if (!ParseExtensions(area.first(so_far)).ok()) {
      return WhyBadRecord(head->type, *record, handles);
    }
  }
  return "bad extensions";
}

}  // namespace

std::string_view WhyMalformed(const OpRow& row, const RawRequest& raw) {
  const bool may_be_short =
      (row.flags & kShortFixed) != 0 || row.op == Opcode::kSetxattr;
  if (raw.fixed.size() < (may_be_short ? 8 : row.fixed_in)) {
    return "shorter than its struct";
  }
  const bool by_header = raw.ext_place == RawRequest::ExtPlace::kByHeader;
  const size_t told = size_t{raw.header.total_extlen} * 8;
  if (told > raw.tail.size()) return "total_extlen is more than there is";
  Cursor cursor(by_header ? raw.tail.first(raw.tail.size() - told) : raw.tail);
  for (Text kind : {row.text, row.text2}) {
    if (kind == Text::kNone) continue;
    Bytes rest = cursor.rest();
    if (!cursor.TakeText(kind).ok()) return WhyNoText(rest, kind);
  }
  if (row.tail == Tail::kData) {
    if (!by_header && told > cursor.rest().size()) {
      return "total_extlen reaches into a name";
    }
    return WhyBadExtensions(raw.tail.last(told));
  }
  if (by_header) {
    if (!cursor.rest().empty()) return "bytes behind the arguments";
    return WhyBadExtensions(raw.tail.last(told));
  }
  if (told != 0 && told != cursor.rest().size()) {
    return "total_extlen is not the size of the extensions";
  }
  return WhyBadExtensions(cursor.rest());
}

}  // namespace handlefs::proto::internal
