#include "tree_model.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>

namespace handlefs::test {

std::unique_ptr<Nodes> ServeTree(const std::string& path,
                                 const Nodes::Config& config,
                                 Submounts submounts) {
  auto source = OpenSource(path, submounts);
  INFO(std::string(source.status().message()));
  REQUIRE(source.ok());
  auto nodes = Nodes::Make(std::move(*source), config);
  INFO(std::string(nodes.status().message()));
  REQUIRE(nodes.ok());
  return std::move(*nodes);
}

TreeModel::TreeModel(const std::string& path, const Options& options)
    : path_(path), options_(options), random_(options.seed) {
  fds_before_ = CountFds();
  nodes_ = ServeTree(path_, options_.config);
  auto root = std::make_shared<File>();
  root->type = 'd';
  root->names = {""};
  root->permanent = true;
  root->ever = kRootNode;
  root->lookups = 1;
  root->numbers = NumbersOf(path_);
  names_[""] = root;
  owners_[Raw(kRootNode)] = root;
}

TreeModel::~TreeModel() = default;

void TreeModel::Adopt(const std::string& name) {
  auto dir = std::make_shared<File>();
  dir->number = next_++;
  dir->type = 'd';
  dir->names = {name};
  dir->permanent = true;
  dir->numbers = NumbersOf(Host(name));
  names_[name] = dir;
}

std::string TreeModel::ParentOf(const std::string& name) {
  return name.substr(0, name.rfind('/'));
}

std::string TreeModel::LeafOf(const std::string& name) {
  return name.substr(name.rfind('/') + 1);
}

bool TreeModel::IsKnown(const Ref& file) const {
  if (file->ever == kRootNode) return true;
  if (file->ever == kNoNode) return false;
  // A packed nodeid is the handle: it needs no lookup as long as there is one.
  return file->lookups > 0 || (!IsTableId(file->ever) && !file->names.empty());
}

TreeModel::Ref TreeModel::AnyNamed() {
  auto it = names_.begin();
  std::advance(it, random_.Below(names_.size()));
  return it->second;
}

TreeModel::Ref TreeModel::AnyDir() {
  for (int i = 0; i < 20; ++i) {
    if (Ref file = AnyNamed(); file->type == 'd') return file;
  }
  return names_.at("");
}

TreeModel::Ref TreeModel::AnyKnown() {
  if (!nameless_.empty() && random_.OneIn(4)) {
    return nameless_[random_.Below(nameless_.size())];
  }
  return AnyNamed();
}

std::string TreeModel::AnyPlace() {
  return AnyDir()->names[0] + "/" +
         std::string(1, static_cast<char>('a' + random_.Below(12)));
}

void TreeModel::Met(const Ref& file, const Nodes::Entry& entry) {
  CAPTURE(file->number, file->names, Raw(entry.id));
  REQUIRE(entry.id != kNoNode);
  REQUIRE(entry.stx.stx_ino == file->numbers.ino);
  if (file->ever != kNoNode && (options_.stable_ids || file->lookups > 0)) {
    REQUIRE(entry.id == file->ever);
  }
  auto [it, fresh] = owners_.try_emplace(Raw(entry.id), file);
  if (!fresh && it->second != file) {
    // Another file had this id.
    CAPTURE(it->second->number, it->second->names);
    REQUIRE_FALSE(options_.stable_ids);
    REQUIRE(it->second->lookups == 0);
    it->second = file;
  }
  bool exported = options_.config.exported == Nodes::Export::kOn;
  REQUIRE((entry.generation != 0) == (exported && entry.id != kRootNode));
  if (file->generation != 0 && file->ever == entry.id) {
    REQUIRE(entry.generation == file->generation);
  }
  file->ever = entry.id;
  file->generation = entry.generation;
  ++file->lookups;
  if (file->pinned) ++file->pin_count;
}

void TreeModel::MakeKnown(const Ref& dir) {
  if (dir->lookups == 0) LookUp(dir->names[0]);
}

SharedFd TreeModel::DirFd(const Ref& dir) {
  MakeKnown(dir);
  auto fd = nodes_->ResolveDir(dir->ever);
  CAPTURE(dir->names, Raw(dir->ever));
  REQUIRE(ErrorOf(fd) == 0);
  CheckIsFile(dir, **fd);
  return *fd;
}

void TreeModel::LookUp(const std::string& name) {
  if (name.empty()) return;
  Ref parent = names_.at(ParentOf(name));
  MakeKnown(parent);
  auto entry = nodes_->Lookup(parent->ever, LeafOf(name).c_str());
  auto it = names_.find(name);
  CAPTURE(name);
  if (it == names_.end()) {
    REQUIRE(ErrorOf(entry) == ENOENT);
    return;
  }
  REQUIRE(ErrorOf(entry) == 0);
  Met(it->second, *entry);
}

void TreeModel::Create() {
  std::string name = AnyPlace();
  if (names_.contains(name)) return;
  auto file = std::make_shared<File>();
  file->number = next_++;
  file->type = "fffddlp"[random_.Below(7)];
  file->names = {name};
  std::string host = Host(name), number = std::to_string(file->number);
  if (file->type == 'f') {
    UniqueFd fd = OpenAt(host, O_WRONLY | O_CREAT | O_EXCL);
    REQUIRE(pwrite(fd.get(), number.data(), number.size(), 0) ==
            static_cast<ssize_t>(number.size()));
  } else if (file->type == 'd') {
    REQUIRE(mkdir(host.c_str(), 0755) == 0);
  } else if (file->type == 'l') {
    REQUIRE(symlink(number.c_str(), host.c_str()) == 0);
  } else {
    REQUIRE(mkfifo(host.c_str(), 0644) == 0);
  }
  file->numbers = NumbersOf(host);
  if (!inos_.insert({file->numbers.dev, file->numbers.ino}).second) ++reused_;
  names_[name] = file;
  if (random_.OneIn(2)) LookUp(name);
}

void TreeModel::Link() {
  Ref file = AnyNamed();
  std::string name = AnyPlace();
  if (file->type == 'd' || names_.contains(name) || options_.by_name) {
    return;
  }
  if (link(Host(file->names[0]).c_str(), Host(name).c_str()) != 0) {
    REQUIRE(errno == EXDEV);  // between subvolumes
    return;
  }
  file->names.push_back(name);
  names_[name] = file;
  if (random_.OneIn(2)) LookUp(name);
}

void TreeModel::Gone(const Ref& file) {
  file->pinned = false;
  file->lookups = 0;
  std::erase(nameless_, file);
}

void TreeModel::LostName(const Ref& file, const std::string& name,
                         bool through_mount) {
  std::erase(file->names, name);
  if (!file->names.empty()) return;
  nameless_.push_back(file);
  if (through_mount && file->ever != kNoNode && file->lookups > 0) {
    file->pinned = true;
    file->pin_count = 0;
  } else if (through_mount && file->ever != kNoNode) {
    // The kernel would not do this without a lookup; the id is let go again.
    nodes_->Forget(file->ever, 1);
  }
}

void TreeModel::Remove() {
  Ref file = AnyNamed();
  if (file->permanent) return;
  if (file->type == 'd') {
    std::string below = file->names[0] + "/";
    auto it = names_.lower_bound(below);
    if (it != names_.end() && it->first.starts_with(below)) return;
  }
  std::string name = file->names[random_.Below(file->names.size())];
  bool through_mount = options_.by_name || random_.OneIn(2);
  int flag = file->type == 'd' ? AT_REMOVEDIR : 0;
  names_.erase(name);
  if (!through_mount) {
    REQUIRE(unlinkat(AT_FDCWD, Host(name).c_str(), flag) == 0);
    LostName(file, name, false);
    return;
  }
  if (file->lookups == 0) {
    names_[name] = file;
    LookUp(name);
    names_.erase(name);
  }
  SharedFd dir = DirFd(names_.at(ParentOf(name)));
  auto victim = nodes_->LookAtVictim(*dir, LeafOf(name).c_str());
  REQUIRE(victim.id == file->ever);
  REQUIRE(unlinkat(dir->get(), LeafOf(name).c_str(), flag) == 0);
  nodes_->LostName(victim);
  LostName(file, name, true);
}

void TreeModel::Rename() {
  Ref file = AnyNamed();
  if (file->permanent) return;
  std::string from = file->names[random_.Below(file->names.size())];
  std::string to = AnyPlace();
  if (to.starts_with(from)) return;
  Ref over = names_.contains(to) ? names_.at(to) : nullptr;
  if (over == file || (over && over->permanent)) return;
  bool through_mount = options_.by_name || random_.OneIn(2);
  if (through_mount) {
    if (file->lookups == 0) LookUp(from);
    if (over && over->lookups == 0) LookUp(to);
  }
  SharedFd from_dir, to_dir;
  Nodes::Victim victim;
  if (through_mount) {
    from_dir = DirFd(names_.at(ParentOf(from)));
    to_dir = DirFd(names_.at(ParentOf(to)));
    victim = nodes_->LookAtVictim(*to_dir, LeafOf(to).c_str());
    REQUIRE((victim.id != kNoNode) == (over != nullptr));
    REQUIRE((victim.fingerprint != 0) == (over != nullptr));
  }
  if (rename(Host(from).c_str(), Host(to).c_str()) != 0) {
    std::set<int> fair = {ENOTEMPTY, EEXIST, EISDIR, ENOTDIR, EXDEV};
    REQUIRE(fair.contains(errno));
    return;
  }
  if (through_mount) {
    nodes_->LostName(victim);
    nodes_->Moved(names_.at(ParentOf(to))->ever, *to_dir, LeafOf(to).c_str());
  }
  if (over) {
    names_.erase(to);
    LostName(over, to, through_mount);
  }
  // The file and, if it is a directory, all below.
  std::map<std::string, Ref> moved;
  for (auto it = names_.lower_bound(from);
       it != names_.end() && it->first.starts_with(from);) {
    if (it->first != from && it->first[from.size()] != '/') {
      ++it;
      continue;
    }
    moved[to + it->first.substr(from.size())] = it->second;
    std::erase(it->second->names, it->first);
    it = names_.erase(it);
  }
  for (auto& [name, ref] : moved) {
    ref->names.push_back(name);
    names_[name] = ref;
  }
}

void TreeModel::Tmpfile() {
  Ref dir = AnyDir();
  auto file = std::make_shared<File>();
  file->number = next_++;
  SharedFd dir_fd = DirFd(dir);
  UniqueFd fd(openat(dir_fd->get(), ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0644));
  REQUIRE(fd);
  std::string number = std::to_string(file->number);
  REQUIRE(write(fd.get(), number.data(), number.size()) > 0);
  file->numbers = NumbersOf(fd);
  auto entry = nodes_->AdoptNameless(fd);
  REQUIRE(ErrorOf(entry) == 0);
  file->pinned = true;
  Met(file, *entry);
  nameless_.push_back(file);
}

void TreeModel::NameTmpfile(const Ref& file) {
  std::string name = AnyPlace();
  if (names_.contains(name)) return;
  auto fd = nodes_->Resolve(file->ever);
  REQUIRE(ErrorOf(fd) == 0);
  Ref dir = names_.at(ParentOf(name));
  SharedFd dir_fd = DirFd(dir);
  if (linkat((*fd)->get(), "", dir_fd->get(), LeafOf(name).c_str(),
             AT_EMPTY_PATH) != 0) {
    // Deleted files cannot be linked again; only those made without a name.
    std::set<int> fair = {ENOENT, EXDEV};
    REQUIRE(fair.contains(errno));
    return;
  }
  nodes_->GotName(file->ever, **fd, dir->ever, LeafOf(name).c_str());
  file->pinned = false;
  file->names = {name};
  names_[name] = file;
  std::erase(nameless_, file);
  LookUp(name);
}

void TreeModel::Forget() {
  Ref file = AnyKnown();
  if (file->ever == kNoNode || file->lookups == 0 || file->permanent) return;
  uint64_t n = random_.OneIn(3) ? 1 : file->lookups;
  if (file->lookups < n) return;
  nodes_->Forget(file->ever, n);
  file->lookups -= n;
  if (file->pinned && !IsTableId(file->ever)) {
    if (file->pin_count > n) {
      file->pin_count -= n;
    } else {
      Gone(file);
    }
  } else if (file->pinned && file->lookups == 0) {
    Gone(file);
  }
}

void TreeModel::Restart() {
  nodes_ = ServeTree(path_, options_.config);
  for (auto& [name, file] : names_) {
    file->lookups = file->ever == kRootNode ? 1 : 0;
  }
  for (const Ref& file : nameless_) {
    file->pinned = false;
    file->lookups = 0;
  }
}

void TreeModel::Run() {
  CAPTURE(path_, options_.seed);
  for (int step = 0; step < options_.steps; ++step) {
    CAPTURE(step);
    switch (random_.Below(16)) {
      case 0:
      case 1:
      case 2:
        Create();
        break;
      case 3:
        Link();
        break;
      case 4:
      case 5:
        Rename();
        break;
      case 6:
      case 7:
        Remove();
        break;
      case 8:
      case 9:
        LookUp(AnyNamed()->names[0]);
        break;
      case 10:
        Forget();
        break;
      case 11:
        CheckSelf(AnyNamed());
        break;
      case 12:
        CheckMissing();
        if (!options_.by_name && random_.OneIn(3)) Tmpfile();
        break;
      case 13: {
        Ref file = AnyKnown();
        if (file->pinned && file->type == 'f') NameTmpfile(file);
        break;
      }
      default:
        CheckNode(AnyKnown());
    }
    if (options_.drop_inodes && step % 500 == 250) DropInodes();
    if (step % 700 == 699) Restart();
    if (step % 300 == 299) CheckAll();
  }
  CheckAll();
  // All that is known is forgotten: nothing is kept.
  for (auto& [id, file] : owners_) nodes_->Forget(NodeId{id}, ~uint64_t{0});
  REQUIRE(nodes_->stats().table.entries == 0);
  REQUIRE(nodes_->stats().table.descriptors == 0);
  REQUIRE(nodes_->stats().pins == 0);
  nodes_.reset();
  REQUIRE(CountFds() == fds_before_);
}

}  // namespace handlefs::test
