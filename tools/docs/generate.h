// What is made from the table of options at build time.
#ifndef HANDLEFS_TOOLS_DOCS_GENERATE_H_
#define HANDLEFS_TOOLS_DOCS_GENERATE_H_

#include <string>
#include <string_view>

namespace handlefs::docs {

// A page in mdoc(7). Lines of `text` that are only @OPTIONS@ (all),
// @FILE_OPTIONS@ (those of config files) or @MOUNT_WORDS@ become lists;
// @VERSION@ becomes the version wherever it stands.
std::string ManPage(std::string_view text);

// For handlefs and mount.handlefs.
std::string BashCompletion();
std::string ZshCompletion();
std::string FishCompletion();

}  // namespace handlefs::docs

#endif  // HANDLEFS_TOOLS_DOCS_GENERATE_H_
