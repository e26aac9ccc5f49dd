// The rows of the layout table, each defined in a file of its own.
#ifndef HANDLEFS_TOOLS_STANDIN_LAYOUTS_H_
#define HANDLEFS_TOOLS_STANDIN_LAYOUTS_H_

#include "layout.h"

namespace handlefs::standin {

extern const Layout kLayoutV3;
extern const Layout kLayoutAll;
extern const Layout kLayoutV6;
extern const Layout kLayoutV7;
extern const Layout kLayoutInline;

}  // namespace handlefs::standin

#endif  // HANDLEFS_TOOLS_STANDIN_LAYOUTS_H_
