#include "proto/notify.h"

#include <cstring>

namespace handlefs::proto {

class NotificationEncoder {
 public:
  explicit NotificationEncoder(NotifyCode code, size_t data_behind = 0)
      : data_behind_(data_behind) {
    abi::OutHeader header{
        .len = 0, .error = static_cast<int32_t>(code), .unique = 0};
    Put(header);
  }
  template <typename T>
  NotificationEncoder& Put(const T& value) {
    std::memcpy(&n_.bytes_[n_.size_], &value, sizeof(T));
    n_.size_ += sizeof(T);
    return *this;
  }
  // The name and its NUL.
  NotificationEncoder& PutName(std::string_view name) {
    std::memcpy(&n_.bytes_[n_.size_], name.data(), name.size());
    n_.size_ += name.size() + 1;
    return *this;
  }
  Notification Done() {
    auto len = static_cast<uint32_t>(n_.size_ + data_behind_);
    std::memcpy(n_.bytes_.data(), &len, sizeof(len));
    return n_;
  }

 private:
  Notification n_;
  size_t data_behind_;
};

namespace {
uint32_t NameSize(std::string_view name) {
  return static_cast<uint32_t>(name.size());
}
}  // namespace

Notification InvalAttributes(NodeId node) { return InvalData(node, -1, 0); }

Notification InvalData(NodeId node, int64_t off, int64_t len) {
  return NotificationEncoder(NotifyCode::kInvalInode)
      .Put(abi::NotifyInvalInodeOut{.ino = Raw(node), .off = off, .len = len})
      .Done();
}

Notification InvalEntry(NodeId parent, std::string_view name, EntryFate fate) {
  name = name.substr(0, kNameMax);
  return NotificationEncoder(NotifyCode::kInvalEntry)
      .Put(abi::NotifyInvalEntryOut{.parent = Raw(parent),
                                    .namelen = NameSize(name),
                                    .flags = static_cast<uint32_t>(fate)})
      .PutName(name)
      .Done();
}

Notification Delete(NodeId parent, NodeId child, std::string_view name) {
  name = name.substr(0, kNameMax);
  return NotificationEncoder(NotifyCode::kDelete)
      .Put(abi::NotifyDeleteOut{.parent = Raw(parent),
                                .child = Raw(child),
                                .namelen = NameSize(name),
                                .padding = 0})
      .PutName(name)
      .Done();
}

Notification PollWakeup(uint64_t kh) {
  return NotificationEncoder(NotifyCode::kPoll)
      .Put(abi::NotifyPollWakeupOut{.kh = kh})
      .Done();
}

Notification Resend() {
  return NotificationEncoder(NotifyCode::kResend).Done();
}

Notification IncEpoch() {
  return NotificationEncoder(NotifyCode::kIncEpoch).Done();
}

Notification Store(NodeId node, uint64_t off, uint32_t size) {
  return NotificationEncoder(NotifyCode::kStore, size)
      .Put(abi::NotifyStoreOut{
          .nodeid = Raw(node), .offset = off, .size = size, .padding = 0})
      .Done();
}

Notification Retrieve(Unique answer, NodeId node, uint64_t off, uint32_t size) {
  return NotificationEncoder(NotifyCode::kRetrieve)
      .Put(abi::NotifyRetrieveOut{.notify_unique = Raw(answer),
                                  .nodeid = Raw(node),
                                  .offset = off,
                                  .size = size,
                                  .padding = 0})
      .Done();
}

Notification Prune(uint32_t count) {
  return NotificationEncoder(NotifyCode::kPrune, size_t{count} * 8)
      .Put(abi::NotifyPruneOut{.count = count, .padding = 0, .spare = 0})
      .Done();
}

}  // namespace handlefs::proto
