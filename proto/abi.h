// Every wire layout, of the mainline protocol and of what was posted. The
// layouts are written by hand and asserted. The system's header of them is
// never included: a distribution's copy is older than the kernels this server
// speaks to.
#ifndef HANDLEFS_PROTO_ABI_H_
#define HANDLEFS_PROTO_ABI_H_

#include "proto/abi_device.h"    // IWYU pragma: export
#include "proto/abi_objects.h"   // IWYU pragma: export
#include "proto/abi_replies.h"   // IWYU pragma: export
#include "proto/abi_requests.h"  // IWYU pragma: export
#include "proto/abi_rfc.h"       // IWYU pragma: export

#endif  // HANDLEFS_PROTO_ABI_H_
