// What the steps did to each inode of the left side. Some limits of a mount
// hold only for files with a past, for example those read through its page
// cache; a quirk asks here whether an inode is one of them.
#ifndef HANDLEFS_TEST_ORACLE_MEMORY_H_
#define HANDLEFS_TEST_ORACLE_MEMORY_H_

#include <cstdint>
#include <map>
#include <string>

#include "op.h"
#include "result.h"

namespace oracle {

enum Past : uint32_t {
  kWasSetId = 1,  // had S_ISUID or S_ISGID at some time
  kWasRead = 2,   // its data was read, by whatever call
  kWasMapped = 4,
  kIsPinned = 8,  // immutable or append-only after the last step on it
};

struct Known {
  uint32_t mode = 0;  // 0: nothing is known
  uint32_t past = 0;
};

class Memory {
 public:
  void Clear();
  // The objects of a step, as seen on the left side after it.
  void Note(const Op& op, const Result& objects);
  Known Inode(uint64_t ino) const;
  // An object of the last step by its label; the empty one is the main object.
  Known Object(const std::string& label) const;
  // The pasts of all objects of the last step together.
  uint32_t AnyObject() const;

 private:
  struct Entry {
    int64_t born[2] = {};  // tells an inode from the next one of its number
    Known known;
  };

  std::map<uint64_t, Entry> inodes_;
  std::map<std::string, uint64_t> objects_;
  std::string main_;
};

}  // namespace oracle

#endif  // HANDLEFS_TEST_ORACLE_MEMORY_H_
