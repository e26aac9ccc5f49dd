// What reviewers of the RFC proposed in place of compounds (2026-04):
// LOOKUP_HANDLE as a request of its own, answered with fuse_entry_handle_out.
// Nobody said how files are made; here CREATE stays as it is.
#include "layouts.h"

namespace handlefs::standin {

constinit const Layout kLayoutInline = {
    .name = "lookup-handle-inline",
    .about = "a proposal: LOOKUP_HANDLE answered with attributes and handle",
    .offers_handles = true,
    .lookup = LookupForm::kHandleInline,
};

}  // namespace handlefs::standin
