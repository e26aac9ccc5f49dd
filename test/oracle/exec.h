// Runs steps on one side, inside a worker process which is chrooted into the
// side's directory, so that ".." and absolute links stay inside of it.
#ifndef HANDLEFS_TEST_ORACLE_EXEC_H_
#define HANDLEFS_TEST_ORACLE_EXEC_H_

#include <sys/stat.h>
#include <sys/types.h>

#include <cerrno>
#include <string>
#include <vector>

#include "op.h"
#include "result.h"

namespace oracle {

constexpr size_t kMaxIo = 1 << 20;

class Exec {
 public:
  // The pids are those of the workers of the same side, for lock owners.
  Exec(int ident, int64_t start_sec, int proc_fd, const pid_t* pids);

  void Run(const Op& op, Result* out);
  // Identity and times of the objects before the step.
  void Before(const Op& op, Result* out);
  // The same of more objects: what was just opened, and, with a slash behind
  // the label, where links lead.
  void Peek(const Op& op, Result* out);
  void Walk(Result* out);
  void Slots(Result* out);
  void Reset();
  void Sync();
  // Removes everything below the root and gives it default metadata.
  void Empty(Result* out);

 private:
  struct Slot {
    int fd = -1;
    uint32_t flags = 0;
  };
  struct Object {
    std::string label;
    int dirfd;
    std::string path;
  };
  struct DirEntry {
    std::string name;
    unsigned char type;
    uint64_t ino;
  };

  int DirFd(const Path& p) const;
  int Fd(int slot) const { return slots_[slot].fd; }
  bool Direct(int slot) const;
  void CloseSlot(int slot);
  void Ret(int64_t ret);
  void Put(Tag tag, int64_t num, std::string text = std::string());
  void PutPos(const char* label, int fd);

  // exec_io.cc
  void Open(const Op& op);
  void Reopen(const Op& op);
  void ReadWrite(const Op& op);
  void Lseek(const Op& op);
  void Mmap(const Op& op);
  void CopyRange(const Op& op);
  void Sendfile(const Op& op);
  void Lock(const Op& op);
  void Setfl(const Op& op);

  // exec_path.cc
  void Dispatch(const Op& op);
  void Stat(const Op& op);
  void Readlink(const Op& op);
  void Chmod(const Op& op);
  void Chown(const Op& op);
  void Utimens(const Op& op);
  void Access(const Op& op);
  void Listdir(const Op& op);
  void Iflags(const Op& op);
  void Statfs(const Op& op);

  // exec_xattr.cc
  void Setxattr(const Op& op);
  void Getxattr(const Op& op);
  void Listxattr(const Op& op);
  void Rmxattr(const Op& op);
  void PutXattrs(const std::string& label, const std::string& path);

  // observe.cc
  std::vector<Object> Objects(const Op& op) const;
  void Observe(const Op& op);
  bool PutStat(const std::string& label, int dirfd, const std::string& path,
               int flags, struct statx* stx);
  void PutStatFields(const std::string& label, const struct statx& stx);
  void PutRaw(const std::string& label, const struct statx& stx);
  std::string TimeText(const struct statx_timestamp& t) const;
  int ReadDir(int fd, size_t buffer, std::vector<DirEntry>* out);
  static std::string ListText(const std::vector<DirEntry>& entries);
  void WalkDir(int fd, const std::string& path);
  void WalkFile(int dirfd, const std::string& name, const std::string& label,
                uint64_t size);
  bool ResetRoot();
  bool EmptyDir(int fd, std::string* why);

  int ident_;
  int64_t start_sec_;
  int proc_fd_;
  const pid_t* pids_;
  Slot slots_[kSlots];
  char* buffer_;
  unsigned root_dev_[2] = {};
  Result* out_ = nullptr;
};

inline int64_t Err(int64_t ret) { return ret < 0 ? -errno : ret; }

}  // namespace oracle

#endif  // HANDLEFS_TEST_ORACLE_EXEC_H_
