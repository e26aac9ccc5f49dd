// The rows of the dialect table, each defined in a file of its own.
#ifndef HANDLEFS_PROTO_DIALECTS_H_
#define HANDLEFS_PROTO_DIALECTS_H_

#include "proto/dialect.h"

namespace handlefs::proto {

extern const Dialect kLookupHandleV3;
extern const Dialect kLookupHandleAll;
extern const Dialect kLookupHandleInline;
extern const Dialect kCompoundV6;
extern const Dialect kCompoundV7;
extern const Dialect kCompoundDev;

}  // namespace handlefs::proto

#endif  // HANDLEFS_PROTO_DIALECTS_H_
