#include "user.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace handlefs::mount_helper {
namespace {

std::string Because(const char* step) {
  return absl::StrCat(step, ": ", std::strerror(errno));
}

// Version 3 has two words of each set.
using Capabilities = std::array<__user_cap_data_struct, 2>;

bool SetNoCapabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  Capabilities none{};
  return syscall(SYS_capset, &header, none.data()) == 0;
}

}  // namespace

std::variant<User, Failure> FindUser(const std::string& name) {
  const passwd* entry = getpwnam(name.c_str());
  if (entry == nullptr) {
    uid_t uid = 0;
    const char* last = name.data() + name.size();
    auto [end, error] = std::from_chars(name.data(), last, uid);
    if (error == std::errc() && end == last) entry = getpwuid(uid);
  }
  if (entry == nullptr) {
    return Failure{ExitStatus::kUsage, "options",
                   absl::StrCat("setuid: there is no user '", name, "'")};
  }
  return User{entry->pw_name, entry->pw_uid, entry->pw_gid};
}

std::optional<std::string> BecomeUser(const User& user) {
  if (initgroups(user.name.c_str(), user.gid) != 0) {
    return Because("cannot take the user's groups");
  }
  if (setresgid(user.gid, user.gid, user.gid) != 0 ||
      setresuid(user.uid, user.uid, user.uid) != 0) {
    return Because("cannot become the user");
  }
  return std::nullopt;
}

std::optional<std::string> DropPrivileges(const std::optional<User>& user) {
  // While CAP_SETPCAP is there.
  for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; ++cap) {
    if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0) {
      return Because("cannot drop capabilities");
    }
  }
  constexpr unsigned long kBits =
      SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
      SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
      SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
  if (prctl(PR_SET_SECUREBITS, kBits, 0, 0, 0) != 0) {
    return Because("cannot lock capabilities");
  }
  if (user) {
    if (auto reason = BecomeUser(*user)) return reason;
  }
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 ||
      !SetNoCapabilities() || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return Because("cannot give up capabilities");
  }
  return std::nullopt;
}

bool CanMount() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  Capabilities now{};
  if (syscall(SYS_capget, &header, now.data()) != 0) return false;
  return (now[0].effective & (1u << CAP_SYS_ADMIN)) != 0;
}

}  // namespace handlefs::mount_helper
