// A host tree under random changes, the Nodes that serve it, and a model of
// what every name and every nodeid must mean. The model knows which file is
// which because it made them: regular files and symlinks carry their number.
//
// Changes are made either "through the mount", with the calls around them that
// an op makes, or on the host behind the server's back.
#ifndef HANDLEFS_TEST_HANDLES_TREE_MODEL_H_
#define HANDLEFS_TEST_HANDLES_TREE_MODEL_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "handles/nodes.h"
#include "sandbox.h"
#include "support.h"

namespace handlefs::test {

inline constexpr HashKey kTestKey = {0x0123456789abcdef, 0xfedcba9876543210};

std::unique_ptr<Nodes> ServeTree(const std::string& path,
                                 const Nodes::Config& config,
                                 Submounts submounts = Submounts::kHide);

class TreeModel {
 public:
  struct Options {
    Nodes::Config config;
    uint64_t seed = 1;
    int steps = 3000;
    // Ids are the same over restarts, and differ for all files that ever were.
    bool stable_ids = true;
    // Nodes are found by their one known name, which must not change behind
    // the server's back.
    bool by_name = false;
    bool drop_inodes = true;
  };

  TreeModel(const std::string& path, const Options& options);
  ~TreeModel();
  // A directory that is there already and stays, like a subvolume.
  void Adopt(const std::string& name);
  void Run();
  // How often a new file got the inode number of one that is gone.
  size_t reused() const { return reused_; }

 private:
  struct File {
    int number = 0;
    char type = 'f';                 // f l d p
    std::vector<std::string> names;  // paths below the source; none: deleted
    bool permanent = false;
    // As the kernel of the mount would know it.
    NodeId ever = kNoNode;   // the id it had at any time
    uint64_t lookups = 0;    // 0: the kernel does not know it
    bool pinned = false;     // lost its last name through the mount
    uint64_t pin_count = 0;  // lookups since then
    uint32_t generation = 0;
    FileNumbers numbers;
  };
  using Ref = std::shared_ptr<File>;

  std::string Host(const std::string& name) const { return path_ + name; }
  Ref AnyDir();
  Ref AnyNamed();
  Ref AnyKnown();
  std::string AnyPlace();  // a path that may or may not be taken
  static std::string ParentOf(const std::string& name);
  static std::string LeafOf(const std::string& name);
  bool IsKnown(const Ref& file) const;
  // A descriptor of the directory by its nodeid, which must be the right one.
  SharedFd DirFd(const Ref& dir);
  void MakeKnown(const Ref& dir);

  void Create();
  void Link();
  void Rename();
  void Remove();
  void Tmpfile();
  void NameTmpfile(const Ref& file);
  void LookUp(const std::string& name);
  void Forget();
  void Restart();
  void CheckNode(const Ref& file);
  void CheckSelf(const Ref& file);
  void CheckMissing();
  void CheckAll();

  void Met(const Ref& file, const Nodes::Entry& entry);
  void LostName(const Ref& file, const std::string& name, bool through_mount);
  void Gone(const Ref& file);
  void CheckIsFile(const Ref& file, BorrowedFd fd);

  const std::string path_;
  const Options options_;
  Random random_;
  std::unique_ptr<Nodes> nodes_;
  int next_ = 1;
  std::map<std::string, Ref> names_;  // "" is the root
  std::vector<Ref> nameless_;         // deleted, or never named
  std::map<uint64_t, Ref> owners_;    // of ids
  std::set<std::pair<uint64_t, uint64_t>> inos_;
  size_t reused_ = 0;
  size_t fds_before_ = 0;
};

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_HANDLES_TREE_MODEL_H_
