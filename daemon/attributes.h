// From the host's statx to the attributes on the wire.
#ifndef HANDLEFS_DAEMON_ATTRIBUTES_H_
#define HANDLEFS_DAEMON_ATTRIBUTES_H_

#include <sys/stat.h>

#include <cstdint>

#include "proto/abi.h"

namespace handlefs {

// For how long the kernel may believe what it was told.
struct Validity {
  uint64_t seconds = 0;
  uint32_t nanoseconds = 0;
};

abi::Attr ToAttr(const struct statx& stx, uint64_t ino);
abi::Statx ToStatx(const struct statx& stx, uint64_t ino);
abi::AttrOut ToAttrOut(const struct statx& stx, uint64_t ino, Validity attr);

// Device numbers travel as minor's low byte, major, rest of minor.
constexpr uint32_t EncodeDev(uint32_t major, uint32_t minor) {
  return (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
}
dev_t DecodeDev(uint32_t wire);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_ATTRIBUTES_H_
