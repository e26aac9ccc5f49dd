// The mount table as this process sees it: lines of /proc/self/mountinfo.
// Reading it never touches a mount.
#ifndef HANDLEFS_DAEMON_MOUNTINFO_H_
#define HANDLEFS_DAEMON_MOUNTINFO_H_

#include <istream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace handlefs {

struct MountLine {
  std::string id;
  std::string minor;  // of the device: the number of a FUSE connection
  std::string point;  // unescaped
  std::string type;
  friend bool operator==(const MountLine&, const MountLine&) = default;
};

// In the table's order: what covers stands behind what it covers. Lines that
// are none are left out.
std::vector<MountLine> ReadMountInfo(std::istream& mountinfo);
std::vector<MountLine> ReadMountInfo();

// What is topmost at an absolute path.
std::optional<MountLine> TopMountAt(const std::vector<MountLine>& table,
                                    std::string_view point);
std::optional<MountLine> TopMountAt(std::string_view point);
// Covered or not.
std::optional<MountLine> MountOfId(std::string_view id);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_MOUNTINFO_H_
