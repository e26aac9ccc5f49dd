// LAYOUT fills a struct with the pattern of bytes.h; each FIELD must then read
// the bytes at its place of the protocol's table, and together they must cover
// the struct.
#ifndef HANDLEFS_TEST_UNIT_LAYOUT_H_
#define HANDLEFS_TEST_UNIT_LAYOUT_H_

#include <catch2/catch.hpp>
#include <cstring>
#include <type_traits>

#include "bytes.h"
#include "proto/abi.h"

namespace handlefs::test {

template <typename T>
uint64_t Unsigned(T value) {
  return static_cast<std::make_unsigned_t<T>>(value);
}

template <typename T>
bool HoldsPattern(const T& value, size_t at) {
  Wire pattern = Pattern(at + sizeof(T));
  return std::memcmp(&value, pattern.raw().data() + at, sizeof(T)) == 0;
}

#define LAYOUT(type, size)                 \
  abi::type object;                        \
  size_t covered = 0;                      \
  static_assert(sizeof(object) == (size)); \
  std::memcpy(&object, Pattern(size).raw().data(), size)

#define FIELD(member, at, width)                             \
  static_assert(sizeof(object.member) == (width));           \
  CHECK(Unsigned(object.member) == PatternValue(at, width)); \
  covered += (width)

// A struct or an array.
#define INNER(member, at, width)                   \
  static_assert(sizeof(object.member) == (width)); \
  CHECK(HoldsPattern(object.member, at));          \
  covered += (width)

#define END_LAYOUT() CHECK(covered == sizeof(object))

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_UNIT_LAYOUT_H_
