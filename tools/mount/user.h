// Who serves, where that is not who mounts: setuid=USER and drop_privileges.
#ifndef HANDLEFS_TOOLS_MOUNT_USER_H_
#define HANDLEFS_TOOLS_MOUNT_USER_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <variant>

#include "exit_status.h"

namespace handlefs::mount_helper {

struct User {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
};
// By name or number.
std::variant<User, Failure> FindUser(const std::string& name);

// For this process, for good; the text of an error where it cannot be done.
// Becomes `user`, with the user's groups and no capabilities.
std::optional<std::string> BecomeUser(const User& user);
// No capabilities, and no way to get any by what is run later.
std::optional<std::string> DropPrivileges(const std::optional<User>& user);

// May this process mount?
bool CanMount();

}  // namespace handlefs::mount_helper

#endif  // HANDLEFS_TOOLS_MOUNT_USER_H_
