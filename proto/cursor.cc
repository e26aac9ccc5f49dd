#include "proto/cursor.h"

#include "proto/flags.h"

namespace handlefs::proto {

Result<ZString> Cursor::TakeText(Text kind) {
  const auto* begin = reinterpret_cast<const char*>(rest_.data());
  const void* nul =
      rest_.empty() ? nullptr : std::memchr(begin, '\0', rest_.size());
  if (nul == nullptr) return Errno(EINVAL);
  size_t size = static_cast<size_t>(static_cast<const char*>(nul) - begin);
  ZString text(begin, size);
  if (kind == Text::kName || kind == Text::kLookupName) {
    if (size == 0) return Errno(EINVAL);
    if (size > kNameMax) return Errno(ENAMETOOLONG);
    if (std::memchr(begin, '/', size) != nullptr) return Errno(EINVAL);
    bool dots = text.view() == "." || text.view() == "..";
    if (dots && kind == Text::kName) return Errno(EINVAL);
  }
  rest_ = rest_.subspan(size + 1);
  return text;
}

namespace {

// A block {size, count} of {size, padding, name NUL, value}. The kernel sends
// one entry; with none the block is only its header.
Status ParseSecurityContexts(Bytes record, uint32_t count, Extensions& out) {
  Cursor cursor(record);
  if (out.secctx) return Errno(EINVAL);
  for (uint32_t i = 0; i < count; ++i) {
    auto entry = cursor.Take<abi::Secctx>();
    if (!entry) return Errno(EINVAL);
    ASSIGN_OR_RETURN(ZString name, cursor.TakeText(Text::kFree));
    auto value = cursor.TakeBytes(entry->size);
    if (!value || name.size() == 0) return Errno(EINVAL);
    if (!out.secctx) out.secctx = {.name = name, .value = *value};
  }
  return Ok();
}

Status ParseRecord(uint32_t type, Bytes record, Extensions& out) {
  Cursor cursor(record);
  if (type <= kExtMaxSecctx) return ParseSecurityContexts(record, type, out);
  if (type == kExtGroups) {
    auto head = cursor.Take<abi::SuppGroups>();
    if (!head || cursor.rest().size() / sizeof(uint32_t) < head->nr_groups) {
      return Errno(EINVAL);
    }
    if (out.group) return Errno(EINVAL);
    if (head->nr_groups > 0) out.group = cursor.Take<uint32_t>();
    return Ok();
  }
  if (type == kExtHandle) {
    auto head = cursor.Take<abi::FileHandle>();
    if (!head || head->size > abi::kMaxNodeHandle || out.handle2) {
      return Errno(EINVAL);
    }
    auto handle = cursor.TakeBytes(head->size);
    if (!handle) return Errno(EINVAL);
    (out.handle ? out.handle2 : out.handle) = *handle;
  }
  return Ok();
}

}  // namespace

Result<Extensions> ParseExtensions(Bytes area) {
  Extensions out;
  Cursor cursor(area);
  while (!cursor.rest().empty()) {
    auto head = cursor.Take<abi::ExtHeader>();
    if (!head || head->size < sizeof(*head) || head->size % 8 != 0) {
      return Errno(EINVAL);
    }
    auto record = cursor.TakeBytes(head->size - sizeof(*head));
    if (!record) return Errno(EINVAL);
    RETURN_IF_ERROR(ParseRecord(head->type, *record, out));
  }
  return out;
}

Result<RawRequest> Split(Bytes message, size_t setxattr_size) {
  Cursor cursor(message);
  auto header = cursor.Take<abi::InHeader>();
  if (!header || header->len != message.size()) return Errno(EINVAL);
  RawRequest raw{.header = *header, .fixed = {}, .tail = cursor.rest()};
  const OpRow* row = FindRow(header->opcode);
  if (row == nullptr) return raw;
  size_t fixed = row->op == Opcode::kSetxattr ? setxattr_size : row->fixed_in;
  if (fixed > raw.tail.size()) fixed = raw.tail.size();
  raw.fixed = raw.tail.first(fixed);
  raw.tail = raw.tail.subspan(fixed);
  return raw;
}

namespace internal {

Result<Parts> DecodeTail(const OpRow& row, const RawRequest& raw) {
  Parts parts;
  const bool by_header = raw.ext_place == RawRequest::ExtPlace::kByHeader;
  const size_t told = size_t{raw.header.total_extlen} * 8;
  if (told > raw.tail.size()) return Errno(EINVAL);
  Cursor cursor(by_header ? raw.tail.first(raw.tail.size() - told) : raw.tail);
  if (row.text != Text::kNone) {
    ASSIGN_OR_RETURN(parts.text, cursor.TakeText(row.text));
  }
  if (row.text2 != Text::kNone) {
    ASSIGN_OR_RETURN(parts.text2, cursor.TakeText(row.text2));
  }
  Bytes ext = raw.tail.last(told);
  if (row.tail == Tail::kData) {
    // Data goes up to the end: what a sub has behind it must be told.
    if (!by_header && told > cursor.rest().size()) return Errno(EINVAL);
    parts.data = by_header ? cursor.rest()
                           : cursor.rest().first(cursor.rest().size() - told);
  } else if (by_header) {
    if (!cursor.rest().empty()) return Errno(EINVAL);
  } else {
    ext = cursor.rest();
    if (told != 0 && told != ext.size()) return Errno(EINVAL);
  }
  ASSIGN_OR_RETURN(parts.ext, ParseExtensions(ext));
  return parts;
}

}  // namespace internal
}  // namespace handlefs::proto
