// INIT as the played kernel sends it, and its answer as today's kernel can use
// it behind a socket.
#ifndef HANDLEFS_TOOLS_STANDIN_INIT_H_
#define HANDLEFS_TOOLS_STANDIN_INIT_H_

#include <cstddef>

#include "bytes.h"
#include "complaints.h"
#include "layout.h"

namespace handlefs::standin {

// `request` is a whole INIT of the kernel.
Buffer ToServer(const Layout& layout, Bytes request);

struct InitAnswer {
  Buffer reply;  // for the kernel
  bool agreed = false;
  bool has_handles = false;
};
// `request` is the kernel's, `reply` the server's. No request may carry more
// than `data_limit` bytes of data.
InitAnswer ToKernel(const Layout& layout, Bytes request, Bytes reply,
                    size_t data_limit, Complaints& complaints);

}  // namespace handlefs::standin

#endif  // HANDLEFS_TOOLS_STANDIN_INIT_H_
