// Everything that looks at untrusted bytes, in one call: what the fuzzer and
// the replay of its corpus run. Any bytes are fine; only a crash, a sanitizer
// report or an abort is a failure.
#ifndef HANDLEFS_TEST_FUZZ_DECODE_ALL_H_
#define HANDLEFS_TEST_FUZZ_DECODE_ALL_H_

#include <cstdlib>
#include <utility>

#include "proto/text.h"

namespace handlefs::test {

inline void Require(bool held) {
  if (!held) std::abort();
}

// What Decode promises to the ops that come after it.
template <proto::Opcode kOp>
void DecodeOne(const proto::RawRequest& raw) {
  auto request = proto::Decode<kOp>(raw);
  if (!request.ok()) {
    int error = request.error().value();
    Require(error == EINVAL || error == ENAMETOOLONG);
    return;
  }
  constexpr const proto::OpRow& row = proto::RowOf(kOp);
  Require(request->text.c_str()[request->text.size()] == '\0');
  if (row.text == proto::Text::kName) {
    auto name = request->text.view();
    Require(!name.empty() && name.size() <= 255 && name != "." && name != "..");
    Require(name.find('/') == name.npos && name.find('\0') == name.npos);
  }
  if (request->ext.handle) Require(request->ext.handle->size() <= 128);
}

template <size_t... kRow>
void DecodeAsEach(const proto::RawRequest& raw, std::index_sequence<kRow...>) {
  (DecodeOne<proto::kOpTable[kRow].op>(raw), ...);
}

inline void DecodeAll(proto::Bytes bytes) {
  using namespace proto;
  for (size_t setxattr_size : {8, 16}) {
    auto raw = Split(bytes, setxattr_size);
    if (!raw.ok()) continue;
    Require(!DescribeRequest(*raw).empty());
    DecodeAsEach(*raw, std::make_index_sequence<kOpRows>());
  }
  Require(!DescribeNotification(bytes).empty());
  Cursor cursor(bytes);
  if (auto header = cursor.Take<abi::OutHeader>()) {
    for (const OpRow& row : kOpTable) {
      auto op = static_cast<uint32_t>(row.op);
      Require(!DescribeReply(op, *header, cursor.rest()).empty());
    }
  }
}

inline void ExtensionsAll(proto::Bytes bytes) {
  auto ext = proto::ParseExtensions(bytes);
  if (!ext.ok()) return;
  auto inside = [&bytes](proto::Bytes part) {
    return part.data() >= bytes.data() &&
           part.data() + part.size() <= bytes.data() + bytes.size();
  };
  if (ext->handle) Require(ext->handle->size() <= 128 && inside(*ext->handle));
  if (ext->secctx) {
    Require(inside(ext->secctx->value) && ext->secctx->name.size() > 0);
  }
}

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_FUZZ_DECODE_ALL_H_
